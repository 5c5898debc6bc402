import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.plots.unit_errors import unit_errors
from analysis.ptq.unit_log import COLUMNS

NAMES = ("stem", "first", "second", "head")
LOG = np.array([[0, 1, 0.4, 0.2, 0.1, 1], [1, 2, 0.5, 0.6, 0.3, 0], [3, 1, 0.3, 0.1, 0.2, 1]])


def test_every_unit_shows_its_error_to_nearest_and_the_one_that_is_taken():
    figure = unit_errors(COLUMNS, LOG, NAMES)
    before, after = figure.data
    assert list(before.y) == [0.4, 0.5, 0.3]
    assert list(after.y) == [0.2, 0.5, 0.1]
    assert list(figure.layout.xaxis.ticktext) == ["stem", "first +1", "head"]
    assert "Median error 40.0% rounded to nearest, 20.0% trained" in figure.layout.title.text
    assert "1 kept rounded to nearest" in figure.layout.title.text


def test_room_is_left_for_the_units_that_are_to_come():
    assert unit_errors(COLUMNS, LOG, NAMES, units=7).layout.xaxis.range[1] == 6.5


def test_a_training_without_a_finished_unit_is_not_drawn():
    with pytest.raises(AnalysisError, match="none is yet"):
        unit_errors(COLUMNS, np.zeros((0, 6)), NAMES)
