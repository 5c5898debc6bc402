"""The layer axis that bar figures share: one position per layer, short labels, marks."""

from collections.abc import Collection, Sequence

import plotly.graph_objects as go

from analysis.plots import theme
from analysis.plots.labels import layer_labels, ticks

TICKS = 44
NUMBERED = 48


def layer_axis(
    names: Sequence[str], title: str = "layer, in network order", room: int = TICKS
) -> dict[str, object]:
    """Return an axis with the layers at 0, 1, ... in the order given.

    Positions are numbers, not names, because a layer may itself be called ``0`` or ``0.5``.

    Args:
        names: Full layer names, (L,).
        title: Of the axis.
        room: Labels that fit; the others are left out evenly.
    """
    positions, texts = ticks(layer_labels(names), room)
    return {
        "type": "linear",
        "range": [-0.6, len(names) - 0.4],
        "tickvals": positions,
        "ticktext": texts,
        "tickangle": -45 if len(names) > 4 else 0,
        "ticklabeloverflow": "allow",
        "title": {"text": title, "standoff": 6, "font": {"size": 13}},
        "tickfont": {"size": 12},
        "showgrid": False,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 13,
        "tickcolor": theme.TRANSPARENT,
    }


def layer_rows(names: Sequence[str], height: float) -> dict[str, object]:
    """Return a vertical axis of categories, the first layer on top.

    Args:
        names: Full layer names, (L,).
        height: Of the plot in pixels; labels that do not fit are left out evenly.
    """
    positions, texts = ticks(layer_labels(names), int(height) // 15)
    return {
        "type": "category",
        "tickvals": [names[position] for position in positions],
        "ticktext": texts,
        "tickfont": {"size": 12},
        "range": [len(names) - 0.5, -0.5],
        "showgrid": False,
        "ticks": "",
        "ticklabelstandoff": 5,
        "title": {"text": "layer", "standoff": 10, "font": {"size": 13}},
    }


def mark_selected(figure: go.Figure, names: Sequence[str], selected: str | None) -> None:
    """Lay a faint band in the accent colour behind the selected layer."""
    if selected is not None and selected in names:
        at = list(names).index(selected)
        figure.add_shape(
            type="rect",
            x0=at - 0.5,
            x1=at + 0.5,
            xref="x",
            y0=0,
            y1=1,
            yref="paper",
            layer="below",
            line_width=0,
            fillcolor=theme.ACCENT_FADED,
        )


def mark_pinned(figure: go.Figure, names: Sequence[str], pinned: Collection[str]) -> None:
    """Write a triangle between the axis and the label of each pinned layer."""
    for position, name in enumerate(names):
        if name in pinned:
            figure.add_annotation(
                text=theme.PINNED,
                x=position,
                xref="x",
                y=0,
                yref="paper",
                yanchor="top",
                yshift=1,
                showarrow=False,
                font={"size": 11},
            )


def outlines(names: Sequence[str], selected: str | None) -> dict[str, object]:
    """Return bar outlines: thin everywhere, thick in the accent colour where selected."""
    width = 1.0 if len(names) <= NUMBERED else 0.4
    return {
        "color": [theme.ACCENT if name == selected else theme.OUTLINE for name in names],
        "width": [2.5 if name == selected else width for name in names],
    }


def outline_category(figure: go.Figure, along: str, name: str, width: float = 2) -> None:
    """Outline a whole row (``along`` y) or column (x) of a figure whose axes are categories."""
    other = "y" if along == "x" else "x"
    figure.add_shape(
        type="rect",
        line={"color": theme.ACCENT, "width": width},
        **{f"{along}0": name, f"{along}1": name},
        **{f"{along}0shift": -0.5, f"{along}1shift": 0.5},
        **{f"{other}0": 0, f"{other}1": 1, f"{other}ref": f"{other} domain"},
    )
