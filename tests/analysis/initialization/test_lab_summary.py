import math

import numpy as np
import pytest
from scipy import stats

from analysis.errors import AnalysisError
from analysis.initialization.failures import trained, yardstick
from analysis.initialization.summary import (
    estimate,
    geometric,
    in_percent,
    qmse,
    summarise,
    too_few,
    weight_precision,
)
from analysis.records.initialization import InitRun, InitStudy
from tests.reference.initialization import planted_run


def study(*runs: InitRun) -> InitStudy:
    return InitStudy(runs=runs, data="planted")


def test_intervals_are_students():
    values = [0.91, 0.95, 0.97, 0.90]
    found = estimate(values)
    wanted = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(wanted)
    assert (found.mean, found.n) == (pytest.approx(np.mean(values)), 4)


def test_geometric_intervals_are_students_of_the_logarithms():
    values = [1.0, 10.0, 100.0]
    found = geometric(values)
    wanted = stats.t.interval(0.95, 2, loc=np.log(10), scale=stats.sem(np.log(values)))
    assert found.mean == pytest.approx(10)
    assert (math.log(found.low), math.log(found.high)) == pytest.approx(wanted)


def test_one_seed_has_a_mean_and_no_interval_and_none_has_nothing():
    one, none = estimate([0.5]), estimate([])
    assert (one.mean, one.n) == (0.5, 1)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert math.isnan(none.mean)
    assert none.n == 0


def test_a_row_holds_means_over_the_seeds():
    runs = [
        planted_run(seed=i, accuracy=a, drop=d, qmse=q, weight_range=r)
        for i, (a, d, q, r) in enumerate([(0.90, 0.10, 0.1, 1.0), (0.94, 0.30, 0.4, 4.0)])
    ]
    (row,) = summarise(study(*runs))
    assert (row.initializer, row.architecture, row.bits) == ("he_normal", "regular", (8, 4))
    assert (row.runs, row.diverged, row.failed) == (2, 0, 0)
    assert row.accuracy.mean == pytest.approx(0.92)
    for recipe in (0, 1):
        assert row.drop[recipe][0].mean == pytest.approx(0.0)
        assert row.drop[recipe][1].mean == pytest.approx(0.2)
        assert row.qmse[recipe][1].mean == pytest.approx(0.2)
    assert row.weight_range[0].mean == pytest.approx(1.0)
    assert row.weight_range[1].mean == pytest.approx(2.0)
    assert row.acp[1].mean == pytest.approx(0.5)


def test_drops_are_paired_within_a_run():
    # Accuracies scatter widely, but every run loses exactly a tenth.
    runs = [planted_run(seed=i, accuracy=a, drop=0.1) for i, a in enumerate((0.7, 0.8, 0.9))]
    (row,) = summarise(study(*runs))
    assert row.drop[0][1].low == pytest.approx(0.1)
    assert row.drop[0][1].high == pytest.approx(0.1)
    assert row.accuracy.high - row.accuracy.low > 0.3


def test_diverged_and_failed_runs_are_counted_and_left_out_of_the_drops():
    good = planted_run(seed=0, accuracy=0.9, drop=0.2)
    failed = planted_run(seed=1, accuracy=0.5, drop=0.0)
    lost = planted_run(seed=2, diverged="epoch 1, step 3: the loss is nan")
    whole = study(good, failed, lost)
    (row,) = summarise(whole)
    assert (row.runs, row.diverged, row.failed) == (3, 1, 1)
    assert row.accuracy.n == 2
    assert row.accuracy.mean == pytest.approx(0.7)
    assert row.drop[0][1].n == 1
    assert row.drop[0][1].mean == pytest.approx(0.2)
    assert trained(whole, yardstick(whole)) == (good,)


def test_an_architecture_in_which_every_run_only_guesses_has_no_drop():
    runs = (planted_run(accuracy=0.11, drop=0.0), planted_run(accuracy=0.10, drop=0.0, seed=1))
    (row,) = summarise(study(*runs))
    assert (row.failed, row.accuracy.n, row.drop[0][1].n) == (2, 2, 0)


def test_rows_are_judged_by_the_yardstick_that_is_given():
    one = study(planted_run(accuracy=0.43, drop=0.0))
    assert summarise(one)[0].failed == 0
    (row,) = summarise(one, yardstick(one, 0.1, {"regular": 0.98}))
    assert (row.failed, row.accuracy.n, row.drop[0][1].n) == (1, 1, 0)


def test_two_seeds_have_no_interval_worth_reading_and_that_is_said():
    one, two, three = ([0.9, 0.94, 0.98][:n] for n in (1, 2, 3))
    half = 100 * stats.t.ppf(0.975, 2) * stats.sem(three)
    assert in_percent(estimate(three)) == f"94.00 ± {half:.2f}"
    assert in_percent(estimate(two)) == "92.00 (n = 2)"
    assert in_percent(estimate(one)) == "90.00"
    assert in_percent(estimate([])) == "–"
    runs = [planted_run(seed=seed) for seed in range(3)]
    assert [too_few(summarise(study(*runs[:n]))) for n in (1, 2, 3)] == [False, True, False]


def test_a_row_of_diverged_runs_only_is_still_there():
    first, second = summarise(study(planted_run(), planted_run("normal_large", diverged="epoch 0")))
    assert first.diverged == 0
    assert (second.runs, second.diverged, second.accuracy.n) == (1, 1, 0)
    assert math.isnan(second.drop[1][1].mean)


def test_rows_come_in_the_order_of_the_runs_and_more_seeds_extend_them():
    runs = [
        planted_run(name, architecture)
        for architecture in ("separable", "regular")
        for name in ("he_normal", "uniform_small")
    ]
    rows = summarise(study(*runs))
    assert [(row.architecture, row.initializer) for row in rows] == [
        (run.architecture, run.initializer) for run in runs
    ]
    more = summarise(study(*runs, planted_run("uniform_small", "regular", seed=1)))
    assert [row.runs for row in more] == [1, 1, 1, 2]
    for row, wider in zip(rows[:3], more[:3], strict=True):
        assert (row.accuracy.mean, row.drop[0][1].mean) == (
            (wider.accuracy.mean, wider.drop[0][1].mean)
        )


def test_runs_at_different_widths_are_not_mixed():
    with pytest.raises(AnalysisError, match="the same widths"):
        summarise(study(planted_run(), planted_run(bits=(8, 2))))
    with pytest.raises(AnalysisError, match="no runs"):
        summarise(study())


def test_layers_without_a_value_do_not_count():
    run = planted_run(qmse=0.3)
    error = np.array(run.qmse_accumulated)
    error[..., 0] = np.nan
    object.__setattr__(run, "qmse_accumulated", error)
    assert qmse(run) == pytest.approx(np.full((2, 2), 0.3))
    assert weight_precision(run, 0) == 0.5
