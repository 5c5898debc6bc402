"""What a metric predicted for whole allocations against what they measured."""

import numpy as np
import plotly.graph_objects as go

from analysis.curves.calibration import Calibration, calibration_points
from analysis.curves.verdict import series_text
from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.labels import count, number, plain
from analysis.records import Curve
from analysis.records.curve import RANDOM

HEIGHT = 380
CLOUD = "rgba(128, 140, 160, 0.6)"


def calibration_chart(curve: Curve, calibration: Calibration) -> go.Figure:
    """Draw the measured divergence of every allocation over what one metric predicts for it.

    The line is the median ratio of measured to predicted, the band holds half of the allocations.

    Args:
        curve: What was measured.
        calibration: Of one of its metrics.

    Raises:
        AnalysisError: If the metric predicts none of the allocations.
    """
    metric = curve.metrics.index(calibration.metric)
    points = calibration_points(curve, metric)
    if not points:
        raise AnalysisError(
            f"`{calibration.metric}` must predict a measured allocation to be drawn, it predicts "
            "none. Score the candidates that the allocations use."
        )
    x = np.array([float(p.predicted[metric]) for p in points])
    y = np.array([p.measured.kl for p in points])
    log = bool((x > 0).all() and (y > 0).all())
    figure = go.Figure()
    for random, colour, name in (
        (True, CLOUD, "random allocations"),
        (False, theme.ACCENT, "allocations of metrics and uniform bits"),
    ):
        own = [i for i, p in enumerate(points) if (_kind(curve, p.series) == RANDOM) == random]
        if own:
            figure.add_trace(
                go.Scatter(
                    x=x[own],
                    y=y[own],
                    mode="markers",
                    name=name,
                    marker={"size": 9, "color": colour},
                    customdata=[
                        [
                            plain(series_text(curve, points[i].series)),
                            number(x[i]),
                            number(y[i]),
                            f"{points[i].costs.size_mib:.4g}",
                        ]
                        for i in own
                    ],
                    hovertemplate="<b>%{customdata[0]}</b><br>predicted %{customdata[1]} "
                    f"{plain(calibration.unit)}<br>measured %{{customdata[2]}} nats<br>"
                    "%{customdata[3]} MiB<extra></extra>",
                )
            )
    _line(figure, calibration, x)
    figure.update_layout(
        xaxis=_axis(f"predicted by {calibration.metric} ({calibration.unit})", log),
        yaxis=_axis("measured KL from float (nats)", log),
    )
    facts = [
        count(len(points), "measured allocation"),
        f"n = {curve.float_.n:,} samples each",
        _said(calibration),
        "logarithmic axes" if log else "",
        f"line: median ratio {number(calibration.factor)}, band: half of the allocations, a factor "
        f"{number(calibration.spread)}"
        if calibration.factor is not None and calibration.spread is not None
        else "",
    ]
    theme.dress(
        figure,
        f"{plain(calibration.metric)}: predicted against measured",
        facts,
        height=HEIGHT + 60,
        alt=f"Measured divergence against the prediction of {calibration.metric} for "
        f"{count(len(points), 'allocation')}: {_said(calibration)}.",
    )
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": -0.18, "yanchor": "top", "font": {"size": 12}},
    )
    return figure


def _kind(curve: Curve, series: int) -> str:
    return curve.series[series].kind


def _said(calibration: Calibration) -> str:
    if calibration.rho is None:
        return calibration.reason
    rho = calibration.rho
    return f"Spearman ρ = {rho.value:.2f} ({rho.low:.2f} to {rho.high:.2f})"


def _line(figure: go.Figure, calibration: Calibration, x: np.ndarray) -> None:
    if calibration.factor is None or calibration.spread is None:
        return
    ends = np.array([x.min(), x.max()])
    middle, spread = calibration.factor * ends, calibration.spread
    figure.add_trace(
        go.Scatter(
            x=[*ends, *ends[::-1]],
            y=[*(middle / spread), *(middle * spread)[::-1]],
            fill="toself",
            fillcolor="rgba(128, 140, 160, 0.14)",
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
        )
    )
    figure.add_trace(
        go.Scatter(
            x=ends,
            y=middle,
            mode="lines",
            line={"color": theme.TEXT, "width": 1.5, "dash": "dash"},
            hoverinfo="skip",
            showlegend=False,
        )
    )


def _axis(title: str, log: bool) -> dict[str, object]:
    return {
        "title": {"text": plain(title), "standoff": 10, "font": {"size": 13}},
        "type": "log" if log else "linear",
        "exponentformat": "power",
        "dtick": 1 if log else None,
    }
