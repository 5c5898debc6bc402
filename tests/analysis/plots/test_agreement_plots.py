from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.plots.agreement import BASELINE, agreement_chart, predicted_against_measured
from analysis.plots.theme import ACCENT, alt_text
from analysis.records import Agreement, Estimate, RankAgreement
from tests.analysis.plots.records_to_draw import NAMES, W2, W4, W8, score_table, title


def ranking_of(metric, tau, candidate=None):
    return RankAgreement(
        metric=metric,
        title=metric.capitalize(),
        candidate=candidate,
        layers=16,
        left_out=2,
        tau=None if tau is None else Estimate(value=tau, low=tau - 0.2, high=tau + 0.1),
        rho=None if tau is None else Estimate(value=tau, low=tau, high=tau),
        k=4,
        overlap=None if tau is None else 0.75,
        chance=0.25,
        reason="its scores are the same for all layers" if tau is None else "",
    )


TAUS = {"near": 0.4, "size_only": None, "random": 0.1, "good": 0.8}
FOUND = Agreement(
    reference="output_kl",
    title="Output divergence",
    options={"protocol": "isolated"},
    data="evaluation",
    n=597,
    layers=tuple(f"l{at}" for at in range(16)),
    candidates=(W2,),
    metrics=tuple(TAUS),
    rankings=tuple(
        ranking_of(metric, tau if c is None else (None if tau is None else tau / 2), c)
        for metric, tau in TAUS.items()
        for c in (W2, None)
    ),
    differences=(),
    same_samples=("near",),
    ceiling=Estimate(value=0.9, low=0.85, high=0.95),
    ceiling_at=W2,
    resamples=1000,
    seed=3,
    level=0.95,
)

MEASURED = score_table(
    [[4.0, 0.5], [3.0, 0.25], [9.0, 1.5], [1.0, 0.125]],
    stderr=[[0.4, 0.05], [0.3, 0.02], [0.9, 0.1], [0.1, 0.01]],
    names=NAMES,
    candidates=(W2, W4),
)
PREDICTED = score_table(
    [[40.0, 5.0], [30.0, 2.5], [90.0, 15.0], [10.0, 1.25]], names=NAMES, candidates=(W2, W4)
)


def test_metrics_stand_by_kendall_with_the_best_on_top_and_no_ranking_last():
    figure = agreement_chart(FOUND)
    texts = list(figure.layout.yaxis.ticktext)
    assert [text.split(">")[-2 if "<" in text else -1].split("<")[0] for text in texts] == [
        "Good",
        "Near",
        "Random",
        "Size_only",
    ]
    assert list(figure.layout.yaxis2.ticktext) == ["0.80", "0.40", "0.10", ""]
    assert [note.text for note in figure.layout.annotations] == [
        "no ranking: its scores are the same for all layers"
    ]


def test_whiskers_are_the_intervals():
    metrics = agreement_chart(FOUND).data[0]
    assert list(metrics.x) == [0.8, 0.4]
    np.testing.assert_allclose(metrics.error_x.array, 0.1)
    np.testing.assert_allclose(metrics.error_x.arrayminus, 0.2)
    assert metrics.marker.color == ACCENT


def test_baselines_are_grey_and_the_samples_of_the_reference_leave_a_dot_open():
    metrics, baselines, *_ = agreement_chart(FOUND).data
    assert list(metrics.marker.symbol) == ["circle", "circle-open"]
    assert (list(baselines.x), baselines.marker.color) == ([0.1], BASELINE)
    assert "open: computed from the reference's own samples" in title(agreement_chart(FOUND))


def test_chance_and_the_ceiling_are_drawn():
    shapes = agreement_chart(FOUND).layout.shapes
    assert (0, 0) in {(shape.x0, shape.x1) for shape in shapes}
    assert (0.85, 0.95) in {(shape.x0, shape.x1) for shape in shapes}
    assert "agree by 0.90 at w2a8" in title(agreement_chart(FOUND))


def test_a_missing_ceiling_says_why():
    figure = agreement_chart(replace(FOUND, ceiling=None, ceiling_reason="few samples"))
    assert len(figure.layout.shapes) == 1
    assert "no ceiling: few samples" in title(figure)
    figure = agreement_chart(replace(FOUND, ceiling_at=W4), W2)
    assert "ceiling known at w4a8 only" in title(figure)


def test_one_candidate_can_be_drawn():
    figure = agreement_chart(FOUND, W2)
    assert list(figure.data[0].x) == [0.4, 0.2]
    assert "at w2a8" in title(figure)


def test_facts_say_the_reference_its_set_and_the_intervals():
    text = title(agreement_chart(FOUND))
    for fact in ("Output divergence", "isolated", "evaluation set", "n = 597", "95 % intervals"):
        assert fact in text
    assert "1,000 draws" in text
    assert "seed 3" in text


def test_the_alternative_text_names_best_least_and_the_ceiling():
    text = alt_text(agreement_chart(FOUND))
    assert "best Good with 0.80 (0.60 to 0.90)" in text
    assert "least Random with 0.10" in text
    assert text.endswith("the reference with itself 0.90.")


def test_an_agreement_without_what_is_asked_for_is_refused():
    with pytest.raises(AnalysisError, match="at least one metric"):
        agreement_chart(replace(FOUND, metrics=(), rankings=()))
    with pytest.raises(AnalysisError, match="not at `w8a8`"):
        agreement_chart(FOUND, W8)


def test_points_are_predicted_against_measured_for_each_number_of_bits():
    two, four = predicted_against_measured(PREDICTED, MEASURED).data
    assert (two.name, four.name) == ("2 weight bits", "4 weight bits")
    assert list(two.x) == [40.0, 30.0, 90.0, 10.0]
    assert list(four.y) == [0.5, 0.25, 1.5, 0.125]
    np.testing.assert_allclose(two.error_y.array, [0.4, 0.3, 0.9, 0.1])
    assert [row[0] for row in two.customdata] == list(NAMES)
    assert two.marker.color != four.marker.color


def test_kendall_of_equal_and_of_opposite_rankings():
    assert "τ = 1.00 among layers at the same candidate" in title(
        predicted_against_measured(PREDICTED, MEASURED)
    )
    opposite = replace(PREDICTED, values=-PREDICTED.values)
    assert "τ = -1.00" in title(predicted_against_measured(opposite, MEASURED, W2))
    equal = score_table(np.ones(4), names=NAMES)
    assert "no ranking" in title(predicted_against_measured(equal, MEASURED))


def test_more_bits_for_less_harm_is_no_agreement():
    blind = replace(PREDICTED, values=np.array([[4.0, 1.0]] * 4))
    assert "no ranking" in title(predicted_against_measured(blind, MEASURED))


def test_axes_are_logarithmic_together_and_symmetric_where_a_score_is_negative():
    layout = predicted_against_measured(PREDICTED, MEASURED).layout
    assert (layout.xaxis.type, layout.yaxis.type) == ("log", "log")
    wide = np.array([[-1.0, 1e-4], [1e-4, 2e-4], [3e-4, 1e-4], [2e-4, 1e-4]])
    figure = predicted_against_measured(PREDICTED, replace(MEASURED, values=wide))
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "linear")
    assert "0" in figure.layout.yaxis.ticktext
    assert figure.data[0].y[0] == pytest.approx(-1.0)
    assert "vertical axis logarithmic on both sides of zero" in title(figure)


def test_the_diagonal_is_drawn_where_the_units_are_equal():
    assert len(predicted_against_measured(PREDICTED, MEASURED).layout.shapes) == 1
    assert "measured as predicted" in title(predicted_against_measured(PREDICTED, MEASURED))
    other = replace(PREDICTED, unit="noise")
    assert not predicted_against_measured(other, MEASURED).layout.shapes


def test_scores_of_layers_alone_count_at_every_candidate():
    alone = score_table([4.0, 3.0, 9.0, 1.0], names=NAMES)
    two, four = predicted_against_measured(alone, MEASURED).data
    assert list(two.x) == list(four.x) == [4.0, 3.0, 9.0, 1.0]
    assert len(predicted_against_measured(alone, alone).data[0].x) == 4


def test_layers_are_matched_by_name_and_the_selected_one_has_rings():
    part = score_table([[1.0, 2.0], [3.0, 4.0]], names=("fc", "stem"), candidates=(W2, W4))
    figure = predicted_against_measured(part, MEASURED, W4, "fc")
    dots, ring = figure.data
    assert (list(dots.x), list(dots.y)) == ([4.0, 2.0], [0.5, 0.125])
    assert (list(ring.x), list(ring.y)) == ([2.0], [0.125])
    assert "2 layers" in title(figure)


def test_tables_that_do_not_belong_together_are_refused():
    with pytest.raises(AnalysisError, match="one protocol"):
        predicted_against_measured(replace(PREDICTED, protocol="accumulated"), MEASURED)
    with pytest.raises(AnalysisError, match="a layer in common"):
        predicted_against_measured(score_table([1.0], names=("x",)), MEASURED)
    with pytest.raises(AnalysisError, match="a candidate in common"):
        predicted_against_measured(
            score_table(np.ones((4, 1)), names=NAMES, candidates=(W8,)), MEASURED
        )
