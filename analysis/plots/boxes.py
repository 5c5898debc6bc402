"""Ranges as boxes: from the smallest to the largest value, the middle 98 % of them, the mean."""

from collections.abc import Sequence
from math import floor, log10

import numpy as np
import plotly.graph_objects as go
from plotly.basedatatypes import BaseTraceType

from analysis.plots import theme
from analysis.plots.diverging import Symmetric
from analysis.records import BoolArray, FloatArray
from analysis.records.distributions import STATISTICS

WARM = "#e08a1e"
FAR = 20
MEAN = theme.CIVIDIS[-1]
READING = "light: all values, dark: the middle 98 %, dot: mean"
HOVER = (
    "%{customdata[1]:.3g} to %{customdata[5]:.3g}<br>"
    "middle 98 %: %{customdata[2]:.3g} to %{customdata[4]:.3g}<br>mean %{customdata[3]:.3g}"
)

_OUTER, _INNER = "rgba(61, 125, 234, 0.32)", "rgba(61, 125, 234, 0.85)"
_WARM_OUTER, _WARM_INNER = "rgba(224, 138, 30, 0.4)", "rgba(224, 138, 30, 0.95)"
_WIDTH = 0.78
_DRAWN = ("low", "q01", "mean", "q99", "high")


def row(statistics: FloatArray, name: str) -> FloatArray:
    """Return one of the statistics (7 or more, n) in the order of :data:`STATISTICS`, (n,)."""
    return np.asarray(statistics[STATISTICS.index(name)])


def scale_of(statistics: FloatArray, narrow: float = 0.1) -> Symmetric:
    """Choose the axis for ranges, logarithmic on both sides of zero where they are far apart.

    Args:
        statistics: Rows begin as :data:`STATISTICS`, (7 or more, n).
        narrow: Quantile of the magnitudes; far apart is over 20 times this one.
    """
    reach = np.maximum(np.abs(row(statistics, "low")), np.abs(row(statistics, "high")))
    reach = reach[np.isfinite(reach) & (reach > 0)]
    if not reach.size:
        return Symmetric(0.0, 0.0)
    high, small = float(reach.max()), float(np.quantile(reach, narrow))
    if high <= FAR * small:
        return Symmetric(high, 0.0)
    return Symmetric(high, 10.0 ** floor(log10(max(small / 3, high / 1e4))))


def scale_fact(scale: Symmetric) -> str:
    """Say where an axis is logarithmic, empty where it is linear."""
    return f"axis logarithmic above ±{scale.linear:g}" if scale.linear else ""


def hover_data(keys: Sequence[str | int], statistics: FloatArray) -> list[list[str | int | float]]:
    """Return the custom data that :data:`HOVER` reads: a key, then five statistics.

    Lists, because a click must give a list back; four digits, because texts are larger than arrays.
    """
    columns = np.array([row(statistics, name) for name in _DRAWN]).T
    return [
        [key, *(float(f"{value:.4g}") for value in values)]
        for key, values in zip(keys, columns, strict=True)
    ]


def boxes(
    statistics: FloatArray,
    scale: Symmetric,
    *,
    customdata: Sequence[Sequence[object]] | None = None,
    hover: str = "",
    lines: dict[str, object] | None = None,
    warm: BoolArray | None = None,
) -> list[BaseTraceType]:
    """Return the three traces of n boxes at 0, 1, ..., n - 1.

    Args:
        statistics: Rows begin as :data:`STATISTICS`, (7 or more, n).
        scale: Where values lie on the axis.
        customdata: Of every box; its first entry is what a click selects.
        hover: Template of the box.
        lines: Outlines of the boxes.
        warm: Boxes to draw in the warm colour, (n,).
    """
    places = np.arange(statistics.shape[1])
    low, inner_low, mean, inner_high, high = (
        scale.position(row(statistics, name)) for name in _DRAWN
    )
    few = statistics.shape[1] <= 100
    return [
        _bars(low, high, _colours(warm, _OUTER, _WARM_OUTER), _WIDTH).update(
            x=places,
            customdata=customdata,
            hovertemplate=f"{hover}<extra></extra>",
            marker_line=lines or {"width": 0},
        ),
        _bars(inner_low, inner_high, _colours(warm, _INNER, _WARM_INNER), _WIDTH * 0.6).update(
            x=places, hoverinfo="skip"
        ),
        go.Scatter(
            x=places,
            y=mean.astype(np.float32),
            mode="markers",
            marker={
                "size": 6 if few else 3,
                "color": MEAN,
                "line": {"width": 1 if few else 0.3, "color": theme.CIVIDIS[0]},
            },
            hoverinfo="skip",
        ),
    ]


def value_axis(statistics: FloatArray, scale: Symmetric, title: str) -> dict[str, object]:
    """Return the vertical axis of boxes: true values at the places of the scale."""
    places, texts = scale.ticks()
    ends = [scale.position(row(statistics, name)) for name in ("low", "high")]
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    gap = 0.05 * (high - low) or 0.1
    return {
        "title": {"text": title, "standoff": 10, "font": {"size": 13}},
        "tickfont": {"size": 12},
        "tickvals": places,
        "ticktext": texts,
        "range": [low - gap, high + gap],
        "zeroline": True,
    }


def _colours(warm: BoolArray | None, cold: str, hot: str) -> str | list[str]:
    """Return one colour where no box is warm, otherwise one a box."""
    if warm is None or not warm.any():
        return cold
    return [hot if each else cold for each in warm]


def _bars(low: FloatArray, high: FloatArray, colour: str | list[str], width: float) -> go.Bar:
    return go.Bar(
        # Plotly writes bases out as text, unlike other arrays.
        base=[round(float(value), 6) for value in low],
        y=(high - low).astype(np.float32),
        width=width,
        marker={"color": colour, "line": {"width": 0}},
    )
