"""An allocation as bars: how many bits each layer has and how sensitive it is at them."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.axes import NUMBERED, layer_axis, mark_pinned, mark_selected, outlines
from analysis.plots.colours import HIGHEST, NO_VALUE, SCALE, Coding
from analysis.plots.labels import count, number, plain
from analysis.quant.formats import bits_of
from analysis.records import Allocation, Candidate, FloatArray, LayerTable, ScoreTable

HEIGHT = 400


def bit_strip(
    table: LayerTable,
    allocation: Allocation,
    scores: ScoreTable | None = None,
    selected: str | None = None,
) -> go.Figure:
    """Draw weight bits as bars in network order, coloured by the score at the chosen candidate.

    A dash at the height of the activation bits, a triangle under pinned layers, and below a thin
    bar with each layer's share of the weights. A layer without a score at its candidate is grey.

    Args:
        table: Layers, pins and weight counts.
        allocation: A candidate for every layer of the table.
        scores: Where given, bars are coloured by it; otherwise by their bits.
        selected: Layer to point out.

    Raises:
        AnalysisError: If the allocation does not hold every layer of the table.
    """
    chosen = allocation.as_dict()
    missing = [name for name in table.names if name not in chosen]
    if missing:
        raise AnalysisError(
            f"The allocation must hold every layer of the table; {count(len(missing), 'layer')} "
            f"missing, `{missing[0]}` first. Take it from the same model."
        )
    names = list(table.names)
    candidates = [chosen[name] for name in names]
    weights = np.array([bits_of(each.weight) for each in candidates])
    activations = np.array([bits_of(each.activation) for each in candidates])
    values = weights.astype(np.float64) if scores is None else scores_at(scores, names, candidates)
    shares = np.array([layer.num_weights for layer in table.layers], dtype=np.float64)
    shares *= 100 / max(shares.sum(), 1.0)
    unit = "bits" if scores is None else scores.unit
    positions = np.arange(len(names))
    hover = _hover(table, candidates, values if scores else None, unit, shares)
    figure = go.Figure()
    coding = Coding.of(values)
    known = np.isfinite(values)
    figure.add_trace(
        go.Bar(
            x=positions,
            y=weights,
            customdata=hover,
            text=[str(bits) for bits in weights] if len(names) <= NUMBERED else None,
            textposition="outside",
            textangle=0,
            textfont={"size": 13, "weight": 600},
            cliponaxis=False,
            marker={
                "color": np.nan_to_num(coding.position(values), nan=NO_VALUE),
                "colorscale": SCALE,
                "cmin": NO_VALUE,
                "cmax": HIGHEST,
                "line": outlines(names, selected),
                "showscale": scores is not None and bool(known.any()),
                "colorbar": theme.colour_bar(f"score ({plain(unit)})", *coding.ticks())
                | {"len": 0.78, "y": 1, "yanchor": "top"},
            },
            name="weight bits",
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=positions,
            y=activations,
            mode="markers",
            marker={
                "symbol": "line-ew",
                "size": max(4, min(30, round(520 / len(names)))),
                "line": {"width": 2.5, "color": theme.ACCENT},
            },
            name="activation bits",
            hoverinfo="skip",
        )
    )
    figure.add_trace(
        go.Bar(
            x=positions,
            y=shares,
            yaxis="y2",
            customdata=hover,
            marker={"color": theme.MISSING, "line": {"width": 0}},
            name="share of weights",
            hovertemplate="<b>%{customdata[0]}</b><br>%{y:.3g} % of the weights<extra></extra>",
        )
    )
    top = int(max(weights.max(initial=1), activations.max(initial=1)))
    figure.update_layout(
        barmode="overlay",
        bargap=0.14 if len(names) < 100 else 0.05,
        xaxis=layer_axis(names) | {"anchor": "y2"},
        yaxis={
            "title": {"text": "weight bits", "standoff": 10, "font": {"size": 13}},
            "domain": [0.2, 1],
            "range": [0, top * 1.1],
            "tickvals": sorted({0, *(b for b in (2, 4, 6, 8, 16, 32) if b <= top), top}),
        },
        yaxis2={
            "title": {"text": "weights (%)", "standoff": 10, "font": {"size": 13}},
            "domain": [0, 0.14],
            "range": [0, 1.05 * max(float(shares.max(initial=0.0)), 1e-9)],
            "nticks": 3,
        },
    )
    pinned = {layer.name for layer in table.layers if layer.pinned}
    mark_selected(figure, names, selected)
    mark_pinned(figure, names, pinned)
    average = float(shares @ weights) / 100
    unscored = int((~known).sum())
    facts = [
        f"average {average:.2f} bits per weight",
        *_colour_facts(scores, coding),
        f"{count(unscored, 'layer')} without a score at these bits in grey" if unscored else "",
        "<span style='color:" + theme.ACCENT + "'>▬</span> activation bits",
        f"{theme.PINNED} pinned" if pinned else "",
        "below: share of the weights",
    ]
    alt = (
        f"Weight bits of {count(len(names), 'layer')} in network order, from "
        f"{int(weights.min(initial=top))} to {int(weights.max(initial=0))}, "
        f"average {average:.2f} bits per weight."
    )
    return theme.dress(figure, "Bits per layer", facts, height=HEIGHT + theme.LABEL_HEIGHT, alt=alt)


def scores_at(
    scores: ScoreTable, names: Sequence[str], candidates: Sequence[Candidate]
) -> FloatArray:
    """Return the score (L,) of each layer at its candidate, NaN where it was not scored.

    A metric of shape (L,) gives a layer the same score at any bits.
    """
    rows = {name: row for row, name in enumerate(scores.layers)}
    columns = {candidate: column for column, candidate in enumerate(scores.candidates)}
    values = np.full(len(names), np.nan)
    for at, (name, candidate) in enumerate(zip(names, candidates, strict=True)):
        if name not in rows:
            continue
        if scores.values.ndim == 1:
            values[at] = scores.values[rows[name]]
        elif candidate in columns:
            values[at] = scores.values[rows[name], columns[candidate]]
    return values


def _colour_facts(scores: ScoreTable | None, coding: Coding) -> list[str]:
    """Say what the colours stand for."""
    if scores is None:
        return ["colour: weight bits"]
    return [
        f"colour: {plain(scores.title)}, {plain(scores.unit)}",
        scores.protocol,
        f"n = {scores.n:,}",
        f"seed {scores.seed}",
        "logarithmic colours" if coding.logarithmic else "linear colours",
    ]


def _hover(
    table: LayerTable,
    candidates: Sequence[Candidate],
    values: FloatArray | None,
    unit: str,
    shares: FloatArray,
) -> list[list[str]]:
    """Return the name of each layer and what is known about it."""
    rows = []
    for at, (layer, candidate) in enumerate(zip(table.layers, candidates, strict=True)):
        lines = [f"{candidate.weight} weights, {candidate.activation} activations"]
        if values is not None and np.isfinite(values[at]):
            lines.append(f"score {number(float(values[at]))} {plain(unit)}")
        elif values is not None:
            lines.append(f"no score at {candidate.text}")
        lines.append(f"{layer.num_weights:,} weights, {shares[at]:.3g} % of all")
        if layer.pinned:
            lines.append("pinned")
        rows.append([plain(layer.name), "<br>".join(lines)])
    return rows
