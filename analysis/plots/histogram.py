"""The values of one tensor as a histogram, with the grid that is laid over them."""

from dataclasses import replace
from math import ceil, isfinite, log10

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.decibels import in_sentence, sqnr
from analysis.plots.histogram_grid import (
    draw_ends,
    draw_levels,
    draw_range,
    grid_facts,
    level_fact,
)
from analysis.plots.labels import number, plain
from analysis.plots.log_axis import log_axis
from analysis.plots.runs import key
from analysis.records import Distribution, FloatArray, GridError

BARS = 160
HEIGHT = 330
OVERLAY = "#e08a1e"
BAR = "rgba(61, 125, 234, 0.6)"
_COUNTS = {True: "values", False: "share of its values (%)"}
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
    A tensor of one value is one narrow bar.

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
    whole, one = one, _needle(_without_zeros(one))
    other = None if other is None else _needle(_without_zeros(other))
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
        gap = max(gap, 12 * width)
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
    shown = 0 if levels is None else draw_levels(figure, levels)
    draw_ends(figure, [one.value("q01"), one.value("q99")], ["1 %", "99 %"], across, 0)
    if grid is not None:
        draw_range(figure, grid, across)
    facts = [
        *(
            []
            if other is None
            else [
                key(theme.ACCENT, plain(one.title)),
                key(OVERLAY, f"{plain(other.title)}, as a line"),
            ]
        ),
        *_facts(whole),
        *grid_facts(grid),
        plain(given.title) if given is not grid and given is not None else "",
        level_fact(levels, shown),
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


def _needle(one: Distribution) -> Distribution:
    """Return a tensor of one value with a narrow bin about it, others as they are."""
    if one.range != 0 or not one.count:
        return one
    value = one.value("mean")
    width = 0.004 * (abs(value) or 1.0)
    counts = np.array([float(one.count)])
    return replace(one, start=value - width / 2, width=width, counts=counts)


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
            f"{grid.title} clips {number(100 * grid.clipped)} % of them, {in_sentence(sqnr(grid))}"
        )
    return "; ".join(parts) + "."
