"""How far predictions of whole allocations tell what they measure."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest

from analysis.curves.trust import trust
from analysis.plots.prediction_error import prediction_against_measured
from analysis.plots.theme import alt_text
from analysis.prediction_error import (
    Point,
    calibrate,
    configuration_calibration,
    curve_calibrations,
)
from analysis.records import Allocation, Candidate, Configuration, Costs, QuantSettings
from tests.analysis.curves_to_say import SCORES, SERIES, TABLE, N, curve, found, measured

OURS, RANDOM = 0, 4
PAIRS = [" ".join(pair) for pair in product(("w2a8", "w4a8", "w8a8"), repeat=2)]


def of(x, y, groups=None):
    groups = [-1] * len(x) if groups is None else groups
    rows = enumerate(zip(x, y, groups, strict=True))
    points = [Point(f"c{at}", float(p), float(kl), 1.0, group) for at, (p, kl, group) in rows]
    return calibrate("made_up", "nats", points)


def predicted(candidates: str) -> float:
    columns = [c.text for c in SCORES.candidates]
    return sum(SCORES.values[i, columns.index(c)] for i, c in enumerate(candidates.split()))


def drawn(kl, place=0, used=0.5):
    return [
        found(RANDOM, place, N - i, candidates=pair, kl=kl(predicted(pair)), used=used)
        for i, pair in enumerate(PAIRS)
    ]


def configuration(candidates: str, kl: float, **changed) -> Configuration:
    allocation = Allocation(
        layers=TABLE.names, candidates=tuple(Candidate.parse(c) for c in candidates.split())
    )
    made = Configuration(
        name=candidates,
        study="s",
        method="nearest",
        options={},
        settings=SCORES.settings,
        allocation=allocation,
        costs=Costs(
            size_mib=1.0,
            size_ratio=1.0,
            compression=4.0,
            bops=1.0,
            bops_ratio=1.0,
            avg_weight_bits=8.0,
            avg_activation_bits=8.0,
        ),
        ranges=(),
        measured=measured(300, kl=kl),
        seconds=0.1,
    )
    return replace(made, **changed)


def test_a_power_law_is_found_without_error():
    x = np.array([0.01, 0.1, 0.2, 1.0, 5.0])
    law = of(x, 3.0 * x**1.5).law
    assert law is not None
    assert law.slope == pytest.approx(1.5)
    assert np.exp(law.intercept) == pytest.approx(3.0)
    assert law.factor == pytest.approx(1.0)
    assert (law.low, law.high, law.n) == (pytest.approx(0.01), pytest.approx(5.0), 5)


def test_the_factor_is_the_median_of_what_the_others_miss_a_point_by():
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    y = np.array([1.5, 1.0, 9.0, 5.0, 40.0, 20.0])
    distances = []
    for at in range(6):
        rest = np.arange(6) != at
        line = np.polyfit(np.log(x[rest]), np.log(y[rest]), 1)
        distances.append(abs(np.log(y[at]) - np.polyval(line, np.log(x[at]))))
    law = of(x, y).law
    assert law is not None
    assert law.factor == pytest.approx(np.exp(np.median(distances)))
    assert law.factor > 1.2


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        ([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]),
        ([-1, 0, 1, 2, 3, 4], [1, 1, 1, 2, 3, 4]),
        ([1, 1, 1, 1, 9], [1, 2, 3, 4, 5]),
    ],
)
def test_too_few_or_equal_points_have_no_line(x, y):
    assert of(x, y).law is None


def test_points_without_a_logarithm_are_ranked_but_not_fitted():
    each = of([-1, 1, 2, 3, 4, 5], [0.5, 1, 2, 3, 4, 5])
    assert each.law is not None
    assert each.law.n == 5
    assert each.rho is not None
    assert each.rho.value == pytest.approx(1.0)
    assert each.ratio is None
    assert any("(5 that are positive)" in said for said in trust(each, "M"))


def test_a_measurement_proportional_to_the_prediction_has_that_ratio_and_no_spread():
    (each,) = curve_calibrations(curve(drawn(lambda p: 0.25 * p)))
    assert len(each.points) == len(each.drawn) == 9
    assert each.ratio == pytest.approx(0.25)
    assert each.spread == pytest.approx(1.0)
    assert each.rho is not None
    assert each.rho.value == pytest.approx(1.0)
    assert each.within is not None
    assert each.within.value == pytest.approx(1.0)


def test_a_random_allocation_alone_in_its_budget_ranks_nothing_and_is_not_counted():
    alone = found(RANDOM, 1, N, candidates="w4a8 w4a8", kl=7.0, used=0.9)
    (each,) = curve_calibrations(curve([*drawn(lambda p: p)[:6], alone], limits=(0.5, 0.9)))
    assert len(each.drawn) == 7
    assert each.within is not None
    assert any(said.startswith("Among 6 random allocations") for said in trust(each, "M"))


def test_predictions_the_wrong_way_round_correlate_negatively():
    (each,) = curve_calibrations(curve(drawn(lambda p: 1 / p)))
    assert each.rho is not None
    assert each.rho.value == pytest.approx(-1.0)


def test_within_groups_only_pairs_of_one_group_count():
    rng = np.random.default_rng(7)
    groups = [0] * 6 + [1] * 4
    x, y = rng.integers(0, 5, 10), rng.integers(0, 5, 10)
    counts = np.zeros(3)
    for i, j in combinations(range(10), 2):
        if groups[i] == groups[j]:
            a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
            counts += (a * b, a * a, b * b)
    each = of(x, y, groups)
    assert each.within is not None
    assert each.within.value == pytest.approx(counts[0] / np.sqrt(counts[1] * counts[2]))
    assert each.within.low <= each.within.value <= each.within.high


def test_a_metric_that_only_knows_the_budget_ranks_all_but_nothing_within_one():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(1, 2, 40), rng.uniform(100, 200, 40)])
    y = np.concatenate([rng.uniform(1, 2, 40), rng.uniform(100, 200, 40)])
    each = of(x, y, [0] * 40 + [1] * 40)
    assert each.rho is not None
    assert each.rho.low > 0.5
    assert each.within is not None
    assert each.within.low < 0 < each.within.high
    assert any("inside the noise of no ranking" in said for said in trust(each, "M"))


def test_an_allocation_measured_twice_counts_once_and_stays_random():
    twice = [*drawn(lambda p: p), *drawn(lambda p: p)]
    (each,) = curve_calibrations(curve(twice))
    assert len(each.points) == len(each.drawn) == 9
    first = drawn(lambda p: p)[0]
    ours = replace(first, draft=replace(first.draft, series=OURS))
    (each,) = curve_calibrations(curve([ours, *twice]))
    assert len(each.points) == len(each.drawn) == 9


def test_points_of_another_quantization_method_are_left_out_and_counted(monkeypatch):
    other = tuple(replace(s, method="other") if s.kind == "random" else s for s in SERIES)
    monkeypatch.setattr("tests.analysis.curves_to_say.SERIES", other)
    (each,) = curve_calibrations(curve([*drawn(lambda p: p), found(OURS, 0, 300)]))
    assert (len(each.points), each.left_out) == (1, 9)


def test_configurations_that_scores_say_nothing_of_are_left_out_and_counted():
    fine = [configuration(pair, 0.1 * (i + 1)) for i, pair in enumerate(PAIRS)]
    released = replace(SCORES.settings, pin_first_last=not SCORES.settings.pin_first_last)
    each = configuration_calibration(
        SCORES,
        [
            *fine,
            configuration(PAIRS[0], 0.1, name="again"),
            configuration("w4a8 w3a8", 0.1),
            configuration(PAIRS[1], 0.1, method="bias_correction"),
            configuration(PAIRS[2], 0.1, recalibrations=("equalize",)),
            configuration(PAIRS[3], 0.1, settings=QuantSettings(scope="layer_input")),
        ],
    )
    assert [point.name for point in each.points] == PAIRS
    assert each.left_out == 4
    assert each.points[1].predicted == predicted(PAIRS[1])
    held = configuration_calibration(SCORES, [replace(fine[0], settings=released)])
    assert len(held.points) == 1


def test_too_few_allocations_are_said_not_correlated():
    (each,) = curve_calibrations(curve(drawn(lambda p: p)[:4]))
    assert each.rho is None
    assert "4 allocations are measured" in each.reason
    assert trust(each, "M")[0].startswith("Predictions of M are not judged: 4 allocations")
    assert "no allocations are" in calibrate("m", "nats", []).reason


def test_equal_predictions_have_no_rank_correlation():
    each = of([1, 1, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6])
    assert each.rho is None
    assert "equal" in each.reason


def test_no_ratio_is_given_where_a_measurement_is_zero():
    (each,) = curve_calibrations(curve(drawn(lambda p: 0.0 if p < 2 else p)))
    assert each.ratio is None
    assert each.spread is None
    assert each.rho is not None


def test_the_sentences_hold_every_number():
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    said = " ".join(trust(of(x, 0.5 * x, [0] * 5), "Metric"))
    for words in (
        "Over 5 measured allocations Metric",
        "ρ = 1.00",
        "Among 5 random allocations",
        "to the power of 1.00",
        "a factor of 1.00",
        "0.5 times the prediction (nats over nats, median)",
    ):
        assert words in said


def test_points_in_perfect_order_have_no_interval():
    x = np.arange(1.0, 7.0)
    assert "ρ = 1.00 (no interval: all in order)" in trust(of(x, x**2), "M")[0]
    assert "(no interval" not in trust(of(x, [1, 3, 2, 4, 6, 5]), "M")[0]


def test_the_chart_draws_points_fit_and_the_allocation_at_hand():
    figure = prediction_against_measured(of([1, 2, 3, 4, 5], [1, 3, 2, 5, 4]), "Metric", 2.5)
    assert [trace.mode for trace in figure.data] == ["lines", "lines", "markers"]
    assert list(figure.data[2].y) == [1, 3, 2, 5, 4]
    assert figure.layout.shapes[0].x0 == 2.5
    assert figure.layout.xaxis.title.text == "predicted by Metric (nats)"
    assert figure.layout.yaxis.title.text == "measured KL from float (nats)"
    assert "Spearman" in alt_text(figure)
    some = of([1, 2, 3, 4, 5, 6], [1, 3, 2, 5, 4, 6], [0, 0, 0, -1, -1, -1])
    names = [trace.name for trace in prediction_against_measured(some, "M").data]
    assert "random allocations" in names


def test_the_chart_of_too_few_points_says_so_and_that_of_none_is_refused():
    figure = prediction_against_measured(of([1, 2], [1, 3]), "Metric")
    assert [trace.mode for trace in figure.data] == ["markers"]
    assert "2 allocations are measured" in figure.layout.title.text
    with pytest.raises(Exception, match="predicts none"):
        prediction_against_measured(of([], []), "Metric")
