import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.plots.channels import channel_ranges
from analysis.plots.theme import alt_text
from tests.analysis.plots.distributions_to_draw import distribution, empty
from tests.analysis.plots.records_to_draw import title

# Ranges 2, 8, 0 and 4: the channel of 8 spans the layer.
SMALL_ROWS = np.array([[-1.0, 1.0], [-4.0, 4.0], [0.5, 0.5], [0.0, 4.0]])
SMALL = distribution(SMALL_ROWS)


def scaled(channels, spread):
    rng = np.random.default_rng(0)
    return distribution(
        rng.normal(0, 1, (channels, 20)) * np.exp(rng.normal(0, spread, (channels, 1)))
    )


def order(figure):
    return [entry[0] for entry in figure.data[0].customdata]


def test_channels_come_widest_first_or_by_number():
    assert order(channel_ranges(SMALL)) == [1, 3, 0, 2]
    assert order(channel_ranges(SMALL, sort=False)) == [0, 1, 2, 3]


def test_bars_reach_from_the_smallest_to_the_largest_value():
    figure = channel_ranges(SMALL)
    bars, inner, means = figure.data
    # A linear axis runs from -1 to 1 times the largest magnitude.
    np.testing.assert_allclose(4 * np.asarray(bars.base), [-4, 0, -1, 0.5])
    np.testing.assert_allclose(4 * np.asarray(bars.y), [8, 4, 2, 0])
    np.testing.assert_allclose(4 * np.asarray(means.y), [0, 2, 0, 0.5])
    assert (np.asarray(inner.y) <= np.asarray(bars.y) + 1e-6).all()
    ticks = dict(zip(figure.layout.yaxis.ticktext, figure.layout.yaxis.tickvals, strict=True))
    assert ticks["2"] == 0.5


def test_clicks_get_the_channel_and_hovers_its_true_values():
    first = channel_ranges(SMALL, bits=8).data[0].customdata[0]
    assert isinstance(first, list)
    assert first[0] == 1
    assert first[1] == -4
    assert first[5] == 4
    assert first[6:] == [100.0, "8.0"]


def test_facts_state_precision_dead_channels_and_the_bits_left():
    text = title(channel_ranges(SMALL, bits=8))
    assert "4 channels" in text
    # (2 + 8 + 4) / 3 of 8, the dead channel left out.
    assert f"average channel precision {14 / 3 / 8:.3f}" in text
    assert "1 channel of one value only" in text
    assert "of 8 bits channel 0 keeps 6.0" in text
    assert "keeps" not in title(channel_ranges(SMALL))


def test_a_channel_narrower_than_a_step_keeps_none():
    one = distribution([[-4.0, 4.0], [0.0, 0.1]])
    assert "of 4 bits channel 1 keeps none" in title(channel_ranges(one, bits=4))


def test_the_range_of_the_layer_is_drawn_with_its_middle():
    shapes = channel_ranges(SMALL).layout.shapes
    assert [shape.y0 for shape in shapes if shape.type == "line"] == [-1.0, 1.0]
    band = next(shape for shape in shapes if shape.type == "rect")
    np.testing.assert_allclose(4 * band.y0, SMALL.value("q01"))
    np.testing.assert_allclose(4 * band.y1, SMALL.value("q99"))


def test_all_of_2048_channels_are_drawn_and_more_are_thinned():
    assert len(order(channel_ranges(scaled(2048, 1.0)))) == 2048
    figure = channel_ranges(scaled(3000, 1.0))
    drawn = order(figure)
    assert len(drawn) == len(set(drawn)) == 2048
    assert "2,048 drawn, all at both ends, evenly between" in title(figure)
    assert "3,000 channels" in title(figure)
    assert len(figure.to_json()) < 400_000


def test_thinning_keeps_both_ends():
    one = distribution(np.outer(np.arange(100, 0, -1.0), [-1, 1]))
    drawn = order(channel_ranges(one, most=8))
    assert (drawn[:2], drawn[-2:]) == ([0, 1], [98, 99])
    assert len(set(drawn)) == 8
    drawn = order(channel_ranges(one, sort=False, most=8))
    assert drawn == sorted(drawn)
    assert (drawn[0], drawn[-1]) == (0, 99)
    assert len(drawn) == 8


@pytest.mark.parametrize("channel", [0, 37, 99])
def test_the_highlighted_channel_is_always_drawn_and_named(channel):
    one = distribution(np.outer(np.arange(100, 0, -1.0), [-1, 1]))
    figure = channel_ranges(one, most=8, highlight=channel)
    assert channel in order(figure)
    assert len(set(order(figure))) == 8
    assert figure.layout.annotations[0].text == f"channel {channel}"
    assert figure.layout.annotations[0].x == order(figure).index(channel)


def test_channels_far_apart_make_the_axis_logarithmic():
    far = distribution(np.outer([1.0, 1.0, 1.0, 1000.0], [-1, 1]))
    figure = channel_ranges(far)
    assert "axis logarithmic above" in title(figure)
    assert np.asarray(figure.data[0].y)[1] > 0.05
    assert "logarithmic" not in title(channel_ranges(SMALL))


def test_a_layer_of_dead_channels_is_drawn():
    figure = channel_ranges(distribution(np.ones((3, 4))), bits=4)
    assert "3 channels of one value only" in title(figure)
    assert "precision" not in title(figure)


def test_the_sentence_names_the_widest_channel():
    assert "widest channel 1 with 8.00, 100 % of the layer's" in alt_text(channel_ranges(SMALL))


def test_wrong_requests_are_refused():
    with pytest.raises(AnalysisError, match="has none"):
        channel_ranges(empty())
    with pytest.raises(AnalysisError, match="0 to 3, got 4"):
        channel_ranges(SMALL, highlight=4)
    with pytest.raises(AnalysisError, match="most=2"):
        channel_ranges(SMALL, most=2)


def test_another_network_s_channels_are_outlined_in_the_same_order():
    other = distribution(2 * SMALL_ROWS, "float after equalization")
    figure = channel_ranges(SMALL, other=other, bits=8)
    outlines = figure.data[-1]
    np.testing.assert_allclose(8 * np.asarray(outlines.base)[0], -8)
    np.testing.assert_allclose(8 * np.asarray(outlines.y)[0], 16)
    # Clicks and hovers go to the boxes behind, which tell both.
    assert outlines.hoverinfo == "skip"
    assert figure.data[0].customdata[0][-1] == "-8.00 to 8.00"
    assert "float after equalization: %{customdata[8]}" in figure.data[0].hovertemplate
    assert "outlines: float after equalization" in title(figure)
    assert [shape.y0 for shape in figure.layout.shapes if shape.type == "line"] == [
        -1.0, 1.0, -0.5, 0.5
    ]  # fmt: skip


def test_channels_of_another_number_are_not_compared():
    with pytest.raises(AnalysisError, match="equally many, got 4 and 2"):
        channel_ranges(SMALL, other=distribution([[0.0, 1.0], [0.0, 2.0]]))
