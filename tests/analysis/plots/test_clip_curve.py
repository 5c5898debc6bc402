import dataclasses

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.plots.clip_curve import clip_curve
from analysis.plots.decibels import decibels, sqnr
from analysis.plots.theme import alt_text
from tests.analysis.plots.distributions_to_draw import exploration, grid_error
from tests.analysis.plots.records_to_draw import title

VALUES = np.random.default_rng(0).laplace(0, 1, 20_000)
LIMITS = {"Min-max": 1.0, "Percentile": 0.6, "Least squared error": 0.35}
FOUND = exploration(VALUES, 4, LIMITS, gauss=0.21, laplace=0.4)


def trace(figure, mode, at=0):
    return [each for each in figure.data if each.mode == mode][at]


def test_the_curve_is_the_sum_of_its_parts_over_the_signal():
    figure = clip_curve(FOUND)
    rounding, clipping, total = figure.data[:3]
    np.testing.assert_allclose(
        np.asarray(total.y), np.nan_to_num(rounding.y) + np.nan_to_num(clipping.y)
    )
    np.testing.assert_allclose(np.asarray(total.x), FOUND.share)
    expected = [grid_error(VALUES, np.abs(VALUES).max() * s).sqnr for s in FOUND.share]
    np.testing.assert_allclose(np.asarray(total.customdata), expected)
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"


def test_the_least_error_is_ringed_and_said():
    figure = clip_curve(FOUND)
    ring = trace(figure, "markers")
    assert ring.x[0] == FOUND.share[FOUND.best]
    sqnr = -10 * np.log10(ring.y[0])
    assert f"SQNR {sqnr:.1f} dB" in title(figure)
    assert f"SQNR {sqnr:.1f} dB" in alt_text(figure)
    assert "best estimator Least squared error" in alt_text(figure)


def test_estimators_stand_at_their_share_with_their_own_error():
    figure = clip_curve(FOUND)
    choices = trace(figure, "markers", 1)
    np.testing.assert_allclose(choices.x, [1.0, 0.6, 0.35])
    np.testing.assert_allclose(choices.y, [each.error / FOUND.signal for each in FOUND.estimators])
    names = {note.text: note for note in figure.layout.annotations}
    assert set(LIMITS) <= set(names)
    # Annotations take exponents on logarithmic axes.
    np.testing.assert_allclose(names["Percentile"].x, np.log10(0.6))
    assert choices.customdata[0][0] == "Min-max"
    assert f"SQNR {FOUND.estimators[0].sqnr:.1f} dB" in choices.customdata[0][1]


def test_estimators_of_one_choice_share_a_label():
    figure = clip_curve(exploration(VALUES, 4, {"Min-max": 1.0, "Percentile": 1.0}))
    assert [note.text for note in figure.layout.annotations] == ["Min-max, Percentile"]


def test_ranges_of_channels_stand_at_the_mean_of_their_shares():
    both = dict(low=np.array([-4.0, -2.0]), high=np.array([4.0, 1.0]), step=np.ones(2))
    half = dict(low=np.array([-2.0, -2.0]), high=np.array([2.0, 1.0]), step=np.ones(2))
    full, cut, _ = FOUND.estimators
    found = dataclasses.replace(
        FOUND,
        per_channel=True,
        estimators=(dataclasses.replace(full, **both), dataclasses.replace(cut, **half)),
    )
    choices = trace(clip_curve(found), "markers", 1)
    np.testing.assert_allclose(choices.x, [1.0, 0.75])
    assert "a range per channel" in title(clip_curve(found))


def test_analytic_optima_are_dashed_and_named():
    figure = clip_curve(FOUND)
    assert [shape.x0 for shape in figure.layout.shapes] == [0.21, 0.4]
    texts = [note.text for note in figure.layout.annotations]
    assert {"Gauss 0.210", "Laplace 0.400"} <= set(texts)


def test_an_optimum_above_one_widens_the_axis_and_one_far_out_is_said():
    figure = clip_curve(dataclasses.replace(FOUND, gauss=1.5, laplace=9.0))
    assert figure.layout.xaxis.range[1] > np.log10(1.5)
    assert len(figure.layout.shapes) == 1
    assert "Laplace optimum at 9.00, beyond the axis" in title(figure)


def test_without_deviation_there_are_no_optima():
    nan = float("nan")
    assert not clip_curve(dataclasses.replace(FOUND, gauss=nan, laplace=nan)).layout.shapes


def test_the_axis_begins_where_half_of_the_signal_is_kept():
    figure = clip_curve(FOUND)
    kept = (FOUND.rounding + FOUND.clipping) / FOUND.signal <= 0.5
    assert FOUND.share[kept][0] > 10 ** figure.layout.xaxis.range[0] > FOUND.share[~kept][0]
    assert "begins where half of the signal is kept" in title(figure)


def test_a_curve_that_never_keeps_half_is_drawn_whole():
    bad = dataclasses.replace(FOUND, clipping=FOUND.clipping + FOUND.signal, estimators=())
    figure = clip_curve(bad)
    assert 10 ** figure.layout.xaxis.range[0] < FOUND.share[0]
    assert "begins" not in title(figure)


def test_an_estimator_that_failed_is_named():
    nan = float("nan")
    failed = dataclasses.replace(
        FOUND.estimators[1],
        title="Entropy: too few values",
        low=np.array([nan]),
        high=np.array([nan]),
        rounding=nan,
        clipping=nan,
    )
    found = dataclasses.replace(FOUND, estimators=(FOUND.estimators[0], failed))
    figure = clip_curve(found)
    assert "Entropy: too few values" in title(figure)
    assert "1 range estimator" in title(figure)
    assert len(trace(figure, "markers", 1).x) == 1
    assert "Min-max" in alt_text(figure)


def test_a_tensor_on_the_grid_has_no_error_to_draw_and_that_is_said():
    zero = np.zeros(len(FOUND.share))
    exact = dataclasses.replace(FOUND, rounding=zero, clipping=zero, estimators=())
    figure = clip_curve(exact)
    assert "no error at any range" in title(figure)
    assert "no error" in alt_text(figure)


def test_wrong_records_are_refused():
    with pytest.raises(AnalysisError, match="other than zero"):
        clip_curve(dataclasses.replace(FOUND, signal=0.0))
    with pytest.raises(AnalysisError, match="Explore `min_max` too"):
        clip_curve(dataclasses.replace(FOUND, estimators=FOUND.estimators[1:]))


def test_labels_do_not_overlap_at_the_drawn_size():
    close = {f"Estimator {at}": 0.3 + 0.01 * at for at in range(4)} | {"Min-max": 1.0}
    notes = [
        note
        for note in clip_curve(exploration(VALUES, 4, close)).layout.annotations
        if note.ax is not None
    ]
    figure = clip_curve(exploration(VALUES, 4, close))
    (left, right), (bottom, top) = figure.layout.xaxis.range, figure.layout.yaxis.range
    boxes = []
    for note in notes:
        x = 700 * (note.x - left) / (right - left) + note.ax
        y = 360 * (top - note.y) / (top - bottom) + note.ay
        wide = 6.8 * len(note.text)
        boxes.append((x - wide / 2, x + wide / 2, y - 8, y + 8))
    for at, one in enumerate(boxes):
        for other in boxes[at + 1 :]:
            apart = (
                one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]
            )
            assert apart


def test_the_best_of_all_ranges_is_never_worse_than_any_that_is_shown():
    # A fine search falls between the shares of the curve.
    best = float((FOUND.rounding + FOUND.clipping).min())
    finer = dataclasses.replace(FOUND.estimators[2], title="Finer", rounding=best / 2, clipping=0.0)
    figure = clip_curve(dataclasses.replace(FOUND, estimators=(FOUND.estimators[0], finer)))
    assert f"best range: Finer, SQNR {finer.sqnr:.1f} dB" in title(figure)
    on_curve = -10 * np.log10(best / FOUND.signal)
    assert (
        f"○ least error of the curve at {FOUND.share[FOUND.best]:.3f}: SQNR {on_curve:.1f} dB"
        in (title(figure))
    )


def test_the_error_of_arithmetic_is_no_error():
    # 2^-53 of the signal is what float64 leaves of an error of nothing: 319 dB.
    tiny = np.full(len(FOUND.share), FOUND.signal * 2.0**-106)
    exact = dataclasses.replace(
        FOUND,
        rounding=tiny,
        clipping=0 * tiny,
        estimators=tuple(
            dataclasses.replace(each, rounding=float(tiny[0]), clipping=0.0)
            for each in FOUND.estimators
        ),
    )
    assert sqnr(exact.estimators[0]) == "no error"
    assert "no error at any range" in title(clip_curve(exact))
    assert "dB" not in title(clip_curve(exact))


def test_decibels_are_ten_times_the_logarithm_of_signal_over_error():
    assert decibels(1e-3, 1.0) == "30.0 dB"
    assert decibels(0.0, 1.0) == "no error"
    assert decibels(0.0, 0.0) == "no signal"


def test_estimators_that_all_failed_leave_the_curve():
    nan = float("nan")
    failed = dataclasses.replace(
        FOUND.estimators[0], title="Min-max: too few values", rounding=nan, clipping=nan
    )
    figure = clip_curve(dataclasses.replace(FOUND, estimators=(failed,)))
    assert "best range" not in title(figure)
    assert "too few values" in title(figure)
