from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import AnalysisError, UnknownNameError
from analysis.plots.profile import network_strip, sample_profile, sample_strip
from analysis.plots.theme import ACCENT, alt_text
from tests.analysis.plots.records_to_draw import NAMES, W2, W4, W8, score_table, title

# Sample s has s + 1 in the first layer, ten times that in the second, 5 in the third.
ROWS = np.array([[s + 1.0, 10.0 * (s + 1), 5.0, 11.0 - s] for s in range(11)])
SCORES = score_table(ROWS.mean(0), per_sample=ROWS, names=NAMES)


def test_bars_are_the_sample_before_the_middle_80_percent_and_the_median():
    band, bars, median = sample_profile(SCORES, 4).data
    assert list(bars.y) == [5.0, 50.0, 5.0, 7.0]
    np.testing.assert_allclose(band.base, [2.0, 20.0, 5.0, 2.0])
    np.testing.assert_allclose(np.add(band.base, band.y), [10.0, 100.0, 5.0, 10.0])
    np.testing.assert_allclose(median.y, [6.0, 60.0, 5.0, 6.0])


def test_the_title_says_the_sample_its_place_and_how_scores_were_made():
    text = title(sample_profile(SCORES, 10))
    for fact in ("sample 10", "nats per sample", "isolated", "calibration set", "n = 1,234"):
        assert fact in text
    assert "harder than 91 % of the set" in text


def test_the_axis_is_logarithmic_only_where_all_scores_are_positive():
    assert sample_profile(SCORES, 4).layout.yaxis.type == "log"
    below = replace(SCORES, per_sample=ROWS - 6.0)
    assert sample_profile(below, 4).layout.yaxis.type == "linear"


def test_the_selected_layer_of_a_profile_is_pointed_out():
    assert sample_profile(SCORES, 4, "fc").layout.shapes[0].x0 == 2.5


def test_dots_are_the_samples_of_a_layer_with_the_largest_first():
    dots = sample_strip(SCORES, "stem").data[0]
    assert [row[0] for row in dots.customdata] == list(range(10, -1, -1))
    assert list(dots.x) == list(range(11))
    assert list(dots.y) == list(range(11, 0, -1))


def test_over_all_layers_each_counts_relative_to_its_mean():
    rows = np.array([[1.0, 300.0], [3.0, 100.0]])
    table = score_table([2.0, 200.0], per_sample=rows, names=("a", "b"))
    figure = sample_strip(table)
    assert list(figure.data[0].y) == [1.0, 1.0]
    assert "relative to each layer's mean" in title(figure)


def test_outliers_and_the_selected_sample_are_marked_where_they_stand():
    usual, outliers, selected = sample_strip(SCORES, "stem", 3, [10, 0]).data
    assert len(usual.x) == 9
    assert list(zip(outliers.x, outliers.y, strict=True)) == [(0, 11.0), (10, 1.0)]
    assert [row[0] for row in outliers.customdata] == [10, 0]
    assert (list(selected.x), list(selected.y)) == ([7], [4.0])
    assert selected.marker.line.color == ACCENT
    assert "2 outliers" in title(sample_strip(SCORES, "stem", None, [10, 0]))


def test_a_click_on_any_dot_gives_a_list_with_the_sample():
    for trace in sample_strip(SCORES, None, 3, [5]).data:
        assert all(isinstance(row, list | tuple) for row in trace.customdata)


def test_the_alternative_text_of_the_strip_names_the_hardest_sample():
    assert alt_text(sample_strip(SCORES, "fc")).endswith("largest for sample 0.")


def test_without_such_samples_or_layers_nothing_is_drawn():
    with pytest.raises(AnalysisError, match="gives none per sample"):
        sample_profile(score_table([1.0]), 0)
    with pytest.raises(AnalysisError, match="from 0 to 10, got 11"):
        sample_profile(SCORES, 11)
    with pytest.raises(AnalysisError, match="got -1"):
        sample_strip(SCORES, None, -1)
    with pytest.raises(AnalysisError, match="no score of layer `other`"):
        sample_strip(SCORES, "other")


def test_the_network_strip_colours_cells_by_score_and_frames_the_selected_one():
    table = score_table(
        [[4.0, 0.5], [3.0, 0.25], [9.0, 1.5], [1.0, np.nan]], names=NAMES, candidates=(W2, W4)
    )
    bars = network_strip(table, W2, "fc").data[0]
    assert list(bars.marker.color).index(255) == 2
    assert bars.marker.line.color[3] == ACCENT
    assert [row[0] for row in bars.customdata] == list(NAMES)
    assert network_strip(table, W4).data[0].marker.color[3] == 0
    with pytest.raises(UnknownNameError, match="w8a8"):
        network_strip(table, W8)


def test_the_network_strip_is_thin_and_states_its_facts():
    figure = network_strip(SCORES, None)
    assert figure.layout.height < 300
    assert "nats · isolated · calibration set · n = 1,234 · seed 7" in title(figure)
    assert "largest 60.0 nats in layer1.0.conv1" in alt_text(figure)
