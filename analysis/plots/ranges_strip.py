"""What all layers hold, side by side in network order."""

from collections.abc import Collection

import numpy as np
import plotly.graph_objects as go

from analysis.plots import theme
from analysis.plots.axes import layer_axis, mark_selected, outlines
from analysis.plots.beside import BESIDE, outlined, spans
from analysis.plots.boxes import (
    HOVER,
    READING,
    WARM,
    boxes,
    hover_data,
    row,
    scale_fact,
    scale_of,
    value_axis,
)
from analysis.plots.labels import count, number, plain
from analysis.plots.ridgeline import layer_ridgeline as layer_ridgeline
from analysis.plots.roles import ROLE_WORDS, setting, tensors_of
from analysis.plots.runs import key
from analysis.records import BoolArray, Distribution, Distributions, FloatArray
from analysis.records.distributions import STATISTICS

HEIGHT = 330
FLAG = "▼"


def layer_strip(
    found: Distributions,
    role: str,
    selected: str | None = None,
    outliers: Collection[str] = (),
    other: Distributions | None = None,
) -> go.Figure:
    """Draw every layer from its smallest to its largest value.

    The axis is logarithmic on both sides of zero where the largest value is over 20 times that
    of most layers. A layer without such a tensor is a cross with the reason on hover. The
    custom data of every bar begin with the name of its layer.

    Args:
        found: The distributions.
        role: One of :data:`analysis.records.distributions.ROLES`.
        selected: Layer to point out.
        outliers: Layers to draw in another colour.
        other: Another network, whose layers of the same names are drawn as outlines.

    Raises:
        UnknownNameError: If there is no such role.
        AnalysisError: If no layer has a tensor of this role.
    """
    held = tensors_of(found, role)
    names = found.layers
    statistics = np.full((len(STATISTICS), len(names)), np.nan)
    for at, each in enumerate(held):
        if each is not None:
            statistics[:, at] = each.statistics
    beside = _beside(found, role, other)
    every = np.hstack([statistics, beside])
    scale = scale_of(every)
    flagged = np.array(
        [name in outliers and each is not None for name, each in zip(names, held, strict=True)]
    )
    data = hover_data([plain(name) for name in names], statistics)
    hover = f"<b>%{{customdata[0]}}</b><br>{HOVER}"
    if other is not None:
        data = [[*entry, span] for entry, span in zip(data, spans(beside), strict=True)]
        hover += f"<br>{plain(other.network)}: %{{customdata[6]}}"
    figure = go.Figure(
        boxes(
            statistics,
            scale,
            customdata=data,
            hover=hover,
            lines=outlines(names, selected),
            warm=flagged,
        )
    )
    if other is not None:
        figure.add_trace(outlined(beside, scale, other.network))
    _missing(figure, found, role, held)
    _flags(figure, scale.position(row(statistics, "high")), flagged)
    figure.update_layout(
        barmode="overlay",
        xaxis=layer_axis(names) | {"ticklen": 4},
        yaxis=value_axis(every, scale, "value"),
    )
    mark_selected(figure, names, selected)
    without = sum(each is None for each in held)
    facts = [
        *setting(found, role),
        "" if other is None else key(BESIDE, f"outlines: {plain(other.network)}"),
        READING,
        scale_fact(scale),
        key(WARM, f"{FLAG} {count(int(flagged.sum()), 'outlier layer')}") if flagged.any() else "",
        f"× {count(without, 'layer')} without such a tensor" if without else "",
    ]
    return theme.dress(
        figure,
        f"Ranges of the {ROLE_WORDS[role]}, layer by layer",
        facts,
        height=HEIGHT + theme.LABEL_HEIGHT,
        alt=_sentence(found, role, statistics),
    )


def _beside(found: Distributions, role: str, other: Distributions | None) -> FloatArray:
    """Return the statistics of the other network's layers (7, L), NaN where it has none."""
    statistics = np.full((len(STATISTICS), len(found.layers)), np.nan)
    for at, name in enumerate(found.layers):
        held = other.of(name, role) if other is not None and name in other.layers else None
        if held is not None and held.count:
            statistics[:, at] = held.statistics
    return statistics


def _missing(
    figure: go.Figure, found: Distributions, role: str, held: list[Distribution | None]
) -> None:
    """Draw a cross for every layer without a tensor."""
    places = [at for at, each in enumerate(held) if each is None]
    if not places:
        return
    reasons = [found.place(found.layers[at], role).reason or "no values" for at in places]
    figure.add_trace(
        go.Scatter(
            x=places,
            y=np.zeros(len(places)),
            mode="markers",
            marker={
                "symbol": "x-thin",
                "size": 9,
                "line": {"width": 2, "color": theme.MISSING},
            },
            customdata=[
                [plain(found.layers[at]), plain(why)]
                for at, why in zip(places, reasons, strict=True)
            ],
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
        )
    )


def _flags(figure: go.Figure, high: FloatArray, flagged: BoolArray) -> None:
    """Write a triangle above every outlier, which does not depend on seeing colours."""
    for at in np.flatnonzero(flagged):
        figure.add_annotation(
            text=FLAG,
            **{"x": int(at), "y": float(high[at]), "xref": "x", "yref": "y"},
            yanchor="bottom",
            showarrow=False,
            font={"size": 13, "color": WARM},
        )


def _sentence(found: Distributions, role: str, statistics: FloatArray) -> str:
    """Name the layers with the widest and the narrowest range."""
    ranges = row(statistics, "high") - row(statistics, "low")
    wide, narrow = int(np.nanargmax(ranges)), int(np.nanargmin(ranges))
    return (
        f"Ranges of the {ROLE_WORDS[role]} of {count(len(found.layers), 'layer')}: widest "
        f"{found.layers[wide]} with {number(float(ranges[wide]))}, narrowest "
        f"{found.layers[narrow]} with {number(float(ranges[narrow]))}."
    )
