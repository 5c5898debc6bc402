"""The values of one tensor as a histogram, with the grid that is laid over them."""

from dataclasses import replace
from math import ceil, isfinite, log10

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.labels import number, plain
from analysis.plots.log_axis import log_axis
from analysis.records import Distribution, FloatArray, GridError

BARS, RUG = 160, 256
HEIGHT = 330
OVERLAY, RANGE = "#e08a1e", "#c9599f"
BAR = "rgba(61, 125, 234, 0.6)"
_COUNTS = {True: "values", False: "share of its values (%)"}
CLIPPED = "rgba(201, 89, 159, 0.16)"
# The share of the plot's height that the levels take below the bars.
_RUG_SHARE = 0.05
# Exact zeros that are this many times the highest bar without them are left out of the bars.
MANY_ZEROS = 4


def distribution_histogram(
    one: Distribution,
    *,
    other: Distribution | None = None,
    grid: GridError | None = None,
    levels: FloatArray | None = None,
    log: bool = False,
) -> go.Figure:
    """Draw the values of a tensor in at most 160 bars, with its 1 % and 99 % quantiles.

    Exact zeros are left out where they are many, as behind a ReLU: they would flatten all the rest.

    Args:
        one: The tensor; neighbouring bins of its histogram are merged into bars.
        other: Drawn over it as a stepped line. Both are then in percent of their own values, the
            line scaled to the width of the bars.
        grid: Its range ends are lines, what lies more than half a step outside is shaded. With one
            range a channel that is done for the outermost ends.
        levels: Values that the grid can represent, (V,), drawn below the bars.
        log: Draw the counts on a logarithmic axis.

    Raises:
        AnalysisError: If a tensor holds no value.
    """
    given, grid = grid, grid if grid is not None and isfinite(grid.error) else None
    whole, one = one, _without_zeros(one)
    other = None if other is None else _without_zeros(other)
    drawn = [each for each in (one, other) if each is not None]
    held = [_held(each) for each in drawn]
    target = (max(high for _, high in held) - min(low for low, _ in held)) / BARS
    edges, counts = _bars(one, target)
    width = float(edges[1] - edges[0])
    heights = counts if other is None else 100 * counts / counts.sum()
    figure = go.Figure(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=heights,
            width=width,
            customdata=np.stack(
                [edges[:-1], edges[1:], 100 * counts / counts.sum()], axis=1
            ).astype(np.float32),
            marker={"color": BAR, "line": {"width": 0}},
            name=plain(one.title),
            hovertemplate="<b>%{customdata[0]:.4g} to %{customdata[1]:.4g}</b><br>"
            + ("%{y:,.0f} values, " if other is None else "")
            + "%{customdata[2]:.3g} %<extra></extra>",
        )
    )
    top, least = float(heights.max()), float(heights[heights > 0].min())
    if other is not None:
        line, shares = _overlay(other, target, width)
        figure.add_trace(line)
        top, least = max(top, float(shares.max())), min(least, float(shares[shares > 0].min()))
    ends = [end for pair in held for end in pair]
    if grid is not None:
        ends += [float(grid.low.min()), float(grid.high.max())]
    gap = 0.02 * (max(ends) - min(ends))
    if one.range == 0:
        gap = max(gap, width, abs(one.value("mean")) * 0.01)
    across = [min(ends) - gap, max(ends) + gap]
    figure.update_layout(
        bargap=0,
        xaxis={
            "title": {"text": "value", "standoff": 8, "font": {"size": 13}},
            "range": across,
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={
            "title": {
                "text": _COUNTS[other is None],
                "standoff": 10,
                "font": {"size": 13},
            },
            "range": [0, 1.04 * top],
        },
    )
    if log:
        figure.update_yaxes(log_axis([log10(least / 2), log10(1.5 * top)], _COUNTS[other is None]))
    shown = 0 if levels is None else _rug(figure, levels)
    _vertical(figure, [one.value("q01"), one.value("q99")], ["1 %", "99 %"], across, 0)
    if grid is not None:
        _range(figure, grid, across)
    facts = [
        *(
            []
            if other is None
            else [_key(theme.ACCENT, one.title), _key(OVERLAY, f"{other.title}, as a line")]
        ),
        *_facts(whole),
        *_grid_facts(grid),
        plain(given.title) if given is not grid and given is not None else "",
        _level_fact(levels, shown),
        "logarithmic axis" if log else "",
    ]
    figure = theme.dress(
        figure, plain(one.title), facts, height=HEIGHT + 90, alt=_sentence(one, other, grid)
    )
    # Labels of the lines stand above the plot.
    room = 22 if grid is None else 40
    return figure.update_layout(
        height=figure.layout.height + room, margin_t=figure.layout.margin.t + room
    )


def _without_zeros(one: Distribution) -> Distribution:
    if not 0 < one.zeros < one.count:
        return one
    counts = one.counts.copy()
    counts[min(int(-one.start / one.width), len(counts) - 1)] -= one.zeros
    held = np.flatnonzero(counts)
    starts = np.arange(held[0], held[-1] + 1, max(1, ceil((held[-1] + 1 - held[0]) / BARS)))
    highest = np.add.reduceat(counts, starts).max()
    return replace(one, counts=counts, zeros=0) if one.zeros > MANY_ZEROS * highest else one


def _held(one: Distribution) -> tuple[float, float]:
    """Return where the bins with values begin and end."""
    held = np.flatnonzero(one.counts)
    if not held.size:
        raise AnalysisError(
            f"A histogram needs at least one value, and `{one.title}` holds none. "
            "Choose a tensor that is not empty."
        )
    edges = one.edges()
    return float(edges[held[0]]), float(edges[held[-1] + 1])


def _bars(one: Distribution, target: float) -> tuple[FloatArray, FloatArray]:
    """Merge neighbouring bins into bars of about a width: edges (b + 1,) and counts (b,)."""
    held = np.flatnonzero(one.counts)
    counts = one.counts[held[0] : held[-1] + 1]
    size = max(1, ceil(target / one.width - 1e-9))
    merged = np.pad(counts, (0, -len(counts) % size)).reshape(-1, size).sum(axis=1)
    start = one.start + held[0] * one.width
    return start + size * one.width * np.arange(len(merged) + 1), merged


def _overlay(other: Distribution, target: float, width: float) -> tuple[go.Scatter, FloatArray]:
    """Return the stepped line of a second tensor and its shares in % per bar of a width."""
    edges, counts = _bars(other, target)
    shares = 100 * counts / counts.sum() * width / (edges[1] - edges[0])
    # Far below a logarithmic axis instead of at zero, which has no place on it.
    floor = 1e-12
    line = go.Scatter(
        x=np.concatenate([edges[:1], edges]),
        y=np.maximum(np.concatenate([[0.0], shares, [0.0]]), floor),
        mode="lines",
        line={"shape": "hv", "color": OVERLAY, "width": 2},
        name=plain(other.title),
        hovertemplate="<b>from %{x:.4g}</b><br>%{y:.3g} %<extra></extra>",
    )
    return line, shares


def _rug(figure: go.Figure, levels: FloatArray) -> int:
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


def _vertical(
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


def _range(figure: go.Figure, grid: GridError, across: list[float]) -> None:
    """Draw the ends of the range and shade what is clipped."""
    ends = [float(grid.low.min()), float(grid.high.max())]
    _vertical(figure, ends, [f"low {number(ends[0])}", f"high {number(ends[1])}"], across, 1)
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


def _key(colour: str, text: str) -> str:
    return f"<span style='color:{colour}'>■</span> {plain(text)}"


def _zeros(one: Distribution) -> str:
    if not one.zeros:
        return "no zeros"
    share = f"{number(100 * one.zeros / one.count)} % zeros"
    return share if _without_zeros(one) is one else f"{share}, not drawn"


def _facts(one: Distribution) -> list[str]:
    kurtosis = one.value("kurtosis")
    return [
        f"n = {one.count:,} values",
        _zeros(one),
        f"mean {number(one.value('mean'))}",
        f"std {number(one.value('std'))}",
        f"kurtosis {number(kurtosis)}" if isfinite(kurtosis) else "one value only, no kurtosis",
        f"from {number(one.value('low'))} to {number(one.value('high'))}",
    ]


def _grid_facts(grid: GridError | None) -> list[str]:
    if grid is None:
        return []
    shares = (
        f"error {100 * grid.rounding / grid.error:.0f} % rounding, "
        f"{100 * grid.clipping / grid.error:.0f} % clipping"
        if grid.error > 0
        else "no error"
    )
    several = len(grid.low) > 1
    return [
        _key(RANGE, grid.title),
        f"{number(100 * grid.clipped)} % clipped",
        shares,
        f"SQNR {grid.sqnr:.1f} dB" if isfinite(grid.sqnr) else "",
        f"{len(grid.low):,} ranges, lines at the outermost ends; the narrowest reaches "
        f"{number(float(np.maximum(-grid.low, grid.high).min()))}"
        if several
        else "",
    ]


def _level_fact(levels: FloatArray | None, shown: int) -> str:
    if levels is None:
        return ""
    thinned = f", {shown:,} drawn evenly" if shown < len(levels) else ""
    return f"{len(levels):,} levels, as ticks below{thinned}"


def _sentence(one: Distribution, other: Distribution | None, grid: GridError | None) -> str:
    parts = [
        f"Histogram of {one.count:,} values of {one.title} from {number(one.value('low'))} to "
        f"{number(one.value('high'))}, 98 % of them between {number(one.value('q01'))} and "
        f"{number(one.value('q99'))}"
    ]
    if other is not None:
        parts.append(f"over it {other.title}")
    if grid is not None:
        parts.append(
            f"{grid.title} clips {number(100 * grid.clipped)} % of them at an SQNR of "
            f"{grid.sqnr:.1f} dB"
        )
    return "; ".join(parts) + "."
