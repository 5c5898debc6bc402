import dataclasses

import numpy as np
import pytest
from scipy import stats

from analysis.errors import AnalysisError, UnknownNameError
from analysis.plots.expected import expected_ranges
from analysis.plots.lab_bars import drop_bars
from analysis.plots.lab_precision import acp_by_initializer
from analysis.plots.runs import interval, over_seeds
from analysis.plots.theme import alt_text
from analysis.plots.trajectories import range_trajectories
from tests.analysis.plots.distributions_to_draw import LAYERS, init_run, init_study
from tests.analysis.plots.records_to_draw import title

SEEDS = (0, 1, 2)
STUDY = init_study(
    *(init_run("he", "regular", s, ranges=(1, 2, 4 + s), acp=0.5 + 0.1 * s) for s in SEEDS),
    *(init_run("he", "separable", s, drops=(2, 20 + s), correct=95) for s in SEEDS),
    *(init_run("large", "regular", s, ranges=(8, 8, 8), drops=(3, 30), correct=60) for s in SEEDS),
    *(
        init_run("large", "separable", s, ranges=(8, 8, 8), diverged_at=2 if s == 1 else None)
        for s in SEEDS
    ),
)


def lines(figure):
    return {trace.name: trace for trace in figure.data if trace.mode == "lines+markers"}


def dots(figure):
    return {trace.name: trace for trace in figure.data if trace.mode == "markers"}


def bars(figure):
    return [trace for trace in figure.data if trace.type == "bar"]


def test_intervals_are_those_of_students_t():
    values = np.array([1.0, 2.0, 6.0])
    mean, low, high = interval(values)
    expected = stats.t.interval(0.95, 2, loc=3.0, scale=stats.sem(values))
    assert mean == 3
    np.testing.assert_allclose((low, high), expected)
    assert interval(np.array([1.0, np.nan, 2.0, 6.0])) == (mean, low, high)
    # Two would have one 12.7 standard errors wide.
    for few in ([1.0], [1.0, 2.0]):
        assert interval(np.array(few))[0] == np.mean(few)
        assert np.isnan(interval(np.array(few))[1:]).all()
    assert np.isnan(interval(np.array([])))[0]


def test_spreads_leave_out_what_is_missing():
    mean, low, high = over_seeds(np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]]))
    np.testing.assert_array_equal(mean, [2, 5, np.nan])
    np.testing.assert_array_equal(low, [1, 5, np.nan])
    np.testing.assert_array_equal(high, [3, 5, np.nan])


def test_a_line_for_each_initializer_follows_one_layer():
    figure = range_trajectories(STUDY, "regular", "weight", LAYERS[1])
    found = lines(figure)
    # The second layer has twice the range of the first.
    assert list(found["he"].y) == [2, 4, 10]
    assert list(found["large"].y) == [16, 16, 16]
    np.testing.assert_array_equal(found["he"].customdata[-1], [8, 12])
    assert figure.layout.yaxis.type == "log"
    assert LAYERS[1] in title(figure)
    assert "3 seeds each" in title(figure)


def test_without_a_layer_the_median_over_the_layers_is_drawn():
    figure = range_trajectories(STUDY, "regular")
    assert list(lines(figure)["he"].y) == [2.5, 5, 12.5]
    assert "median layer" in title(figure)
    assert "widest from large with 20.0, narrowest from he with 12.5" in alt_text(figure)


def test_bands_reach_from_the_smallest_to_the_largest_seed():
    figure = range_trajectories(STUDY, "regular", layer=LAYERS[0])
    band = next(trace for trace in figure.data if trace.fill == "toself")
    assert list(band.y) == [1, 2, 6, 4, 2, 1]


def test_a_diverged_run_is_crossed_and_counted():
    figure = range_trajectories(STUDY, "separable", layer=LAYERS[0])
    cross = next(trace for trace in figure.data if trace.mode == "markers")
    assert (cross.x[0], cross.y[0]) == (1, 8)
    assert "seed 1: loss is not finite in epoch 2" in cross.hovertemplate
    assert "1 of 6 runs diverged (large)" in title(figure)
    assert "diverged" not in title(range_trajectories(STUDY, "regular"))


def test_ranges_of_zero_are_left_out_and_said():
    study = init_study(init_run("zero", ranges=(0, 1, 2)))
    figure = range_trajectories(study, "regular", layer=LAYERS[0])
    np.testing.assert_array_equal(lines(figure)["zero"].y, [np.nan, 1, 2])
    assert "1 range of zero left out" in title(figure)
    with pytest.raises(AnalysisError, match="all zero or missing"):
        range_trajectories(init_study(init_run("zero", ranges=(0, 0))), "regular")


def test_unknown_names_are_refused():
    with pytest.raises(UnknownNameError, match="`regular`"):
        range_trajectories(STUDY, "reguler")
    with pytest.raises(UnknownNameError, match="weight"):
        range_trajectories(STUDY, "regular", "weigth")
    with pytest.raises(UnknownNameError, match=r"block\.depthwise"):
        range_trajectories(STUDY, "regular", layer="depthwise")
    other = init_run("he", layers=("a", "b"))
    with pytest.raises(AnalysisError, match="same layers"):
        range_trajectories(init_study(*STUDY.runs, other), "regular")


def test_precision_is_drawn_by_layer_and_initializer_with_its_seeds():
    figure = acp_by_initializer(STUDY, "regular", selected=LAYERS[2])
    found = dots(figure)["he"]
    np.testing.assert_allclose(found.y, 0.6)
    np.testing.assert_allclose(found.error_y.array, 0.1)
    np.testing.assert_allclose(found.error_y.arrayminus, 0.1)
    assert [entry[0] for entry in found.customdata] == list(LAYERS)
    assert isinstance(found.customdata[0], list)
    # Beside each other around the place of the layer, closer together than layers are.
    np.testing.assert_allclose(dots(figure)["large"].x - found.x, 0.12)
    np.testing.assert_allclose(found.x + dots(figure)["large"].x, 2 * np.arange(4), atol=1e-9)
    assert figure.layout.shapes[0].x0 == 1.5
    assert "after training" in title(figure)
    assert "as initialized" in title(acp_by_initializer(STUDY, "regular", epoch=0))
    assert "highest from he with 0.600, lowest from large with 0.500" in alt_text(figure)


def test_precision_of_a_diverged_run_counts_as_long_as_it_has_one():
    assert "1 of 6 runs diverged (large)" in title(acp_by_initializer(STUDY, "separable"))
    lost = init_study(init_run("he", diverged_at=1))
    assert len(acp_by_initializer(lost, "regular", epoch=0).data) == 1
    with pytest.raises(AnalysisError, match="of 1 run 1 diverged"):
        acp_by_initializer(lost, "regular")
    with pytest.raises(AnalysisError, match="from 0 to 2, or -1"):
        acp_by_initializer(STUDY, "regular", epoch=3)


def test_drops_are_means_with_intervals_beside_the_float_accuracy():
    figure = drop_bars(STUDY, "min_max_per_tensor", 4)
    regular, separable = bars(figure)
    np.testing.assert_allclose(regular.x, [10, 30])
    np.testing.assert_allclose(separable.x, [21, 10])
    half = stats.t.ppf(0.975, 2) * stats.sem([20, 21, 22])
    np.testing.assert_allclose(separable.error_x.array[0], half)
    assert f"95 % interval {21 - half:.2f} to {21 + half:.2f}" in separable.customdata[0][1]
    texts = figure.layout.yaxis2.ticktext
    assert [text.split(" ")[0] for text in texts] == ["90.0", "95.0", "60.0", "90.0"]
    assert list(figure.layout.yaxis.ticktext) == ["he", "large"]
    assert "n = 100" in title(figure)
    assert "3 seeds each" in title(figure)


def test_architectures_of_an_initializer_stand_side_by_side():
    regular, separable = bars(drop_bars(STUDY, "default", 8))
    np.testing.assert_allclose(np.asarray(separable.y) - np.asarray(regular.y), 1)
    assert regular.y[1] - separable.y[0] > 1
    assert regular.marker.color != separable.marker.color
    for trace in (regular, separable):
        assert trace.marker.color in title(drop_bars(STUDY, "default", 8))


def test_every_seed_is_a_dot():
    figure = drop_bars(STUDY, "min_max_per_tensor", 4)
    seeds = list(figure.select_traces({"mode": "markers"}))
    np.testing.assert_allclose(sorted(seeds[1].x)[-3:], [20, 21, 22])
    assert len(seeds[0].x) == 6
    # The diverged one has no drop.
    assert len(seeds[1].x) == 5


def test_diverged_runs_are_named_beside_the_bar():
    figure = drop_bars(STUDY, "min_max_per_tensor", 4)
    assert "1 of 12 runs diverged (large)" in title(figure)
    assert figure.layout.yaxis2.ticktext[3].endswith("1 of 3 diverged")
    assert "seed 1: loss is not finite in epoch 2" in bars(figure)[1].customdata[1][1]


def test_an_initializer_that_always_diverged_keeps_its_row():
    lost = [init_run("large", "regular", s, diverged_at=1) for s in SEEDS]
    figure = drop_bars(init_study(init_run("he"), *lost), "default", 4)
    assert list(figure.layout.yaxis.ticktext) == ["he", "large"]
    assert figure.layout.annotations[0].text == "3 runs of regular, all diverged"
    assert figure.layout.yaxis2.ticktext[1] == "3 of 3 diverged"
    nothing = drop_bars(init_study(*lost), "default", 4)
    assert "every run diverged" in alt_text(nothing)


FAILED = {("large", "regular", seed) for seed in SEEDS} | {("large", "separable", 0)}


def test_runs_that_failed_to_train_have_no_bar_and_no_dot():
    figure = drop_bars(STUDY, "min_max_per_tensor", 4, FAILED)
    regular, separable = bars(figure)
    np.testing.assert_allclose(regular.x, [10])
    np.testing.assert_allclose(separable.x, [21, 10])
    one, other = figure.select_traces({"mode": "markers", "yaxis": None})
    assert len(one.x) == 3
    # One diverged, one failed.
    assert len(other.x) == 4
    texts = figure.layout.yaxis2.ticktext
    assert texts[2] == "60.0 ± 0.0 %, 3 of 3 failed to train"
    assert texts[3] == "90.0 %, 1 of 3 diverged, 1 of 3 failed to train"
    assert figure.layout.annotations[0].text == "3 runs of regular, all failed to train"
    assert "4 of 12 runs failed to train (large)" in title(figure)
    assert "1 run failed to train" in separable.customdata[1][1]
    assert "most from he in separable" in alt_text(figure)


def test_runs_that_failed_to_train_count_in_no_precision():
    study = init_study(*(init_run("he", seed=s, acp=0.2 + 0.3 * (s == 2)) for s in SEEDS))
    figure = acp_by_initializer(study, "regular", failed={("he", "regular", 2)})
    np.testing.assert_allclose(dots(figure)["he"].y, 0.2)
    assert "1 of 3 runs failed to train (he)" in title(figure)
    with pytest.raises(AnalysisError, match="of 3 runs 3 failed to train"):
        acp_by_initializer(study, "regular", failed={("he", "regular", s) for s in SEEDS})


def test_lines_of_initializers_from_which_nothing_trained_are_dotted():
    figure = range_trajectories(STUDY, "regular", failed=FAILED)
    assert {name: line.line.dash for name, line in lines(figure).items()} == {
        "he": "solid",
        "large": "dot",
    }
    assert "3 of 6 runs failed to train (large)" in title(figure)
    assert "dotted: no run trained" in title(figure)
    assert "dotted" not in title(range_trajectories(STUDY, "regular"))


def test_ranges_of_runs_that_all_diverged_at_once_are_refused_with_their_number():
    lost = init_study(*(init_run("he", seed=s, diverged_at=0) for s in SEEDS))
    with pytest.raises(AnalysisError, match="3 of 3 runs diverged"):
        range_trajectories(lost, "regular")


def test_names_of_layers_and_data_stand_without_backticks():
    for data, wanted in (("`mine`", "mine"), ("``", "a study's images")):
        study = dataclasses.replace(STUDY, data=data)
        for figure in (
            drop_bars(study, "default", 4),
            acp_by_initializer(study, "regular"),
            range_trajectories(study, "regular"),
        ):
            assert "`" not in title(figure)
            assert wanted in title(figure)


def test_both_axes_of_names_are_drawn_though_every_run_diverged():
    figure = drop_bars(init_study(init_run("he", diverged_at=1)), "default", 4)
    # Plotly draws an axis only where a trace has it.
    assert {trace.yaxis for trace in figure.data} == {"y", "y2"}


def test_two_seeds_are_too_few_for_an_interval_and_the_bars_say_so():
    study = init_study(*(init_run("he", seed=s, drops=(0, 10 * s)) for s in (0, 1)))
    figure = drop_bars(study, "default", 4)
    assert "too few seeds for an interval" in bars(figure)[0].customdata[0][1]
    assert bars(figure)[0].error_x.array[0] == 0
    assert "bars: mean, too few seeds for an interval" in title(figure)
    assert figure.layout.yaxis2.ticktext[0] == "90.0 %"


def test_one_seed_has_no_interval_and_says_so():
    figure = drop_bars(init_study(init_run("he")), "default", 4)
    assert "one seed, so no interval" in bars(figure)[0].customdata[0][1]
    assert bars(figure)[0].error_x.array[0] == 0
    assert "1 seed each" in title(figure)


def test_the_worst_and_the_best_are_named():
    assert "most from large in regular with 30.00 points of 60.0 %" in alt_text(
        drop_bars(STUDY, "default", 4)
    )


def test_drops_need_runs_and_known_names():
    with pytest.raises(UnknownNameError, match="default"):
        drop_bars(STUDY, "defualt", 4)
    with pytest.raises(AnalysisError, match="8, 4 bits, not to 2"):
        drop_bars(STUDY, "default", 2)
    with pytest.raises(AnalysisError, match="holds none"):
        drop_bars(init_study(), "default", 4)


def test_expected_values_stand_beside_what_a_layer_holds():
    figure = expected_ranges(
        ("conv", "fc"),
        np.array([2.0, 3.0]),
        {"he": np.array([1.0, np.nan]), "large": np.array([4.0, 6.0])},
        "fc",
    )
    he = next(trace for trace in figure.data if trace.name == "he")
    now = next(trace for trace in figure.data if trace.name == "now")
    np.testing.assert_array_equal(he.y, [1, np.nan])
    assert he.customdata[0] == ["conv", "2.00, 2.00 times this"]
    assert list(now.y) == [2, 3]
    assert [entry[0] for entry in now.customdata] == ["conv", "fc"]
    assert figure.layout.shapes[0].x0 == 0.5
    assert "farthest from he is conv, 2.00 times that" in alt_text(figure)
    assert "farthest from large is" in alt_text(figure)


def test_a_layer_without_a_value_now_is_counted():
    figure = expected_ranges(("conv", "fc"), np.array([0.0, 3.0]), {"he": np.ones(2)})
    assert "1 layer without a positive value now" in title(figure)
    assert "farthest from he is fc" in alt_text(figure)


def test_expected_values_must_fit():
    with pytest.raises(AnalysisError, match="he does not have"):
        expected_ranges(("conv", "fc"), np.ones(2), {"he": np.ones(3)})
    with pytest.raises(AnalysisError, match="got none"):
        expected_ranges(("conv",), np.ones(1), {})
    with pytest.raises(AnalysisError, match="positive"):
        expected_ranges(("conv",), np.zeros(1), {"he": np.zeros(1)})
