"""The channels of one tensor by their ranges."""

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.beside import BESIDE, outlined, spans
from analysis.plots.boxes import HOVER, READING, boxes, hover_data, scale_fact, scale_of, value_axis
from analysis.plots.diverging import Symmetric
from analysis.plots.labels import count, number, plain
from analysis.plots.runs import key
from analysis.records import Distribution, FloatArray, IntArray

HEIGHT = 320
MOST = 2048
BAND = "rgba(128, 140, 160, 0.16)"


def channel_ranges(
    one: Distribution,
    *,
    other: Distribution | None = None,
    sort: bool = True,
    bits: int | None = None,
    highlight: int | None = None,
    most: int = MOST,
) -> go.Figure:
    """Draw every channel from its smallest to its largest value beside the range of the layer.

    The custom data of every bar begin with the number of its channel.

    Args:
        one: With statistics of C channels.
        other: The same tensor of another network, drawn as outlines in the order of ``one``.
        sort: Draw the channel with the widest range first instead of by number.
        bits: Of a grid over the whole range, to say what it leaves each channel.
        highlight: Channel to point out; it is always drawn.
        most: With more channels than this, that many are drawn: of the sorted ones a quarter from
            either end and the others evenly, otherwise evenly.

    Raises:
        AnalysisError: If there is no channel, no such channel, or ``most`` is below 4, or if the
            other tensor has other channels.
    """
    total = one.channels.shape[1]
    if not total:
        raise AnalysisError(
            f"Channel ranges need channels, and `{one.title}` has none. Choose another tensor."
        )
    if highlight is not None and not 0 <= highlight < total:
        raise AnalysisError(f"The channel must be a number from 0 to {total - 1}, got {highlight}.")
    if most < 4:
        raise AnalysisError(f"At least 4 channels must be drawn, got most={most}.")
    if other is not None and other.channels.shape[1] != total:
        raise AnalysisError(
            f"Channels can be compared where there are equally many, got {total} and "
            f"{other.channels.shape[1]}. Leave the other tensor out."
        )
    chosen = _chosen(one.channel_ranges, sort, most, highlight)
    statistics = one.channels[:, chosen]
    # Half of the channels far from the widest, before the axis hides how far they are.
    every = one.channels if other is None else np.hstack([one.channels, other.channels])
    scale = scale_of(every, narrow=0.5)
    share = 100 * one.channel_ranges / one.range if one.range else np.zeros(total)
    effective = None if bits is None else one.effective_bits(bits)
    data = hover_data([int(channel) for channel in chosen], statistics)
    for channel, entry in zip(chosen, data, strict=True):
        entry.append(round(float(share[channel]), 1))
        if effective is not None:
            entry.append(f"{max(float(np.nan_to_num(effective[channel])), 0.0):.1f}")
    beside = ""
    if other is not None:
        beside = f"<br>{plain(other.title)}: %{{customdata[{len(data[0])}]}}"
        for entry, span in zip(data, spans(other.channels[:, chosen]), strict=True):
            entry.append(span)
    figure = go.Figure(
        boxes(
            statistics,
            scale,
            customdata=data,
            hover=f"<b>channel %{{customdata[0]}}</b><br>{HOVER}<br>"
            "%{customdata[6]} % of the range of the layer"
            + ("" if bits is None else f"<br>%{{customdata[7]}} of {bits} bits left")
            + beside,
        )
    )
    if other is not None:
        figure.add_trace(outlined(other.channels[:, chosen], scale, other.title))
    q01, q99 = _edges(figure, one, other, scale)
    figure.add_hrect(y0=q01, y1=q99, fillcolor=BAND, line_width=0, layer="below")
    figure.update_layout(
        barmode="overlay",
        xaxis=_axis(chosen, sort),
        yaxis=value_axis(
            np.stack([each.statistics for each in (one, other) if each is not None], axis=1),
            scale,
            "value",
        ),
    )
    if highlight is not None:
        _point_out(figure, int(np.flatnonzero(chosen == highlight)[0]), highlight, len(chosen))
    precision = number(one.average_channel_precision)
    if other is not None and not other.dead.all():
        precision += f" → {number(other.average_channel_precision)}"
    facts = [
        count(total, "channel"),
        "" if other is None else key(BESIDE, f"outlines: {plain(other.title)}"),
        _thinned(len(chosen), total, sort),
        "" if one.dead.all() else f"average channel precision {precision}",
        f"{count(int(one.dead.sum()), 'channel')} of one value only" if one.dead.any() else "",
        _worst(one, effective, bits),
        READING,
        "dashed: range of the layer, grey: its middle 98 %",
        scale_fact(scale),
    ]
    figure = theme.dress(
        figure,
        f"Channel ranges of {plain(one.title)}",
        facts,
        height=HEIGHT + 60,
        alt=_sentence(one),
    )
    # The number of the channel stands above the plot.
    room = 0 if highlight is None else 14
    return figure.update_layout(
        height=figure.layout.height + room, margin_t=figure.layout.margin.t + room
    )


def _edges(
    figure: go.Figure, one: Distribution, other: Distribution | None, scale: Symmetric
) -> tuple[float, float]:
    """Draw the ends of the layer's ranges; return where the middle 98 % of the first one lie."""

    def at(values: Distribution, name: str) -> float:
        return float(scale.position(np.array([values.value(name)]))[0])

    for values, colour in ((other, BESIDE), (one, theme.TEXT)):
        for name in ("low", "high") if values is not None else ():
            assert values is not None
            line = {"color": colour, "width": 1.4, "dash": "dash"}
            figure.add_hline(y=at(values, name), line=line)
    return at(one, "q01"), at(one, "q99")


def _chosen(ranges: FloatArray, sort: bool, most: int, highlight: int | None) -> IntArray:
    """Return the numbers of the channels to draw, in the order to draw them."""
    order = np.argsort(-ranges, kind="stable") if sort else np.arange(len(ranges))
    if len(order) <= most:
        return order
    ends = most // 4 if sort else 1
    between = np.linspace(ends, len(order) - 1 - ends, most - 2 * ends)
    places = np.concatenate(
        [
            np.arange(ends),
            np.rint(between).astype(np.int64),
            np.arange(len(order) - ends, len(order)),
        ]
    )
    if highlight is not None:
        place = int(np.flatnonzero(order == highlight)[0])
        places[np.abs(places - place).argmin()] = place
    return np.asarray(order[places])


def _axis(chosen: IntArray, sort: bool) -> dict[str, object]:
    """Return the axis of the channels, with their numbers where there is room for all."""
    title = "channel, widest range first" if sort else "channel"
    axis: dict[str, object] = {
        "title": {"text": title, "standoff": 8, "font": {"size": 13}},
        "range": [-0.8, len(chosen) - 0.2],
        "showgrid": False,
        "zeroline": False,
        "tickfont": {"size": 12},
    }
    step = max(1, len(chosen) // 24)
    places = np.arange(0, len(chosen), step)
    return axis | {
        "tickvals": places.tolist(),
        "ticktext": [f"{chosen[place]}" for place in places],
        "tickangle": 0 if len(chosen) <= 24 else -45,
    }


def _point_out(figure: go.Figure, place: int, channel: int, total: int) -> None:
    """Lay a band behind a channel and write its number above it."""
    half = max(0.5, 0.004 * total)
    figure.add_vrect(
        x0=place - half, x1=place + half, fillcolor=theme.ACCENT, opacity=0.3, line_width=0
    )
    figure.add_annotation(
        text=f"channel {channel}",
        **{"x": place, "xref": "x", "y": 1, "yref": "paper", "yanchor": "bottom"},
        xanchor="left" if place < total / 2 else "right",
        showarrow=False,
        font={"size": 12, "color": theme.ACCENT},
    )


def _thinned(drawn: int, total: int, sort: bool) -> str:
    if drawn == total:
        return ""
    return f"{drawn:,} drawn, " + ("all at both ends, evenly between" if sort else "evenly")


def _worst(one: Distribution, effective: FloatArray | None, bits: int | None) -> str:
    """Say which live channel keeps the fewest bits."""
    if effective is None or one.dead.all():
        return ""
    worst = int(np.argmin(np.where(one.dead, np.inf, effective)))
    left = f"{effective[worst]:.1f}" if effective[worst] > 0 else "none"
    return f"of {bits} bits channel {worst} keeps {left}"


def _sentence(one: Distribution) -> str:
    """Name the channel with the widest range."""
    ranges = one.channel_ranges
    widest = int(np.argmax(ranges))
    share = f", {100 * ranges[widest] / one.range:.0f} % of the layer's" if one.range else ""
    return (
        f"Ranges of {count(len(ranges), 'channel')} of {one.title}: widest channel {widest} with "
        f"{number(float(ranges[widest]))}{share}; median {number(float(np.median(ranges)))}."
    )
