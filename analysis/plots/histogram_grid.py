"""The grid that is laid over a histogram: its levels, its range, and what that costs."""

from math import ceil, isfinite

import numpy as np
import plotly.graph_objects as go

from analysis.plots import theme
from analysis.plots.decibels import sqnr
from analysis.plots.labels import number, plain
from analysis.plots.runs import key
from analysis.records import FloatArray, GridError

RUG = 256
RANGE = "#c9599f"
CLIPPED = "rgba(201, 89, 159, 0.16)"
# The share of the plot's height that the levels take below the bars.
_RUG_SHARE = 0.05


def draw_levels(figure: go.Figure, levels: FloatArray) -> int:
    """Draw levels as ticks below the bars and return how many."""
    shown = np.sort(levels)
    shown = shown[:: max(1, ceil(len(shown) / RUG))]
    figure.add_trace(
        go.Scatter(
            x=shown,
            y=np.zeros(len(shown), dtype=np.uint8),
            yaxis="y2",
            mode="markers",
            marker={
                "symbol": "line-ns",
                "size": 11,
                "line": {"width": 1.6 if len(shown) <= 64 else 0.8, "color": RANGE},
            },
            hovertemplate="level %{x:.4g}<extra></extra>",
        )
    )
    figure.update_layout(
        yaxis_domain=[_RUG_SHARE + 0.01, 1],
        yaxis2={"domain": [0, _RUG_SHARE], "range": [-1, 1], "visible": False, "fixedrange": True},
        xaxis_anchor="y2",
    )
    return len(shown)


def draw_ends(
    figure: go.Figure, at: list[float], texts: list[str], across: list[float], level: int
) -> None:
    """Draw two lines with labels above the plot, the labels apart where the lines are close."""
    apart = (at[1] - at[0]) / (across[1] - across[0]) > 0.45
    colour = RANGE if level else theme.TEXT
    for place, text, inward in zip(at, texts, ("left", "right"), strict=True):
        if not isfinite(place):
            continue
        outward = "right" if inward == "left" else "left"
        figure.add_shape(
            type="line",
            **{"x0": place, "x1": place, "xref": "x", "y0": 0, "y1": 1, "yref": "paper"},
            line={"color": colour, "width": 1.8, "dash": "solid" if level else "dot"},
        )
        figure.add_annotation(
            text=text,
            **{"x": place, "xref": "x", "y": 1, "yref": "paper", "yanchor": "bottom"},
            xanchor=inward if apart else outward,
            yshift=18 * level,
            showarrow=False,
            font={"size": 12, "color": RANGE} if level else {"size": 12},
        )


def draw_range(figure: go.Figure, grid: GridError, across: list[float]) -> None:
    """Draw the ends of the range and shade what is clipped; a range of zero alone has neither."""
    ends = [float(grid.low.min()), float(grid.high.max())]
    if ends[0] == ends[1]:
        return
    draw_ends(figure, ends, [f"low {number(ends[0])}", f"high {number(ends[1])}"], across, 1)
    half = grid.step / 2
    for inside, outside in (
        (float((grid.low - half).min()), across[0]),
        (float((grid.high + half).max()), across[1]),
    ):
        if (inside - outside) * (1 if outside == across[0] else -1) > 0:
            figure.add_shape(
                type="rect",
                **{"x0": inside, "x1": outside, "xref": "x", "y0": 0, "y1": 1, "yref": "paper"},
                fillcolor=CLIPPED,
                line_width=0,
                layer="below",
            )


def grid_facts(grid: GridError | None) -> list[str]:
    """Say which range it is, what it clips and what it costs."""
    if grid is None:
        return []
    quality = sqnr(grid)
    lossy = quality.endswith("dB")
    several = len(grid.low) > 1
    return [
        key(RANGE, plain(grid.title)),
        f"{number(100 * grid.clipped)} % clipped",
        f"error {100 * grid.rounding / grid.error:.0f} % rounding, "
        f"{100 * grid.clipping / grid.error:.0f} % clipping"
        if lossy
        else "no error",
        f"SQNR {quality}" if lossy else "",
        f"{len(grid.low):,} ranges, lines at the outermost ends; the narrowest reaches "
        f"{number(float(np.maximum(-grid.low, grid.high).min()))}"
        if several
        else "",
    ]


def level_fact(levels: FloatArray | None, shown: int) -> str:
    """Say how many levels there are and how many of them are drawn."""
    if levels is None:
        return ""
    thinned = f", {shown:,} drawn evenly" if shown < len(levels) else ""
    return f"{len(levels):,} levels, as ticks below{thinned}"
