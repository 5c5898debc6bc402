import numpy as np
import pytest

from analysis.errors import AnalysisError, UnknownNameError
from analysis.plots.ranges_strip import layer_ridgeline, layer_strip
from analysis.plots.theme import alt_text
from tests.analysis.plots.distributions_to_draw import distributions
from tests.analysis.plots.records_to_draw import named, title

RNG = np.random.default_rng(0)
SMALL = distributions(
    {"stem": np.array([[-1.0, 0.0, 1.0]]), "conv": np.array([[-2.0, 4.0]]), "norm": None}
)
MANY = distributions({name: RNG.normal(0, 1, (4, 100)) for name in named(200)})


def test_bars_stand_in_network_order_and_clicks_get_the_layer():
    bars = layer_strip(SMALL, "weight").data[0]
    assert [entry[0] for entry in bars.customdata] == ["stem", "conv", "norm"]
    assert isinstance(bars.customdata[0], list)
    np.testing.assert_allclose(4 * np.asarray(bars.base)[:2], [-1, -2])
    np.testing.assert_allclose(4 * np.asarray(bars.y)[:2], [2, 6])


def test_hovers_say_true_values():
    entry = layer_strip(SMALL, "weight").data[0].customdata[1]
    assert (entry[1], entry[3], entry[5]) == (-2.0, 1.0, 4.0)


def test_a_layer_without_a_tensor_is_a_cross_with_its_reason():
    figure = layer_strip(SMALL, "weight")
    cross = figure.data[3]
    assert list(cross.x) == [2]
    assert list(cross.customdata[0]) == ["norm", "not a floating-point tensor"]
    assert "1 layer without such a tensor" in title(figure)
    assert "without" not in title(layer_strip(MANY, "weight"))


def test_an_outlier_is_flagged_without_flattening_the_rest():
    wide = {f"layer{at}": np.array([[-1.0, 1.0]]) for at in range(9)}
    wide["layer9"] = np.array([[-500.0, 800.0]])
    figure = layer_strip(distributions(wide), "weight", outliers={"layer9"})
    bars = figure.data[0]
    assert min(np.asarray(bars.y)) > 0.1
    assert bars.marker.color[9] != bars.marker.color[0]
    assert [(note.text, note.x) for note in figure.layout.annotations] == [("▼", 9)]
    assert "1 outlier layer" in title(figure)
    assert "axis logarithmic above" in title(figure)
    assert "outlier" not in title(layer_strip(distributions(wide), "weight"))


def test_the_axis_reads_true_values():
    axis = layer_strip(SMALL, "weight").layout.yaxis
    ticks = dict(zip(axis.ticktext, axis.tickvals, strict=True))
    assert ticks["2"] == 0.5
    assert axis.range[0] < -0.5 < 1.0 < axis.range[1]


def test_the_selected_layer_is_outlined_and_banded():
    figure = layer_strip(SMALL, "weight", "conv")
    assert list(figure.data[0].marker.line.width).index(2.5) == 1
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (0.5, 1.5)
    assert not layer_strip(SMALL, "weight", "other").layout.shapes


def test_activations_say_how_many_samples_they_are_of():
    found = distributions({"stem": RNG.normal(0, 1, (2, 9))}, "pre_activation", "w4a8")
    text = title(layer_strip(found, "pre_activation"))
    assert "before the activation function" in text
    assert "n = 64 calibration samples" in text
    assert "w4a8 network" in text
    assert "samples" not in title(layer_strip(SMALL, "weight"))


def test_the_sentence_names_the_widest_and_the_narrowest_layer():
    assert "widest conv with 6.00, narrowest stem with 2.00" in alt_text(
        layer_strip(SMALL, "weight")
    )


@pytest.mark.parametrize("draw", [layer_strip, layer_ridgeline])
def test_what_cannot_be_drawn_is_said(draw):
    with pytest.raises(UnknownNameError, match="`weight`"):
        draw(SMALL, "weights")
    with pytest.raises(AnalysisError, match="not a floating-point tensor"):
        draw(SMALL, "input")


def test_two_hundred_layers_stay_small():
    assert len(layer_strip(MANY, "weight").to_json()) < 100_000
    assert len(layer_ridgeline(MANY, "weight", most=200).to_json()) < 300_000


def test_ridges_are_equally_high_and_end_at_the_extremes():
    found = distributions(
        {"wide": RNG.normal(0, 2, (4, 400)), "narrow": RNG.normal(0, 1, (4, 400))}
    )
    figure = layer_ridgeline(found, "weight")
    heights = [np.ptp(np.asarray(trace.y)) for trace in figure.data[:2]]
    np.testing.assert_allclose(heights, 1.5)
    reach = max(-found.tensors[0].value("low"), found.tensors[0].value("high"))
    for trace, one in zip(figure.data[:2], found.tensors, strict=True):
        np.testing.assert_allclose(min(trace.x) * reach, one.value("low"), rtol=1e-5)
        np.testing.assert_allclose(max(trace.x) * reach, one.value("high"), rtol=1e-5)
        # A closed outline ends where it began.
        assert (trace.x[0], trace.y[0]) == (trace.x[-1], trace.y[-1])


def test_a_uniform_tensor_makes_a_flat_ridge():
    found = distributions({"flat": np.linspace(-1, 1, 60 * 1024)[None]})
    trace = layer_ridgeline(found, "weight").data[0]
    np.testing.assert_allclose(np.asarray(trace.y)[1:-2], 1.5, rtol=0.03)


def test_zeros_do_not_flatten_the_rest():
    values = np.concatenate([np.zeros(5000), np.linspace(0.01, 1, 5000)])[None]
    figure = layer_ridgeline(distributions({"relu": values}), "weight")
    assert np.median(np.asarray(figure.data[0].y)) > 1.3
    assert "zeros left out in 1 layer" in title(figure)


def test_dots_at_the_means_carry_the_layers():
    dots = layer_ridgeline(SMALL, "weight").data[-1]
    assert [entry[0] for entry in dots.customdata] == ["stem", "conv"]
    np.testing.assert_allclose(4 * np.asarray(dots.x), [0, 1])
    assert "1 layer without such a tensor, left out" in title(layer_ridgeline(SMALL, "weight"))


@pytest.mark.parametrize("at", [0, 77, 199])
def test_thinned_layers_are_said_and_the_selected_one_is_kept(at):
    selected = named(200)[at]
    figure = layer_ridgeline(MANY, "weight", selected)
    drawn = [entry[0] for entry in figure.data[-1].customdata]
    assert len(drawn) == 40
    assert selected in drawn
    assert drawn == [name for name in MANY.layers if name in drawn]
    assert "40 of them drawn, evenly in network order" in title(figure)
    fills = [trace.fillcolor for trace in figure.data[:-1]]
    assert [fill != fills[drawn.index(selected) - 1] for fill in fills].count(True) == 1
    assert "drawn" not in title(layer_ridgeline(SMALL, "weight"))


def test_a_constant_layer_is_a_needle():
    found = distributions({"one": np.ones((2, 3)), "conv": np.array([[-2.0, 4.0]])})
    needle = layer_ridgeline(found, "weight").data[0]
    assert len(set(np.asarray(needle.x).tolist())) == 1
    np.testing.assert_allclose(max(needle.y) - min(needle.y), 1.5)
    assert "kurtosis" in alt_text(layer_ridgeline(found, "weight"))


def test_the_number_of_ridges_must_be_positive():
    with pytest.raises(AnalysisError, match="most=0"):
        layer_ridgeline(SMALL, "weight", most=0)


def test_the_layers_of_another_network_are_outlined_and_told():
    other = distributions({"conv": np.array([[-8.0, 2.0]])}, network="mine, quantized")
    figure = layer_strip(SMALL, "weight", other=other)
    outlines = next(each for each in figure.data if each.name == "mine, quantized")
    assert list(outlines.x) == [1]
    np.testing.assert_allclose(8 * np.asarray(outlines.base), [-8])
    np.testing.assert_allclose(8 * np.asarray(outlines.y), [10])
    assert outlines.hoverinfo == "skip"
    assert [entry[-1] for entry in figure.data[0].customdata] == ["none", "-8.00 to 2.00", "none"]
    assert "outlines: mine, quantized" in title(figure)
