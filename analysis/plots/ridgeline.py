"""The shapes of all layers' distributions, one below the other."""

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.boxes import scale_fact, scale_of
from analysis.plots.diverging import Symmetric
from analysis.plots.labels import count, layer_labels, number, plain, ticks
from analysis.plots.roles import ROLE_WORDS, setting, tensors_of
from analysis.records import Distribution, Distributions, FloatArray

POINTS = 60
MOST = 40
ROW, LOWEST_HEIGHT, HIGHEST_HEIGHT = 19, 160, 860
# Ridges reach into the row above.
RISE = 1.5
FILL, LINE = "rgba(61, 125, 234, 0.28)", "rgba(61, 125, 234, 0.9)"
CHOSEN, CHOSEN_LINE = "rgba(224, 138, 30, 0.45)", "#e08a1e"


def layer_ridgeline(
    found: Distributions, role: str, selected: str | None = None, most: int = MOST
) -> go.Figure:
    """Draw the density of every layer's values, each as high as the others.

    The densities are those along the axis, which all layers share and which is logarithmic on both
    sides of zero where they differ much; exact zeros are left out, because a ReLU's would flatten
    all the rest. The custom data of the dots, at the means, are the names of the layers.

    Args:
        found: The distributions.
        role: One of :data:`analysis.records.distributions.ROLES`.
        selected: Layer to point out; it is always drawn.
        most: With more layers than this, that many are drawn, evenly in network order.

    Raises:
        UnknownNameError: If there is no such role.
        AnalysisError: If no layer has a tensor of this role, or ``most`` is below 1.
    """
    if most < 1:
        raise AnalysisError(f"At least 1 layer must be drawn, got most={most}.")
    held = tensors_of(found, role)
    whole = [(name, each) for name, each in zip(found.layers, held, strict=True) if each]
    drawn = _thinned(whole, most, selected)
    scale = scale_of(np.array([each.statistics for _, each in drawn]).T)
    figure = go.Figure()
    for at, (name, each) in enumerate(drawn):
        places, heights = _ridge(each, scale)
        chosen = name == selected
        figure.add_trace(
            go.Scatter(
                x=places.astype(np.float32),
                y=(RISE * heights - at).astype(np.float32),
                mode="lines",
                line={"width": 1.2, "color": CHOSEN_LINE if chosen else LINE},
                fill="toself",
                fillcolor=CHOSEN if chosen else FILL,
                hoverinfo="skip",
            )
        )
    figure.add_trace(_dots(drawn, scale))
    names = [name for name, _ in drawn]
    height = int(np.clip(ROW * (len(names) + RISE), LOWEST_HEIGHT, HIGHEST_HEIGHT))
    values, texts = scale.ticks()
    rows, labels = ticks(layer_labels(names), height // 15)
    figure.update_layout(
        xaxis={
            "title": {"text": "value", "standoff": 8, "font": {"size": 13}},
            "tickvals": values,
            "ticktext": texts,
            "tickfont": {"size": 12},
            "range": _across(drawn, scale),
            "zeroline": True,
        },
        yaxis={
            "tickvals": [-row for row in rows],
            "ticktext": labels,
            "tickfont": {"size": 12},
            "range": [0.4 - len(names), RISE + 0.1],
            "showgrid": False,
            "zeroline": False,
            "ticks": "",
            "ticklabelstandoff": 5,
            "title": {"text": "layer", "standoff": 10, "font": {"size": 13}},
        },
    )
    without = len(held) - len(whole)
    zeros = sum(each.zeros > 0 for _, each in drawn)
    facts = [
        *setting(found, role),
        f"{len(drawn):,} of them drawn, evenly in network order" if len(drawn) < len(whole) else "",
        "each as high as the others, dot: mean",
        f"zeros left out in {count(zeros, 'layer')}" if zeros else "",
        scale_fact(scale),
        f"{count(without, 'layer')} without such a tensor, left out" if without else "",
    ]
    return theme.dress(
        figure,
        f"Distributions of the {ROLE_WORDS[role]}, layer by layer",
        facts,
        height=height + 70,
        alt=_sentence(drawn, role),
    )


def _thinned(
    whole: list[tuple[str, Distribution]], most: int, selected: str | None
) -> list[tuple[str, Distribution]]:
    """Return at most so many layers, evenly, the selected one among them."""
    if len(whole) <= most:
        return whole
    places = np.rint(np.linspace(0, len(whole) - 1, most)).astype(np.int64)
    names = [name for name, _ in whole]
    if selected in names:
        place = names.index(selected)
        places[np.abs(places - place).argmin()] = place
    return [whole[place] for place in places]


def _ridge(one: Distribution, scale: Symmetric) -> tuple[FloatArray, FloatArray]:
    """Return a closed outline along the axis, heights from 0 to 1."""
    counts = one.counts.copy()
    edges = one.edges()
    centre = int(np.clip(np.searchsorted(edges, 0.0, side="right") - 1, 0, len(counts) - 1))
    counts[centre] = max(0.0, counts[centre] - one.zeros)
    low, high = (float(scale.position(np.array([one.value(end)]))[0]) for end in ("low", "high"))
    if high <= low or not counts.any():
        # One value only: a needle.
        middle = (low + high) / 2
        return np.array([middle, middle, middle]), np.array([0.0, 1.0, 0.0])
    cuts = np.linspace(low, high, POINTS + 1)
    below = np.concatenate([[0.0], np.cumsum(counts)])
    density = np.diff(np.interp(cuts, scale.position(edges), below))
    places = (cuts[:-1] + cuts[1:]) / 2
    return (
        np.concatenate([[low], places, [high], [low]]),
        np.concatenate([[0.0], density / density.max(), [0.0], [0.0]]),
    )


def _dots(drawn: list[tuple[str, Distribution]], scale: Symmetric) -> go.Scatter:
    """Draw the means on the base lines: a click can select a marker, but no line."""
    means = np.array([each.value("mean") for _, each in drawn])
    return go.Scatter(
        x=scale.position(means).astype(np.float32),
        y=-np.arange(len(drawn), dtype=np.float32),
        mode="markers",
        marker={
            "size": 7,
            "color": theme.CIVIDIS[-1],
            "line": {"width": 1, "color": theme.CIVIDIS[0]},
        },
        customdata=[
            [
                plain(name),
                f"{number(each.value('low'))} to {number(each.value('high'))}<br>"
                f"mean {number(each.value('mean'))}, std {number(each.value('std'))}, "
                f"kurtosis {number(each.value('kurtosis'))}",
            ]
            for name, each in drawn
        ],
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
    )


def _across(drawn: list[tuple[str, Distribution]], scale: Symmetric) -> list[float]:
    """Return the ends of the axis."""
    low, high = (
        scale.position(np.array([each.value(end) for _, each in drawn])) for end in ("low", "high")
    )
    first, last = float(np.nanmin(low)), float(np.nanmax(high))
    gap = 0.03 * (last - first) or 0.1
    return [first - gap, last + gap]


def _sentence(drawn: list[tuple[str, Distribution]], role: str) -> str:
    """Name the layer with the heaviest tails."""
    start = f"Distributions of the {ROLE_WORDS[role]} of {count(len(drawn), 'layer')}"
    kurtosis = np.array([each.value("kurtosis") for _, each in drawn])
    if not np.isfinite(kurtosis).any():
        return f"{start}, none with a variance."
    worst = int(np.nanargmax(kurtosis))
    return (
        f"{start}: heaviest tails in {drawn[worst][0]} with a kurtosis of "
        f"{number(float(kurtosis[worst]))}, median {number(float(np.nanmedian(kurtosis)))}."
    )
