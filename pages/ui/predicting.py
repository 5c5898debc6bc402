"""How far predictions can be believed: predicted against measured, where both are there."""

import streamlit as st

from analysis.curves.trust import trust
from analysis.plots.prediction_error import prediction_against_measured
from analysis.prediction import predict
from analysis.prediction_error import Calibration
from analysis.records import Allocation, ScoreTable
from analysis.sensitivity import METRICS
from pages.ui import charts


def draw(calibration: Calibration, key: str, here: float | None = None) -> None:
    """Draw what the predictions of a metric are worth: sentences, and the chart if there is one.

    Args:
        calibration: Predictions against measurements.
        key: Of the chart.
        here: Prediction of the allocation at hand, marked on the chart.
    """
    title = METRICS[calibration.metric].title
    for sentence in trust(calibration, title):
        st.markdown(f"- {sentence}")
    if calibration.points:
        charts.draw(prediction_against_measured(calibration, title, here), key=key)


def section(scores: ScoreTable, calibration: Calibration, draft: Allocation) -> None:
    """Draw a folded section on the predictions of a score table, the draft marked."""
    label = "Predicted against measured"
    with st.expander(
        label, icon=":material/rule:", key="prediction-error", on_change="rerun"
    ) as at:
        if not at.open:
            return
        prediction = predict(scores, draft)
        draw(calibration, "prediction-chart", None if prediction.missing else prediction.value)
        if calibration.rho is None:
            st.markdown(
                ":gray[The comparison page measures uniform baselines, which count here too.]"
            )
