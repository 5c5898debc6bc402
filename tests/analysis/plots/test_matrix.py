from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import AnalysisError, UnknownNameError
from analysis.plots.diverging import Symmetric
from analysis.plots.matrix import interaction_matrix, similarity_matrix
from analysis.plots.theme import alt_text
from tests.analysis.plots.records_to_draw import NAMES, W2, W4, W8, named, score_table, title

ALIKE = np.array(
    [[1.0, 0.9, 0.2, 0.1], [0.9, 1.0, 0.3, 0.2], [0.2, 0.3, 1.0, 0.5], [0.1, 0.2, 0.5, 1.0]]
)
SCORES = score_table(
    [[4.0, 0.5], [3.0, 0.25], [9.0, 1.5], [1.0, 0.125]], names=NAMES, candidates=(W2, W4)
)
COMPARED = replace(SCORES, similarity=ALIKE, options={"variant": "centred"})


def pairs(*found, layers=4):
    """Interactions from (layer, candidate, layer, candidate, value), the other way round too."""
    values = np.zeros((layers, 2, layers, 2))
    for i, a, j, b, value in found:
        values[i, a, j, b] = values[j, b, i, a] = value
    return values


PAIRED = replace(
    SCORES, interactions=pairs((0, 0, 1, 0, -0.5), (1, 0, 2, 0, 2.0), (0, 0, 2, 1, 0.25))
)


def test_similarities_are_drawn_as_they_are_between_0_and_1_in_network_order():
    trace = similarity_matrix(COMPARED).data[0]
    np.testing.assert_allclose(trace.z, ALIKE, rtol=1e-6)
    assert (trace.zmin, trace.zmax) == (0.0, 1.0)
    assert list(trace.x) == list(trace.y) == list(NAMES)


def test_cells_are_square_and_the_first_layer_is_on_top():
    axis = similarity_matrix(COMPARED).layout.yaxis
    assert (axis.scaleanchor, axis.autorange) == ("x", "reversed")


def test_an_estimate_below_zero_lowers_the_end_of_the_colours():
    figure = similarity_matrix(replace(COMPARED, similarity=ALIKE - 0.25))
    assert figure.data[0].zmin == pytest.approx(-0.15)
    assert "negative values present" in title(figure)
    assert "negative" not in title(similarity_matrix(COMPARED))


def test_facts_state_how_the_table_was_made():
    for figure in (similarity_matrix(COMPARED), interaction_matrix(PAIRED, W2)):
        for fact in ("isolated", "calibration set", "n = 1,234", "seed 7"):
            assert fact in title(figure)
    assert "centred" in title(similarity_matrix(COMPARED))


def test_row_and_column_of_the_selected_layer_are_framed():
    shapes = similarity_matrix(COMPARED, "fc").layout.shapes
    assert [(shape.x0, shape.y0) for shape in shapes] == [("fc", 0), (0, "fc")]
    assert not similarity_matrix(COMPARED, "elsewhere").layout.shapes


def test_the_most_similar_pair_is_in_the_alternative_text():
    assert "most alike stem and layer1.0.conv1 with 0.900" in alt_text(similarity_matrix(COMPARED))


def test_interactions_keep_their_values_beside_the_sum_of_the_two_alone():
    trace = interaction_matrix(PAIRED, W2).data[0]
    assert trace.customdata[0, 1].tolist() == [-0.5, 7.0]
    assert trace.customdata[2, 1].tolist() == [2.0, 12.0]
    assert trace.z[0, 1] == pytest.approx(-0.25)
    assert trace.z[1, 2] == pytest.approx(1.0)


def test_the_diagonal_and_pairs_that_were_not_measured_are_blank():
    figure = interaction_matrix(
        replace(PAIRED, interactions=PAIRED.interactions + pairs((0, 0, 0, 0, 3.0))), W2
    )
    assert np.isfinite(figure.data[0].z).sum() == 4
    assert "4 pairs not measured, blank" in title(figure)
    assert "1 pair of 2 below zero" in title(figure)


def test_two_candidates_put_the_first_in_the_rows():
    figure = interaction_matrix(PAIRED, W2, W4)
    assert figure.data[0].customdata[0, 2].tolist() == [0.25, 5.5]
    assert np.isnan(figure.data[0].z[2, 0])
    assert "rows at w2a8, columns at w4a8" in title(figure)
    assert figure.layout.xaxis.title.text == "layer at w4a8"


def test_no_pair_measured_is_said_in_words():
    figure = interaction_matrix(replace(SCORES, interactions=pairs()), W2)
    assert alt_text(figure).endswith("no pair measured.")


def test_two_hundred_layers_stay_below_1_mb():
    values = np.random.default_rng(0).normal(size=(200, 1, 200, 1))
    table = score_table(np.ones((200, 1)), names=named(200), candidates=(W2,))
    figure = interaction_matrix(replace(table, interactions=values), W2)
    assert len(figure.to_json()) < 1_000_000
    assert len(figure.layout.yaxis.ticktext) <= 44
    figure = similarity_matrix(replace(table, similarity=values[:, 0, :, 0]))
    assert len(figure.to_json()) < 1_000_000


def test_a_table_without_pairs_is_refused():
    with pytest.raises(AnalysisError, match="compares none"):
        similarity_matrix(SCORES)
    with pytest.raises(AnalysisError, match="measured none"):
        interaction_matrix(SCORES, W2)
    with pytest.raises(UnknownNameError, match="w8a8"):
        interaction_matrix(PAIRED, W8)


def test_values_of_one_magnitude_are_mapped_linearly():
    coding = Symmetric.of(np.array([-1.0, 0.5, 2.0, np.nan]))
    assert (coding.high, coding.linear) == (2.0, 0.0)
    np.testing.assert_allclose(coding.position(np.array([-2.0, 0.0, 1.0])), [-1.0, 0.0, 0.5])


def test_values_far_apart_are_mapped_odd_and_monotone_with_ticks_on_both_sides():
    values = np.array([-1.0, 0.001, 0.002, -0.003, 100.0])
    coding = Symmetric.of(values)
    assert coding.linear > 0
    places = coding.position(np.sort(values))
    assert (np.diff(places) > 0).all()
    np.testing.assert_allclose(coding.position(-values), -coding.position(values))
    assert coding.position(np.array([100.0])) == pytest.approx(1.0)
    at, texts = coding.ticks()
    assert texts[len(texts) // 2] == "0"
    np.testing.assert_allclose(at, [-place for place in reversed(at)])


def test_nothing_but_zeros_has_one_tick():
    assert Symmetric.of(np.zeros(3)).ticks() == ([0.0], ["0"])
