import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analysis.quant.soft_rounding import indecision, logits_of, rounded_up, undecided


def test_every_fraction_is_met_by_its_logit():
    fractions = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert rounded_up(logits_of(fractions)) == pytest.approx(fractions, abs=1e-12)


def test_a_logit_of_zero_is_half_way_and_the_ends_are_finite():
    assert float(rounded_up(torch.zeros(()))) == pytest.approx(0.5)
    # sigma(a) = 1 / 12 and 11 / 12 are where the rectified sigmoid reaches its ends.
    assert float(logits_of(torch.tensor(1.0, dtype=torch.float64))) == pytest.approx(math.log(11))
    assert float(logits_of(torch.tensor(0.0, dtype=torch.float64))) == pytest.approx(-math.log(11))


@given(st.floats(-30, 30), st.floats(-30, 30))
def test_a_larger_logit_never_rounds_less_up(one, other):
    low, high = sorted((one, other))
    assert float(rounded_up(torch.tensor(low))) <= float(rounded_up(torch.tensor(high)))


@pytest.mark.parametrize("exponent", [2.0, 7.0, 20.0])
def test_indecision_is_one_at_a_half_and_zero_at_the_ends(exponent):
    found = indecision(torch.tensor([0.0, 0.5, 1.0]), exponent)
    assert found.tolist() == [0.0, 1.0, 0.0]


def test_a_larger_exponent_sees_only_what_is_nearly_decided():
    middle = torch.tensor(0.3)
    assert float(indecision(middle, 2.0)) == pytest.approx(1 - 0.4**2)
    assert float(indecision(middle, 20.0)) > 0.999999


def test_nearly_decided_roundings_count_as_decided():
    assert undecided(torch.tensor([0.0, 0.04, 0.06, 0.5, 0.94, 0.96, 1.0])).tolist() == [
        False, False, True, True, True, False, False,
    ]  # fmt: skip
