import dataclasses
import json

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.plots.histogram import distribution_histogram
from analysis.plots.theme import alt_text
from analysis.records import GridError
from tests.analysis.plots.distributions_to_draw import (
    distribution,
    empty,
    grid_error,
    levels_of,
    quantized,
)
from tests.analysis.plots.records_to_draw import title

VALUES = np.random.default_rng(0).normal(0, 1, (8, 500))
ONE = distribution(VALUES)
UNIFORM = np.linspace(-1, 1, 4001)[None]


def test_bars_hold_every_value_and_say_their_true_edges():
    figure = distribution_histogram(ONE)
    bars = figure.data[0]
    assert len(bars.y) <= 160
    assert bars.y.sum() == VALUES.size
    edges = np.array(bars.customdata)[:, :2]
    np.testing.assert_allclose(edges[1:, 0], edges[:-1, 1])
    inside = [((low <= VALUES) & (high > VALUES)).sum() for low, high in edges[:-1]]
    # Both sides sort values at an edge by their own rounding.
    np.testing.assert_allclose(bars.y[:-1], inside, atol=2)
    np.testing.assert_allclose(np.array(bars.customdata)[:, 2].sum(), 100)


def test_a_few_bins_are_drawn_as_they_are():
    bars = distribution_histogram(distribution([[0.0, 0.0, 1.0, 4.0]], bins=4)).data[0]
    assert bars.y.tolist() == [2, 1, 0, 1]
    assert bars.x.tolist() == [0.5, 1.5, 2.5, 3.5]


def test_zeros_of_a_relu_are_left_out_and_those_of_a_few_levels_are_not():
    rows = np.maximum(np.random.default_rng(0).standard_normal((1, 4000)), 0)
    figure = distribution_histogram(distribution(rows, bins=256))
    assert figure.data[0].y.sum() == (rows > 0).sum()
    assert "% zeros, not drawn" in title(figure)
    levels = np.round(rows)
    figure = distribution_histogram(distribution(levels, bins=256))
    assert figure.data[0].y.sum() == levels.size
    assert "not drawn" not in title(figure)


def test_empty_bins_at_the_ends_are_left_out():
    one = dataclasses.replace(
        distribution([[0.0, 1.0]], bins=2), start=-5.0, width=1.0, counts=[0, 0, 3, 1, 0, 0]
    )
    one = dataclasses.replace(one, counts=np.array(one.counts, dtype=np.float64))
    bars = distribution_histogram(one).data[0]
    assert bars.x.tolist() == [-2.5, -1.5]
    assert bars.y.tolist() == [3, 1]


def test_facts_state_what_the_tensor_holds():
    text = title(distribution_histogram(distribution([[0.0, 0.0, 1.0, 3.0]])))
    assert "n = 4 values" in text
    assert "50.0 % zeros" in text
    assert "mean 1.00" in text
    assert "from 0 to 3.00" in text
    # Deviations -1, -1, 0, 2: fourth moment 4.5 over the square of 1.5.
    assert "kurtosis 2.00" in text


def test_quantiles_are_marked_where_they_are():
    shapes = distribution_histogram(ONE).layout.shapes
    assert [shape.x0 for shape in shapes] == [ONE.value("q01"), ONE.value("q99")]
    texts = [note.text for note in distribution_histogram(ONE).layout.annotations]
    assert texts == ["1 %", "99 %"]


def test_the_range_is_marked_and_what_is_clipped_is_shaded():
    grid = grid_error(UNIFORM, 0.5, bits=4)
    figure = distribution_histogram(distribution(UNIFORM), grid=grid)
    lines = [shape.x0 for shape in figure.layout.shapes if shape.type == "line"]
    assert lines[2:] == [-0.5, 0.5]
    shaded = sorted(shape.x0 for shape in figure.layout.shapes if shape.type == "rect")
    half = 0.5 / 7 / 2
    np.testing.assert_allclose(shaded, [-0.5 - half, 0.5 + half])
    # Half of a uniform tensor's values lie outside half of its range, less half a step.
    assert f"{100 * (0.5 - half):.1f} % clipped" in title(figure)
    assert "clipping" in title(figure)
    assert f"SQNR {grid.sqnr:.1f} dB" in title(figure)
    assert f"{grid.sqnr:.1f} dB" in alt_text(figure)


def test_nothing_is_shaded_where_nothing_is_clipped():
    grid = grid_error(UNIFORM, 2.0, bits=4)
    figure = distribution_histogram(distribution(UNIFORM), grid=grid)
    assert not [shape for shape in figure.layout.shapes if shape.type == "rect"]
    low, high = figure.layout.xaxis.range
    assert low < -2 < 2 < high
    assert "error 100 % rounding, 0 % clipping" in title(figure)


def test_of_ranges_by_channel_the_outermost_ends_are_marked_and_shaded():
    grid = dataclasses.replace(
        grid_error(UNIFORM, 0.5),
        low=np.array([-0.5, -0.2]),
        high=np.array([0.5, 0.2]),
        step=np.array([0.1, 0.04]),
    )
    figure = distribution_histogram(distribution(UNIFORM), grid=grid)
    lines = [shape.x0 for shape in figure.layout.shapes if shape.type == "line"]
    assert lines[2:] == [-0.5, 0.5]
    shaded = sorted(shape.x0 for shape in figure.layout.shapes if shape.type == "rect")
    np.testing.assert_allclose(shaded, [-0.55, 0.55])
    assert "2 ranges" in title(figure)
    assert "the narrowest reaches 0.2" in title(figure)


def test_an_estimator_that_failed_is_named_instead_of_drawn():
    nan = float("nan")
    grid = dataclasses.replace(
        grid_error(UNIFORM, 0.5, title="Entropy: too few values"),
        low=np.array([nan]),
        high=np.array([nan]),
        rounding=nan,
        clipping=nan,
    )
    figure = distribution_histogram(distribution(UNIFORM), grid=grid)
    assert "Entropy: too few values" in title(figure)
    assert len(figure.layout.shapes) == 2
    assert "nan" not in alt_text(figure)


def test_levels_stand_below_the_bars():
    figure = distribution_histogram(ONE, levels=levels_of(3.0, 4))
    rug = figure.data[-1]
    np.testing.assert_allclose(rug.x, np.arange(-7, 8) * 3 / 7)
    assert rug.yaxis == "y2"
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis2.domain[1]
    assert "15 levels, as ticks below" in title(figure)
    assert "drawn evenly" not in title(figure)


def test_dense_levels_are_thinned_and_that_is_said():
    figure = distribution_histogram(ONE, levels=np.linspace(-3, 3, 65535))
    assert len(figure.data[-1].x) <= 256
    assert f"65,535 levels, as ticks below, {len(figure.data[-1].x)} drawn evenly" in title(figure)


def test_a_second_tensor_is_drawn_in_shares_of_bars_of_the_same_width():
    half = distribution(VALUES[:4], "half of it", bins=300)
    figure = distribution_histogram(ONE, other=half)
    bars, line = figure.data
    np.testing.assert_allclose(bars.y.sum(), 100)
    own = line.x[2] - line.x[1]
    np.testing.assert_allclose(np.sum(line.y) * own / bars.width, 100, rtol=1e-6)
    assert "share" in figure.layout.yaxis.title.text
    assert "half of it, as a line" in title(figure)
    assert "half of it" in alt_text(figure)
    assert line.line.color in title(figure)


def test_a_quantized_tensor_shows_its_levels_as_peaks():
    figure = distribution_histogram(ONE, other=distribution(quantized(VALUES, 2.0, 3), "int3"))
    assert (np.asarray(figure.data[1].y) > 1e-6).sum() == 7


@pytest.mark.parametrize("other", [None, distribution(VALUES * 2)])
def test_logarithmic_counts_keep_single_values_visible(other):
    figure = distribution_histogram(ONE, other=other, log=True)
    axis = figure.layout.yaxis
    assert axis.type == "log"
    assert "logarithmic axis" in title(figure)
    bars = np.asarray(figure.data[0].y)
    assert 10 ** axis.range[0] < bars[bars > 0].min()
    assert 10 ** axis.range[1] > bars.max()


def test_a_constant_tensor_is_one_bar_that_says_so():
    figure = distribution_histogram(distribution(np.full((2, 5), 0.25)))
    assert figure.data[0].y.tolist() == [10]
    assert "one value only, no kurtosis" in title(figure)
    low, high = figure.layout.xaxis.range
    assert low < 0.25 < high


def test_an_empty_tensor_is_refused():
    with pytest.raises(AnalysisError, match="`nothing` holds none"):
        distribution_histogram(empty())
    with pytest.raises(AnalysisError, match="holds none"):
        distribution_histogram(ONE, other=empty())


def test_arrays_are_packed_and_a_histogram_of_many_values_stays_below_20_kb():
    one = dataclasses.replace(ONE, counts=np.arange(2048.0) * 1e4)
    figure = distribution_histogram(
        one, grid=grid_error(VALUES, 2.0, 8), levels=levels_of(2.0, 8), log=True
    )
    text = figure.to_json()
    assert len(text) < 20_000
    assert "bdata" in json.loads(text)["data"][0]["y"]


def test_a_tensor_of_zeros_is_a_narrow_bar_that_nothing_is_shaded_beside():
    zeros = distribution(np.zeros((4, 9)))
    grid = GridError(
        estimator="mse",
        title="Least squared error",
        low=np.array([-0.0]),
        high=np.array([0.0]),
        step=np.array([1e-14]),
        clipped=0.0,
        rounding=0.0,
        clipping=0.0,
        signal=0.0,
    )
    figure = distribution_histogram(zeros, grid=grid)
    bar, (left, right) = figure.data[0], figure.layout.xaxis.range
    assert bar.x[0] == 0
    assert bar.y[0] == 36
    assert bar.width < 0.1 * (right - left)
    assert not [shape for shape in figure.layout.shapes if shape.type == "rect"]
    said = title(figure)
    assert "0 % clipped" in said
    assert "no error" in said
    assert not any(word in said for word in ("inf", "nan", "-0 "))


def test_a_constant_stands_inside_its_range():
    figure = distribution_histogram(
        distribution(np.full((4, 9), 0.1)), grid=grid_error(np.full(36, 0.1), 0.1)
    )
    bar = figure.data[0]
    assert bar.x[0] == pytest.approx(0.1)
    for shape in figure.layout.shapes:
        if shape.type == "rect":
            assert not shape.x0 < 0.1 - bar.width / 2 < shape.x1
