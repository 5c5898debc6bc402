"""What a metric predicted for whole allocations against what they measured."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.curves.trust import correlation_text
from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.labels import count, number, plain
from analysis.prediction_error import Calibration, Point, PredictionError

HEIGHT = 430
_CLOUD = "rgba(128, 140, 160, 0.6)"
_FONT = {"size": 13}


def prediction_against_measured(
    calibration: Calibration, title: str, here: float | None = None
) -> go.Figure:
    """Draw measured divergence over prediction, a point for each allocation.

    The line is the fitted power law, the band the factor by which points were off it, each left out
    of the fit in turn.

    Args:
        calibration: Predictions and measurements of one metric.
        title: What to call the metric.
        here: Prediction of the allocation at hand, marked where the axis has it.

    Raises:
        AnalysisError: If no measured allocation is predicted.
    """
    points = calibration.points
    if not points:
        raise AnalysisError(
            f"`{calibration.metric}` must predict a measured allocation to be drawn, it predicts "
            "none. Score the candidates that the allocations use."
        )
    log = all(point.predicted > 0 and point.kl > 0 for point in points)
    law = calibration.law if log else None
    figure = go.Figure()
    if law is not None:
        _fit(figure, law)
    for own, name, colour in (
        (calibration.drawn, "random allocations", _CLOUD),
        (tuple(p for p in points if p.group < 0), "of metrics and baselines"
         if calibration.drawn else "measured allocations", theme.ACCENT),
    ):  # fmt: skip
        if own:
            figure.add_trace(_markers(own, name, colour, calibration.unit))
    shown = here is not None and (here > 0 or not log)
    if shown:
        figure.add_vline(x=here, line={"color": theme.TEXT, "width": 2, "dash": "dot"})
    figure.update_layout(
        xaxis=_axis(
            f"predicted by {title} ({calibration.unit})", log, [p.predicted for p in points]
        ),
        yaxis=_axis("measured KL from float (nats)", log, [p.kl for p in points]),
    )
    said = _said(calibration)
    facts = [
        count(len(points), "measured allocation"),
        said,
        f"band: a factor of {law.factor:.2f} around the fit" if law is not None else "",
        "logarithmic axes" if log else "",
        "dotted: the allocation at hand" if shown else "",
    ]
    theme.dress(
        figure,
        f"{plain(title)}: predicted against measured",
        facts,
        height=HEIGHT,
        alt=f"Measured divergence against the prediction of {title} for "
        f"{count(len(points), 'allocation')}: {said}.",
    )
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top", "font": {"size": 12}},
    )
    return figure


def _said(calibration: Calibration) -> str:
    rho = calibration.rho
    if rho is None:
        return calibration.reason
    return f"Spearman {correlation_text('ρ', rho)}"


def _markers(points: Sequence[Point], name: str, colour: str, unit: str) -> go.Scatter:
    return go.Scatter(
        x=[point.predicted for point in points],
        y=[point.kl for point in points],
        mode="markers",
        name=name,
        marker={"size": 9, "color": colour, "line": {"width": 1, "color": theme.OUTLINE}},
        customdata=[
            f"<b>{plain(point.name)}</b><br>predicted {number(point.predicted)} {plain(unit)}<br>"
            f"measured KL {number(point.kl)} nats<br>{point.size_mib:.4g} MiB"
            for point in points
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _fit(figure: go.Figure, law: PredictionError) -> None:
    x = np.geomspace(law.low, law.high, 40)
    y = np.exp(law.intercept + law.slope * np.log(x))
    figure.add_trace(
        go.Scatter(
            x=np.concatenate([x, x[::-1]]),
            y=np.concatenate([y * law.factor, y[::-1] / law.factor]),
            fill="toself",
            fillcolor=theme.ACCENT_FADED,
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
        )
    )
    line = {"color": theme.TEXT, "width": 1.5, "dash": "dash"}
    figure.add_trace(
        go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", name="fitted power law")
    )


def _axis(title: str, log: bool, values: Sequence[float]) -> dict[str, object]:
    decades = log and max(values) > 30 * min(values)
    return {
        "title": {"text": plain(title), "standoff": 10, "font": _FONT},
        "type": "log" if log else "linear",
        "exponentformat": "power",
        "dtick": 1 if decades else None,
        "zeroline": False,
    }
