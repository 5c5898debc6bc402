import json

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.plots.heatmap import attention_heatmap
from analysis.plots.theme import alt_text
from tests.analysis.plots.records_to_draw import named, score_table, title


def table(per_sample, names=None):
    per_sample = np.array(per_sample, dtype=np.float64)
    return score_table(per_sample.mean(axis=0), per_sample=per_sample, names=names)


# Sample totals 11, 220, 44; layer means: second > first.
SMALL = table([[1.0, 10.0], [20.0, 200.0], [4.0, 40.0]], ("conv", "fc"))


def test_true_values_travel_with_the_colours():
    figure = attention_heatmap(SMALL)
    trace = figure.data[0]
    assert list(trace.x) == ["1", "2", "0"]
    assert list(trace.y) == ["fc", "conv"]
    assert trace.customdata.tolist() == [[200.0, 40.0, 10.0], [20.0, 4.0, 1.0]]
    assert trace.customdata.dtype == np.float32
    assert trace.z.dtype == np.uint8
    assert trace.z[0, 0] == 255
    assert trace.z[1, 2] == 1


def test_network_order_and_sample_numbers_can_be_kept():
    trace = attention_heatmap(SMALL, "network", sort_samples=False).data[0]
    assert list(trace.x) == ["0", "1", "2"]
    assert list(trace.y) == ["conv", "fc"]
    assert trace.customdata.tolist() == [[1.0, 20.0, 4.0], [10.0, 200.0, 40.0]]


def test_arrays_are_packed_and_two_hundred_layers_by_512_samples_stay_below_1_mb():
    values = np.exp(np.random.default_rng(0).normal(0, 3, (600, 200)))
    figure = attention_heatmap(table(values, named(200)))
    text = figure.to_json()
    assert len(text) < 1_000_000
    trace = json.loads(text)["data"][0]
    assert trace["z"]["dtype"] == "u1"
    assert trace["customdata"]["dtype"] == "f4"
    assert trace["z"]["shape"] == "200, 512"


def test_left_out_samples_are_said_and_both_ends_are_kept():
    values = np.arange(1.0, 101.0)[:, None]
    figure = attention_heatmap(table(values), max_samples=10)
    assert len(figure.data[0].x) == len(set(figure.data[0].x)) == 10
    assert figure.data[0].x[0] == "99"
    assert figure.data[0].x[-1] == "0"
    assert "10 samples drawn, evenly by total" in title(figure)
    assert "n = 100" in title(figure)
    assert "drawn" not in title(attention_heatmap(SMALL))


def test_the_title_and_the_colour_bar_state_the_unit():
    figure = attention_heatmap(SMALL)
    assert "nats per sample" in title(figure)
    assert figure.data[0].colorbar.title.text == "nats per sample"
    assert "n = 3" in title(figure)
    assert "logarithmic colours" in title(figure)


def test_colour_bar_ticks_are_values_not_codes():
    bar = attention_heatmap(SMALL).data[0].colorbar
    codes = dict(zip(bar.ticktext, bar.tickvals, strict=True))
    span = np.log10(200.0)
    np.testing.assert_allclose(codes["10"], 1 + 254 / span)


def test_negative_values_make_the_colours_linear_and_are_said():
    figure = attention_heatmap(table([[-1.0, 2.0]]))
    assert "linear colours" in title(figure)
    assert "negative values present" in title(figure)
    assert figure.data[0].customdata.tolist() == [[2.0], [-1.0]]


def test_a_value_that_is_not_finite_is_grey_and_counted():
    figure = attention_heatmap(table([[np.nan, 2.0], [1.0, 3.0]]), "network", sort_samples=False)
    assert figure.data[0].z[0, 0] == 0
    assert figure.data[0].colorscale[0][1] == "#9aa3b2"
    assert "1 cell without a finite value in grey" in title(figure)


def test_nothing_finite_is_said_in_words():
    assert alt_text(attention_heatmap(table([[np.nan]]))).endswith("without a finite value.")


def test_one_layer_and_one_sample_are_drawn():
    figure = attention_heatmap(table([[5.0]]))
    assert figure.data[0].customdata.tolist() == [[5.0]]
    assert "1 layer by 1 sample," in alt_text(figure)


def test_the_figure_grows_with_the_layers_up_to_a_limit():
    heights = [
        attention_heatmap(table(np.ones((2, n)), named(n))).layout.height for n in (1, 20, 200, 400)
    ]
    assert heights[0] < heights[1] < heights[2] == heights[3]
    texts = attention_heatmap(table(np.ones((2, 400)), named(400))).layout.yaxis.ticktext
    assert len(texts) <= 60


def test_a_metric_without_scores_per_sample_is_refused():
    with pytest.raises(AnalysisError, match="gives none"):
        attention_heatmap(score_table([1.0]))
    with pytest.raises(AnalysisError, match="at least 1, got 0"):
        attention_heatmap(SMALL, max_samples=0)


def test_the_selected_layer_and_sample_are_outlined():
    shapes = attention_heatmap(SMALL, layer="fc", sample=2).layout.shapes
    assert [(shape.x0, shape.y0) for shape in shapes] == [(0, "fc"), ("2", 0)]
    assert [(shape.x1, shape.y1) for shape in shapes] == [(1, "fc"), ("2", 1)]
    assert not attention_heatmap(SMALL, layer="other", sample=9).layout.shapes


@pytest.mark.parametrize("sample", [0, 41, 50, 99])
def test_a_selected_sample_is_drawn_however_many_there_are(sample):
    values = np.arange(1.0, 101.0)[:, None]
    figure = attention_heatmap(table(values), max_samples=10, sample=sample)
    drawn = [int(x) for x in figure.data[0].x]
    assert sample in drawn
    assert len(set(drawn)) == 10
    assert drawn == sorted(drawn, reverse=True)
    assert figure.layout.shapes[0].x0 == str(sample)
