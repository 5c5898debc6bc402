import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.plots.bits import bit_strip, scores_at
from analysis.plots.theme import alt_text
from analysis.records import Allocation, Candidate
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

ALLOCATION = Allocation(layers=NAMES, candidates=(W8, W4, W2, Candidate.parse("float")))
VALUES = [[4.0, 0.5], [3.0, 0.25], [9.0, 1.5], [1.0, 0.125]]
SCORES = score_table(VALUES, names=NAMES, candidates=(W2, W4))


def test_bars_dashes_and_shares_carry_bits_and_weights():
    weights, activations, shares = bit_strip(layer_table(), ALLOCATION).data
    assert list(weights.y) == [8, 4, 2, 32]
    assert list(activations.y) == [8, 8, 8, 32]
    np.testing.assert_allclose(shares.y, [10, 20, 30, 40])


def test_a_score_is_read_at_the_chosen_candidate_by_layer_name():
    turned = score_table(VALUES[::-1], names=NAMES[::-1], candidates=(W2, W4))
    values = scores_at(turned, NAMES, ALLOCATION.candidates)
    np.testing.assert_array_equal(values, [np.nan, 0.25, 9.0, np.nan])


def test_a_metric_without_candidates_gives_the_same_score_at_any_bits():
    scores = score_table([1.0, 2.0, 3.0, 4.0], names=NAMES)
    np.testing.assert_array_equal(scores_at(scores, NAMES, ALLOCATION.candidates), [1, 2, 3, 4])


def test_layers_without_a_score_are_grey_and_counted():
    figure = bit_strip(layer_table(), ALLOCATION, SCORES)
    colours = figure.data[0].marker.color
    assert [bool(code == 0) for code in colours] == [True, False, False, True]
    assert "2 layers without a score at these bits in grey" in title(figure)
    assert "no score at w8a8" in figure.data[0].customdata[0][1]
    assert "score 0.250 nats" in figure.data[0].customdata[1][1]


def test_the_title_states_average_bits_metric_unit_and_samples():
    text = title(bit_strip(layer_table(), ALLOCATION, SCORES))
    average = (8 * 1 + 4 * 2 + 2 * 3 + 32 * 4) / 10
    for fact in (f"average {average:.2f} bits", "Invented metric, nats", "n = 1,234", "seed 7"):
        assert fact in text


def test_negative_scores_are_coloured_linearly():
    scores = score_table([-1.0, 2.0, 3.0, 1000.0], names=NAMES)
    assert "linear colours" in title(bit_strip(layer_table(), ALLOCATION, scores))


def test_pinned_and_selected_layers_are_marked():
    figure = bit_strip(layer_table(), ALLOCATION, SCORES, "fc")
    assert [note.x for note in figure.layout.annotations] == [0, 3]
    assert figure.layout.shapes[0].x0 == 2.5


def test_one_layer_is_drawn():
    figure = bit_strip(layer_table(("fc",)), Allocation(layers=("fc",), candidates=(W4,)))
    assert list(figure.data[0].y) == [4]
    assert alt_text(figure).startswith("Weight bits of 1 layer in network order, from 4 to 4")


def test_two_hundred_layers_leave_out_numbers_and_thin_ticks():
    names = named(200)
    figure = bit_strip(layer_table(names), Allocation(layers=names, candidates=(W4,) * 200))
    assert figure.data[0].text is None
    assert len(figure.layout.xaxis.ticktext) <= 44
    assert len(figure.to_json()) < 200_000


def test_an_allocation_of_another_model_is_refused():
    with pytest.raises(AnalysisError, match="`stem` first"):
        bit_strip(layer_table(), Allocation(layers=("other",), candidates=(W4,)))
