"""How far predictions can be believed: predicted against measured, where both are there."""

from collections.abc import Iterable

import streamlit as st

from analysis.plots.prediction_error import prediction_against_measured
from analysis.prediction import predict
from analysis.prediction_error import ENOUGH, Measured, PredictionError
from analysis.records import Allocation, ScoreTable
from pages.ui import charts


def section(
    scores: ScoreTable, points: Measured, error: PredictionError | None, draft: Allocation
) -> None:
    """Draw a folded section with the sentence and the chart of the prediction's error."""
    label = "Predicted against measured"
    with st.expander(
        label, icon=":material/rule:", key="prediction-error", on_change="rerun"
    ) as at:
        if not at.open:
            return
        for sentence in sentences(scores, points, error):
            st.markdown(sentence)
        if len(points.kl):
            prediction = predict(scores, draft)
            here = None if prediction.missing else prediction.value
            figure = prediction_against_measured(scores, points, error, here)
            charts.draw(figure, key="prediction-chart")


def sentences(scores: ScoreTable, points: Measured, error: PredictionError | None) -> Iterable[str]:
    """Say what the predictions of a metric are worth on this study."""
    n = len(points.kl)
    if error is None:
        yield (
            f"{n or 'No'} configuration{'' if n == 1 else 's'} of this study can be compared with "
            f"predictions from {scores.title}; an error needs {ENOUGH} that differ and lose "
            "something. Measure the uniform baselines on the comparison page to get some."
        )
    else:
        yield (
            f"Over {error.n} measured allocations, predictions from {scores.title} rank the "
            f"measured divergence with Spearman ρ = {error.rho:.2f}. Read through the fitted line, "
            f"each was typically off by a factor of {error.factor:.2f} (median, each left out of "
            "the fit in turn)."
        )
    if points.left_out:
        yield (
            f":gray[{points.left_out} measured configuration"
            f"{'' if points.left_out == 1 else 's'} left out: not all candidates scored, or "
            "quantized in another way than the scores assume.]"
        )
