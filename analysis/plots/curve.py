"""Accuracy curves: what was measured over a resource, and below it what was predicted."""

from collections.abc import Sequence
from math import isfinite

import numpy as np
import plotly.graph_objects as go

from analysis.curves.words import point_text, series_text
from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.curve_places import (
    axis_title,
    axis_value,
    horizontal,
    merit_of,
    non_dominated_points,
    places,
    shown,
)
from analysis.plots.labels import count, number, plain
from analysis.records import Curve, Measured
from analysis.records.curve import METRIC, RANDOM, SIZE_ONLY, UNIFORM

COLOURS = ("#3d7dea", "#d9822b", "#2a9d8f", "#b05fc9", "#c8577a", "#8a8d2f")
SYMBOLS = ("circle", "diamond", "triangle-up", "star", "pentagon", "hexagram")
BASELINES = {SIZE_ONLY: "square", UNIFORM: "square-open", RANDOM: "circle"}
GREY = "#8b93a3"
CLOUD = "rgba(128, 140, 160, 0.45)"
HEIGHT, PREDICTED = 560, 0.26
_GAP = 0.07
# Plotly draws powers a quarter larger than other numbers.
_POWERS: dict[str, object] = {"exponentformat": "power", "tickfont": {"size": 10.4}}


def accuracy_curve(
    curve: Curve, *, selected: int | None = None, lowest: float | None = None
) -> go.Figure:
    """Draw measured accuracy over the resource, predictions in a panel of their own below.

    Measured points have their 95 % Wilson interval; without labels the divergence from float is
    drawn. Points that another one beats, at no higher cost, are grey. Random allocations are a
    light cloud. Predictions are drawn as shares of each metric's largest one, because their units
    differ. The custom data of every point begin with its place among the curve's points.

    Args:
        curve: What was measured.
        selected: Place of the point to ring.
        lowest: Accuracy in % at which the axis begins; None shows all.

    Raises:
        AnalysisError: If nothing is measured.
    """
    if not curve.points:
        raise AnalysisError("A curve must have a measured point to be drawn, it has none.")
    figure = go.Figure()
    labelled = curve.float_.labelled
    keep = non_dominated_points(curve)
    x = places(curve)
    for at, series in sorted(enumerate(curve.series), key=lambda item: item[1].kind != RANDOM):
        own = [i for i, p in enumerate(curve.points) if p.series == at]
        if own:
            draw = _cloud if series.kind == RANDOM else _markers
            figure.add_trace(draw(curve, at, own, x, keep))
    for metric in range(len(curve.metrics)):
        for at, series in enumerate(curve.series):
            if series.kind == METRIC and series.metric == curve.metrics[metric]:
                figure.add_trace(_predicted(curve, at, metric))
    if selected is not None and 0 <= selected < len(curve.points):
        figure.add_trace(_ring(curve, selected, x))
    _float_line(figure, curve.float_)
    what = "top-1 accuracy (%)" if labelled else "KL from float (nats)"
    span = 1 - PREDICTED - _GAP
    figure.update_layout(
        xaxis={
            "title": {"text": axis_title(curve), "standoff": 8, "font": {"size": 13}},
            "anchor": "y2",
            "range": horizontal(curve),
        },
        yaxis={
            "title": {"text": f"measured {what}", "standoff": 10, "font": {"size": 13}},
            "domain": [1 - span, 1],
            "type": "linear" if labelled else "log",
            **_vertical(curve, lowest),
        },
        yaxis2={
            "title": {"text": "predicted, share<br>of its largest", "font": {"size": 13}},
            "domain": [0, PREDICTED],
            "type": "log" if _positive(curve) else "linear",
            "nticks": 5,
            **_POWERS,
        },
    )
    below = [
        i
        for i, p in enumerate(curve.points)
        if lowest is not None and 100 * p.measured.top1 < lowest
    ]
    facts = [
        "measured",
        f"n = {curve.float_.n:,}",
        "95 % Wilson intervals" if labelled else "no labels, so no intervals",
        f"{curve.random} random allocations a limit" if curve.of_kind(RANDOM) else "",
        "grey: another point costs no more and measures no worse",
        "series drawn slightly apart" if _sided(curve) > 1 else "",
        f"{count(len(below), 'point')} below the axis" if below else "",
        *(f"{plain(b.resource)} ≤ {b.limit:g}" for b in curve.fixed),
        "" if curve.complete else "not complete yet",
    ]
    theme.dress(
        figure,
        f"{'Accuracy' if labelled else 'Divergence'} against {plain(axis_title(curve))}",
        facts,
        height=HEIGHT,
        alt=_sentence(curve),
    )
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": -0.13, "yanchor": "top", "font": {"size": 12}},
        hovermode="closest",
        clickmode="event+select",
    )
    return figure


def _sided(curve: Curve) -> int:
    return sum(series.kind in (METRIC, SIZE_ONLY) for series in curve.series)


def _vertical(curve: Curve, lowest: float | None) -> dict[str, object]:
    if not curve.float_.labelled:
        return _POWERS
    ends = [e for p in curve.points for e in shown(p.measured) if isfinite(e)]
    ends.append(100 * curve.float_.top1)
    low = min(ends) if lowest is None else lowest
    span = max(max(ends) - low, 1.0)
    return {"range": [low - 0.04 * span, max(ends) + 0.06 * span]}


def _positive(curve: Curve) -> bool:
    values = [v for p in curve.of_kind(METRIC) for v in p.predicted if isfinite(v)]
    return bool(values) and min(values) > 0


def _look(curve: Curve, series: int) -> tuple[str, str]:
    """Return the colour of the metric, and the symbol of the solver and method."""
    own = curve.series[series]
    if own.kind != METRIC:
        return theme.TEXT, BASELINES[own.kind]
    metrics = list(dict.fromkeys(s.metric for s in curve.series if s.kind == METRIC))
    ways = list(dict.fromkeys((s.solver, s.method) for s in curve.series if s.kind == METRIC))
    at = ways.index((own.solver, own.method))
    return COLOURS[metrics.index(own.metric) % len(COLOURS)], SYMBOLS[at % len(SYMBOLS)]


def _markers(
    curve: Curve, series: int, own: Sequence[int], x: Sequence[float], keep: frozenset[int]
) -> go.Scatter:
    colour, symbol = _look(curve, series)
    colours = [colour if i in keep else GREY for i in own]
    drawn = [shown(curve.points[i].measured) for i in own]
    values = np.array([value for value, _, _ in drawn])
    return go.Scatter(
        x=[x[i] for i in own],
        y=values,
        mode="markers",
        name=plain(series_text(curve, series)),
        marker={
            "symbol": symbol,
            "size": 11,
            "color": colours,
            "line": {"width": 1.6, "color": colour},
        },
        unselected={"marker": {"opacity": 0.75}},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": np.nan_to_num(np.array([high for _, _, high in drawn]) - values),
            "arrayminus": np.nan_to_num(values - np.array([low for _, low, _ in drawn])),
            "color": colour,
            "thickness": 1.2,
            "width": 3,
        }
        if curve.float_.labelled
        else None,
        customdata=[[i, _details(curve, i)] for i in own],
        hovertemplate="%{customdata[1]}<extra></extra>",
    )


def _cloud(
    curve: Curve, series: int, own: Sequence[int], x: Sequence[float], keep: frozenset[int]
) -> go.Scatter:
    del keep
    return go.Scatter(
        x=[x[i] for i in own],
        y=[shown(curve.points[i].measured)[0] for i in own],
        mode="markers",
        name=plain(series_text(curve, series)),
        marker={"size": 7, "color": CLOUD, "line": {"width": 0}},
        unselected={"marker": {"opacity": 0.75}},
        customdata=[[i, _details(curve, i)] for i in own],
        hovertemplate="%{customdata[1]}<extra></extra>",
    )


def _predicted(curve: Curve, series: int, metric: int) -> go.Scatter:
    own = sorted(
        (i for i, p in enumerate(curve.points) if p.series == series),
        key=lambda i: curve.points[i].used,
    )
    values = np.array([curve.points[i].predicted[metric] for i in own])
    largest = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    colour, _ = _look(curve, series)
    unit = plain(curve.units[metric])
    name = plain(series_text(curve, series))
    return go.Scatter(
        x=[axis_value(curve, curve.points[i]) for i in own],
        y=values / largest,
        yaxis="y2",
        mode="lines",
        line={"color": colour, "width": 2},
        showlegend=False,
        customdata=[
            [i, f"<b>{name}</b><br>predicted {number(float(v))} {unit}"]
            for i, v in zip(own, values, strict=True)
        ],
        hovertemplate="%{customdata[1]}<extra></extra>",
    )


def _ring(curve: Curve, selected: int, x: Sequence[float]) -> go.Scatter:
    return go.Scatter(
        x=[x[selected]],
        y=[shown(curve.points[selected].measured)[0]],
        mode="markers",
        marker={
            "size": 20,
            "color": theme.TRANSPARENT,
            "line": {"width": 2.5, "color": theme.ACCENT},
        },
        hoverinfo="skip",
        showlegend=False,
    )


def _float_line(figure: go.Figure, float_: Measured) -> None:
    if not float_.labelled:
        return
    value = 100 * float_.top1
    figure.add_hrect(
        y0=100 * float_.low,
        y1=100 * float_.high,
        fillcolor="rgba(128, 140, 160, 0.13)",
        line_width=0,
        layer="below",
    )
    line = {"color": theme.TEXT, "width": 1.5, "dash": "dash"}
    figure.add_hline(y=value, line=line)
    figure.add_trace(
        go.Scatter(x=[None], y=[None], mode="lines", name=f"float {value:.2f} %", line=line)
    )


def _details(curve: Curve, place: int) -> str:
    point = curve.points[place]
    measured, costs = point.measured, point.costs
    if measured.labelled:
        value, low, high = shown(measured)
        said = f"measured {value:.2f} % ({low:.1f}-{high:.1f}, n = {measured.n:,})<br>"
    else:
        said = f"n = {measured.n:,}, no labels<br>"
    return (
        f"<b>{plain(point_text(curve, point))}</b><br>{said}"
        f"KL from float {number(measured.kl)} nats<br>{costs.size_mib:.4g} MiB "
        f"({costs.size_ratio:.1%} of w8a8)<br>{number(costs.bops / 1e6)} M BOPs<br>"
        f"{costs.avg_weight_bits:.2f} bits per weight"
    )


def _sentence(curve: Curve) -> str:
    drawn = [p for p in curve.points if curve.series[p.series].kind != RANDOM] or curve.points
    best = max(drawn, key=lambda p: merit_of(curve, p))
    value, _, _ = shown(best.measured)
    unit = "% top-1" if curve.float_.labelled else "nats from float"
    return (
        f"Measured against {axis_title(curve)}: {count(len(drawn), 'allocation')} of "
        f"{count(len(curve.series), 'series')}; best {point_text(curve, best)} with "
        f"{value:.3g} {unit} at {number(axis_value(curve, best))}."
    ).replace("seriess", "series")
