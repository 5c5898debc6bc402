"""Predictions of whole allocations against what they measured."""

import numpy as np
import plotly.graph_objects as go

from analysis.plots import theme
from analysis.plots.labels import count, number, plain
from analysis.prediction_error import Measured, PredictionError
from analysis.records import ScoreTable

HEIGHT = 300


def prediction_against_measured(
    scores: ScoreTable,
    points: Measured,
    error: PredictionError | None,
    here: float | None = None,
) -> go.Figure:
    """Draw measured divergence over predicted loss, a point for each allocation.

    Args:
        scores: What predicts.
        points: Predictions and measurements of the allocations.
        error: The fitted line, drawn with the factor around it; None without.
        here: Prediction of the allocation at hand, marked where it is positive.
    """
    figure = go.Figure()
    logarithmic = bool((points.predicted > 0).all() and (points.kl > 0).all())
    kind = "log" if logarithmic else "linear"
    hover = [
        f"<b>{plain(name)}</b><br>predicted {number(float(x))} {plain(scores.unit)}"
        f"<br>measured KL {number(float(y))} nats"
        for name, x, y in zip(points.names, points.predicted, points.kl, strict=True)
    ]
    if error is not None and logarithmic:
        x = np.geomspace(error.low, error.high, 40)
        y = np.exp(error.intercept + error.slope * np.log(x))
        figure.add_trace(_band(x, y, error.factor))
        figure.add_trace(_line(x, y))
    figure.add_trace(
        go.Scatter(
            x=points.predicted,
            y=points.kl,
            mode="markers",
            marker={
                "size": 10,
                "color": theme.ACCENT,
                "line": {"width": 1, "color": theme.OUTLINE},
            },
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
        )
    )
    shown = here is not None and (here > 0 or not logarithmic)
    if shown:
        figure.add_vline(x=here, line={"color": theme.OUTLINE, "width": 2, "dash": "dot"})
    font = {"size": 13}
    title = {"text": f"predicted loss increase ({plain(scores.unit)})", "font": font}
    axis = {"type": kind, "exponentformat": "power", "zeroline": False}
    figure.update_layout(
        xaxis=axis | {"title": title},
        yaxis=axis | {"title": {"text": "measured KL (nats)", "font": font}},
    )
    said = f"Spearman ρ = {error.rho:.2f}" if error is not None else "too few to say how far off"
    facts = [
        count(len(points.kl), "measured allocation"),
        said,
        f"band: a factor of {error.factor:.2f} around the fit" if error is not None else "",
        "logarithmic axes" if logarithmic else "",
        "dotted: the allocation at hand" if shown else "",
    ]
    alt = f"Measured divergence over the loss that {scores.title} predicts: {said}."
    return theme.dress(
        figure, f"{plain(scores.title)} against measurements", facts, height=HEIGHT, alt=alt
    )


def _line(x: np.ndarray, y: np.ndarray) -> go.Scatter:
    line = {"color": theme.OUTLINE, "width": 1.5, "dash": "dash"}
    return go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip")


def _band(x: np.ndarray, y: np.ndarray, factor: float) -> go.Scatter:
    return go.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([y * factor, y[::-1] / factor]),
        fill="toself",
        fillcolor=theme.ACCENT_FADED,
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
    )
