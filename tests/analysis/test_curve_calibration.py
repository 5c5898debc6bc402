"""How far predictions of whole allocations tell what they measure."""

from itertools import product

import numpy as np
import pytest

from analysis.curves.calibration import calibration_points, calibrations
from tests.analysis.curves_to_say import SCORES, N, curve, found

RANDOM = 4
PAIRS = [" ".join(pair) for pair in product(("w2a8", "w4a8", "w8a8"), repeat=2)]


def predicted(candidates: str) -> float:
    columns = [c.text for c in SCORES.candidates]
    return sum(SCORES.values[i, columns.index(c)] for i, c in enumerate(candidates.split()))


def drawn(kl, place=0, used=0.5):
    return [
        found(RANDOM, place, N - i, candidates=pair, kl=kl(predicted(pair)), used=used)
        for i, pair in enumerate(PAIRS)
    ]


def test_a_measurement_proportional_to_the_prediction_has_that_factor_and_no_spread():
    (each,) = calibrations(curve(drawn(lambda p: 0.25 * p)))
    assert each.n == 9
    assert each.factor == pytest.approx(0.25)
    assert each.spread == pytest.approx(1.0)
    assert each.rho is not None
    assert each.rho.value == pytest.approx(1.0)
    assert each.within is not None
    assert each.within.value == pytest.approx(1.0)


def test_predictions_the_wrong_way_round_correlate_negatively():
    (each,) = calibrations(curve(drawn(lambda p: 1 / p)))
    assert each.rho is not None
    assert each.rho.value == pytest.approx(-1.0)


def test_a_metric_that_only_knows_the_budget_ranks_all_but_nothing_within_one():
    rng = np.random.default_rng(3)
    points = []
    for place, (used, scale) in enumerate(((0.5, 100.0), (0.7, 1.0))):
        for i, pair in enumerate(PAIRS):
            right = N - i - 20 * place
            kl = scale * float(rng.uniform(0.9, 1.1))
            points.append(found(RANDOM, place, right, candidates=pair, kl=kl, used=used))
    (each,) = calibrations(curve(points, limits=(0.5, 0.7)))
    assert each.within is not None
    assert each.within.low < 0 < each.within.high
    assert each.random == 18


def test_an_allocation_measured_twice_counts_once():
    points = [*drawn(lambda p: p), *drawn(lambda p: p)]
    made = curve(points)
    assert len(calibration_points(made, 0)) == 9
    assert calibrations(made)[0].random == 9


def test_too_few_allocations_are_said_not_correlated():
    (each,) = calibrations(curve(drawn(lambda p: p)[:4]))
    assert each.rho is None
    assert "4 allocations are measured" in each.reason


def test_no_ratio_is_given_where_a_measurement_is_zero():
    (each,) = calibrations(curve(drawn(lambda p: 0.0 if p < 2 else p)))
    assert each.factor is None
    assert each.spread is None
    assert each.rho is not None
