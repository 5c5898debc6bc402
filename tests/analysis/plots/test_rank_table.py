from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import AnalysisError
from analysis.plots.rank_table import rank_table, ranks
from analysis.plots.theme import alt_text
from tests.analysis.plots.records_to_draw import NAMES, W2, W4, named, score_table, title

FIRST = score_table(
    [[4.0, 0.5], [3.0, 0.25], [9.0, 1.5], [1.0, 0.125]], names=NAMES, candidates=(W2, W4)
)
ALONE = replace(score_table([1.0, 1.0, 3.0, 2.0], names=NAMES), title="Layers alone")


def cells(figure):
    return [list(row) for row in figure.data[0].text]


def test_the_largest_score_has_rank_1_and_equal_ones_share_the_mean():
    np.testing.assert_array_equal(ranks(np.array([1.0, 3.0, 2.0])), [3, 1, 2])
    np.testing.assert_array_equal(ranks(np.array([5.0, 1.0, 5.0, 0.0])), [1.5, 3, 1.5, 4])
    np.testing.assert_array_equal(ranks(np.array([2.0, 2.0, 2.0])), [2, 2, 2])


def test_what_is_not_finite_has_no_rank_and_takes_none_from_others():
    np.testing.assert_array_equal(
        ranks(np.array([np.nan, -1.0, np.inf, 4.0])), [np.nan, 2, np.nan, 1]
    )
    assert ranks(np.array([])).size == 0


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12))
def test_ranks_sum_to_that_of_a_permutation_and_reverse_with_the_sign(values):
    scores = np.array(values, dtype=np.float64)
    count = len(scores)
    assert ranks(scores).sum() == pytest.approx(count * (count + 1) / 2)
    np.testing.assert_allclose(ranks(-scores), count + 1 - ranks(scores))


def test_rows_are_metrics_at_the_candidate_and_the_worst_layer_is_brightest():
    figure = rank_table([FIRST, ALONE], W4)
    assert cells(figure) == [["2", "3", "1", "4"], ["3.5", "3.5", "1", "2"]]
    assert figure.data[0].z[0].tolist() == [170, 86, 255, 1]
    assert list(figure.layout.yaxis.ticktext) == ["Invented metric", "Layers alone"]


def test_hover_gives_rank_and_score_with_unit():
    assert rank_table([FIRST], W2).data[0].hovertext[0][2] == (
        "Invented metric<br><b>layer1.0.conv2</b><br>rank 1 of 4<br>score 9.00 nats"
    )


def test_a_skipped_layer_is_grey_and_keeps_its_place_in_the_network():
    short = score_table([1.0, 2.0], names=(NAMES[0], NAMES[3]))
    figure = rank_table([short, ALONE])
    assert cells(figure) == [["2", "", "", "1"], ["3.5", "3.5", "1", "2"]]
    assert figure.data[0].z[0].tolist()[1:3] == [0, 0]
    assert "skipped" in figure.data[0].hovertext[0][1]
    assert "grey: skipped" in title(figure)
    assert "grey" not in title(rank_table([ALONE]))


def test_equal_scores_of_all_layers_are_no_ranking():
    figure = rank_table([ALONE, score_table(np.ones(4), names=NAMES)])
    assert cells(figure)[1] == ["", "", "", ""]
    assert [note.text for note in figure.layout.annotations] == ["no ranking: all scores are equal"]
    assert figure.layout.annotations[0].y == 1


def test_a_metric_not_scored_at_the_candidate_says_so():
    other = score_table(np.arange(8.0).reshape(4, 2), names=NAMES, candidates=(W2, W4))
    figure = rank_table([replace(other, candidates=(W2, W2)), FIRST], W4)
    assert figure.layout.annotations[0].text == "not scored at w4a8"
    assert cells(figure)[1] == ["2", "3", "1", "4"]


def test_protocols_are_never_in_one_chart():
    with pytest.raises(AnalysisError, match="`accumulated` and `isolated`"):
        rank_table([ALONE, replace(ALONE, protocol="accumulated")])
    with pytest.raises(AnalysisError, match="no score table"):
        rank_table([])
    with pytest.raises(AnalysisError, match="one must be chosen"):
        rank_table([FIRST])


def test_protocol_and_set_are_stated_and_per_row_where_they_differ():
    assert "isolated · calibration set · n = 1,234" in title(rank_table([ALONE]))
    figure = rank_table([ALONE, replace(ALONE, data="evaluation", n=9)])
    assert "evaluation, n = 9" in figure.layout.yaxis.ticktext[1]


def test_the_selected_layer_is_framed():
    assert rank_table([ALONE], None, "fc").layout.shapes[0].x0 == 2.5


def test_the_alternative_text_names_the_layer_that_is_worst_most_often():
    assert alt_text(rank_table([FIRST, ALONE], W2)).endswith(
        "most sensitive for 2 of 2 metrics with a ranking: layer1.0.conv2."
    )


def test_twenty_metrics_of_two_hundred_layers_stay_below_1_mb():
    table = score_table(np.random.default_rng(0).normal(size=200), names=named(200))
    figure = rank_table([table] * 20)
    assert figure.data[0].text is None
    assert len(figure.to_json()) < 1_000_000
