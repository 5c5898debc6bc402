import math

import numpy as np
import pytest

from analysis.distributions.changed import change, changes, most_changed
from tests.analysis.plots.distributions_to_draw import distribution, distributions

ROWS = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0]])


def test_the_same_values_are_no_change():
    assert change(distribution(ROWS), distribution(ROWS)) == 0


def test_a_change_is_the_mean_way_of_the_channels_ends_over_the_range_before():
    # The first channel's ends move by 1 each, the second's stay: half of 1, over a range of 4.
    after = distribution(ROWS * np.array([[2.0], [1.0]]))
    assert change(distribution(ROWS), after) == pytest.approx(0.5 / 4)


def test_tensors_with_other_channels_are_compared_as_a_whole():
    assert change(distribution(ROWS), distribution(ROWS[1:] * 2)) == pytest.approx(2 / 4)


def test_a_constant_tensor_has_no_range_to_compare_with():
    assert math.isnan(change(distribution(np.ones((2, 3))), distribution(ROWS)))


def test_the_layer_that_changed_most_is_found_and_none_where_none_did():
    before = distributions({"a": ROWS, "b": ROWS, "c": None, "d": np.ones((2, 3))})
    after = distributions({"a": ROWS * 1.1, "b": ROWS * 2, "c": None, "d": ROWS})
    found = changes(before, after, "weight")
    assert list(found) == ["a", "b", "d"]
    assert most_changed(found) == "b"
    assert most_changed(changes(before, before, "weight")) == ""
    assert "c" not in changes(before, distributions({"c": ROWS}), "weight")
