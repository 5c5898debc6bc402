from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import AnalysisError, UnknownNameError
from analysis.plots.ranking import ranking
from analysis.plots.theme import ACCENT, alt_text
from analysis.records import NOISE
from tests.analysis.plots.records_to_draw import (
    NAMES,
    W2,
    W4,
    W8,
    layer_table,
    named,
    score_table,
    title,
)

VALUES = [[4.0, 0.5], [3.0, 0.25], [9.0, 1.5], [1.0, 0.125]]
ERRORS = [[0.4, 0.05], [0.3, 0.02], [0.9, 0.1], [0.1, 0.01]]
SCORES = score_table(VALUES, stderr=ERRORS, names=NAMES, candidates=(W2, W4))


def test_bars_carry_the_scores_and_errors_of_the_candidate():
    bar = ranking(SCORES, W4).data[0]
    assert list(bar.y) == [0.5, 0.25, 1.5, 0.125]
    assert list(bar.error_y.array) == [0.05, 0.02, 0.1, 0.01]
    assert [row[0] for row in bar.customdata] == list(NAMES)


def test_by_score_the_worst_comes_first_with_its_own_error():
    bar = ranking(SCORES, W2, order="score").data[0]
    assert list(bar.y) == [9.0, 4.0, 3.0, 1.0]
    assert list(bar.error_y.array) == [0.9, 0.4, 0.3, 0.1]
    assert [row[0] for row in bar.customdata] == [NAMES[2], NAMES[0], NAMES[1], NAMES[3]]


def test_the_title_says_metric_unit_protocol_samples_and_seed():
    text = title(ranking(SCORES, W4))
    for fact in ("Invented metric at w4a8", "nats", "isolated", "n = 1,234", "seed 7"):
        assert fact in text


def test_the_axis_is_logarithmic_only_for_positive_scores_far_apart():
    axes = [
        ranking(score_table(values), None).layout.yaxis.type
        for values in ([1.0, 2.0], [1.0, 1000.0], [-1.0, 1000.0], [0.0, 1000.0])
    ]
    assert axes == ["linear", "log", "linear", "linear"]


def test_every_bar_has_height_on_a_logarithmic_axis():
    figure = ranking(score_table([1e-6, 1.0]), None)
    assert figure.layout.yaxis.range[0] < -6


def test_negative_scores_keep_their_sign_and_are_hatched_and_counted():
    figure = ranking(score_table([2.0, -1.0]), None)
    assert list(figure.data[0].y) == [2.0, -1.0]
    assert list(figure.data[0].marker.pattern.shape) == ["", "/"]
    assert "1 negative score hatched" in title(figure)


def test_a_layer_without_a_finite_score_is_last_and_named_in_the_title():
    figure = ranking(score_table([np.nan, 1.0, 2.0]), None, order="score")
    np.testing.assert_array_equal(figure.data[0].y, [2.0, 1.0, np.nan])
    assert "1 layer without a finite score" in title(figure)
    assert "without a finite score" not in title(ranking(SCORES, W4))


def test_no_finite_score_at_all_is_said_in_words():
    assert "none with a finite score" in alt_text(ranking(score_table([np.nan]), None))


def test_one_layer_is_drawn():
    figure = ranking(score_table([1.0]), None)
    assert list(figure.data[0].y) == [1.0]
    assert list(figure.layout.xaxis.ticktext) == ["layer0.conv"]


def test_pinned_layers_get_a_triangle_and_the_title_explains_it():
    figure = ranking(SCORES, W4, table=layer_table())
    assert [note.x for note in figure.layout.annotations] == [0, 3]
    assert "▲ pinned" in title(figure)
    assert "pinned" not in title(ranking(SCORES, W4))


def test_the_selected_layer_is_outlined_where_it_stands():
    figure = ranking(SCORES, W4, "fc", order="score")
    at = [row[0] for row in figure.data[0].customdata].index("fc")
    colours = list(figure.data[0].marker.line.color)
    assert [place for place, colour in enumerate(colours) if colour == ACCENT] == [at]
    assert figure.layout.shapes[0].x0 == at - 0.5


def test_two_hundred_layers_have_few_ticks_and_a_small_message():
    figure = ranking(score_table(np.linspace(1, 2, 200), names=named(200)), None)
    texts = figure.layout.xaxis.ticktext
    assert len(texts) <= 44
    assert len(set(texts)) == len(texts)
    assert len(figure.to_json()) < 100_000


def test_the_alternative_text_names_the_worst_and_the_best_layer():
    assert alt_text(ranking(SCORES, W2)).endswith(
        "worst layer1.0.conv2 with 9.00, best fc with 1.00 nats."
    )


def test_a_candidate_must_fit_the_metric():
    with pytest.raises(AnalysisError, match="one must be chosen"):
        ranking(SCORES, None)
    with pytest.raises(UnknownNameError, match="w8a8"):
        ranking(SCORES, W8)
    with pytest.raises(AnalysisError, match="Leave the candidate out"):
        ranking(score_table([1.0]), W4)


def test_noise_ratios_are_shown_as_decibels():
    scores = replace(score_table([0.01, 0.001, 0.0]), unit=NOISE)
    figure = ranking(scores, None)
    assert "SQNR 20.0 dB at the worst layer, 30.0 dB at the best" in title(figure)
    assert [row[2] for row in figure.data[0].customdata] == [
        " = SQNR 20.0 dB",
        " = SQNR 30.0 dB",
        "",
    ]
    other = ranking(score_table([0.01, 0.001]), None)
    assert "SQNR" not in title(other)
