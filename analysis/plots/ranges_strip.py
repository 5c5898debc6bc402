"""What all layers hold, side by side in network order."""

from collections.abc import Collection

import numpy as np
import plotly.graph_objects as go

from analysis.plots import theme
from analysis.plots.axes import layer_axis, mark_selected, outlines
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
    scale = scale_of(statistics)
    flagged = np.array(
        [name in outliers and each is not None for name, each in zip(names, held, strict=True)]
    )
    figure = go.Figure(
        boxes(
            statistics,
            scale,
            customdata=hover_data([plain(name) for name in names], statistics),
            hover=f"<b>%{{customdata[0]}}</b><br>{HOVER}",
            lines=outlines(names, selected),
            warm=flagged,
        )
    )
    _missing(figure, found, role, held)
    _flags(figure, scale.position(row(statistics, "high")), flagged)
    figure.update_layout(
        barmode="overlay",
        xaxis=layer_axis(names) | {"ticklen": 4},
        yaxis=value_axis(statistics, scale, "value"),
    )
    mark_selected(figure, names, selected)
    without = sum(each is None for each in held)
    facts = [
        *setting(found, role),
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
