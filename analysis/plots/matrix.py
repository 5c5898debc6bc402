"""Layers against layers: how alike their outputs are, what two of them cost beyond their sum."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError, UnknownNameError
from analysis.plots import theme
from analysis.plots.axes import outline_category
from analysis.plots.diverging import DIVERGING, Symmetric, bar_above, make_room_above
from analysis.plots.labels import (
    count,
    layer_labels,
    number,
    plain,
    scale_ticks,
    tick_texts,
    ticks,
)
from analysis.plots.ranking import column
from analysis.records import Candidate, FloatArray, ScoreTable

CELL, SMALLEST, LARGEST = 34, 240, 620
NUMBERED = 18


def similarity_matrix(scores: ScoreTable, selected: str | None = None) -> go.Figure:
    """Draw how alike the outputs of any two layers are, from 0 to 1.

    The colours end at 0 and 1, so that two networks can be compared by eye; an estimate without
    bias may lie below 0, then they begin at its smallest value.

    Args:
        scores: With ``similarity`` of shape (L, L).
        selected: Layer whose row and column are outlined.

    Raises:
        AnalysisError: If the metric compares no layers.
    """
    if scores.similarity is None:
        raise AnalysisError(
            f"A similarity matrix needs layers compared with each other, and `{scores.metric}` "
            "compares none. Choose a metric that does, such as `orthogonality`."
        )
    values = scores.similarity
    names = scores.layers
    apart = values[~np.eye(len(names), dtype=np.bool_) & np.isfinite(values)]
    low = min(0.0, float(np.nanmin(values, initial=0.0)))
    places = scale_ticks(low, 1.0, False)
    figure = go.Figure(
        go.Heatmap(
            x=list(names),
            y=list(names),
            z=values.astype(np.float32),
            zmin=low,
            zmax=1.0,
            colorscale=theme.SCALE,
            colorbar=bar_above(places, tick_texts(places)),
            **_cells(len(names), "%{z:.2f}"),
            hoverongaps=False,
            hovertemplate="<b>%{y}</b><br><b>%{x}</b><br>linear CKA %{z:.3f}<extra></extra>",
        )
    )
    variant = str(scores.options.get("variant", ""))
    facts = [
        "1: the same up to rotation and scale, 0: unrelated",
        variant,
        *setting(scores),
        "negative values present" if low < 0 else "",
    ]
    alt = f"Similarity of the outputs of {count(len(names), 'layer')}"
    if apart.size:
        pairs = np.where(np.eye(len(names), dtype=np.bool_), -np.inf, np.nan_to_num(values, nan=-9))
        one, other = np.unravel_index(int(np.argmax(pairs)), values.shape)
        alt += (
            f", median {number(float(np.median(apart)))} between different layers; most alike "
            f"{names[one]} and {names[other]} with {number(float(pairs[one, other]))}"
        )
    figure = _square(figure, names, selected, "Similarity of layer outputs", facts, f"{alt}.")
    return make_room_above(figure, "linear CKA")


def interaction_matrix(
    scores: ScoreTable,
    first: Candidate,
    second: Candidate | None = None,
    selected: str | None = None,
) -> go.Figure:
    """Draw what two layers cost together beyond the sum of what each costs alone.

    Blue pairs cost less together than apart, orange ones more. The diagonal and pairs that were not
    measured are blank.

    Args:
        scores: With ``interactions`` of shape (L, C, L, C).
        first: Candidate of the rows.
        second: Candidate of the columns, the same where None.
        selected: Layer whose row and column are outlined.

    Raises:
        AnalysisError: If the metric measured no pairs.
        UnknownNameError: If a candidate was not scored.
    """
    if scores.interactions is None:
        raise AnalysisError(
            f"An interaction matrix needs pairs of layers, and `{scores.metric}` measured none. "
            "Choose a metric that measures pairs."
        )
    second = first if second is None else second
    for candidate in (first, second):
        if candidate not in scores.candidates:
            raise UnknownNameError(
                "scored candidate", candidate.text, [c.text for c in scores.candidates]
            )
    row, across = scores.candidates.index(first), scores.candidates.index(second)
    found = scores.interactions[:, row, :, across]
    names, unit = scores.layers, plain(scores.unit)
    diagonal = np.eye(len(names), dtype=np.bool_)
    values = np.where(diagonal | (found == 0), np.nan, found)
    alone = column(scores, first)[0][:, None] + column(scores, second)[0][None, :]
    coding = Symmetric.of(values)
    figure = go.Figure(
        go.Heatmap(
            x=list(names),
            y=list(names),
            z=coding.position(values).astype(np.float32),
            customdata=np.stack([values, alone], axis=2).astype(np.float32),
            zmin=-1.0,
            zmax=1.0,
            colorscale=DIVERGING,
            colorbar=bar_above(*coding.ticks()),
            **_cells(len(names), ""),
            hoverongaps=False,
            hovertemplate=f"<b>%{{y}}</b> at {first.text}<br><b>%{{x}}</b> at {second.text}<br>"
            f"%{{customdata[0]:+.3g}} {unit} beyond their sum<br>"
            f"their sum %{{customdata[1]:.3g}} {unit}<extra></extra>",
        )
    )
    # At one candidate each pair stands twice.
    shown = values[np.triu_indices(len(names), 1)] if first == second else values[~diagonal]
    measured = shown[np.isfinite(shown)]
    facts = [
        f"{unit} beyond the sum of the two alone",
        "blue: less together, orange: more",
        *setting(scores),
        f"{count(int((measured < 0).sum()), 'pair')} of {len(measured):,} below zero"
        if measured.size
        else "",
        f"{count(shown.size - measured.size, 'pair')} not measured, blank"
        if measured.size < shown.size
        else "",
        f"colours logarithmic above ±{coding.linear:g}" if coding.linear else "linear colours",
    ]
    title = f"Interactions at {first.text}"
    if first != second:
        title = f"Interactions, rows at {first.text}, columns at {second.text}"
    figure = _square(figure, names, selected, title, facts, _pairs_sentence(scores, title, values))
    if first != second:
        figure.update_xaxes(title_text=f"layer at {second.text}")
        figure.update_yaxes(title_text=f"layer at {first.text}")
    return make_room_above(figure, unit)


def setting(scores: ScoreTable) -> list[str]:
    """Return the facts on how a table was made: protocol, set, sample count and seed."""
    return [scores.protocol, f"{scores.data} set", f"n = {scores.n:,}", f"seed {scores.seed}"]


def _cells(layers: int, template: str) -> dict[str, object]:
    """Return gaps between cells and, where they are large enough, texts in them."""
    return {
        "xgap": 1 if layers <= 60 else 0,
        "ygap": 1 if layers <= 60 else 0,
        "texttemplate": template if layers <= NUMBERED else "",
        "textfont": {"size": 10},
    }


def _square(
    figure: go.Figure,
    names: Sequence[str],
    selected: str | None,
    title: str,
    facts: list[str],
    alt: str,
) -> go.Figure:
    """Give a matrix its axes with square cells, its outlines and its texts."""
    side = int(np.clip(CELL * len(names), SMALLEST, LARGEST))
    labels = layer_labels(names)
    # Slanted labels need more room; there is less of it on a narrow page.
    across, down = (ticks(labels, side // room) for room in (22, 15))
    axis = {
        "type": "category",
        "tickfont": {"size": 12},
        "showgrid": False,
        "ticks": "",
        "ticklabelstandoff": 4,
        "constrain": "domain",
    }
    heading = {"font": {"size": 13}, "text": "layer, in network order"}
    figure.update_layout(
        xaxis=axis
        | {
            "tickvals": [names[position] for position in across[0]],
            "ticktext": across[1],
            "tickangle": -45,
            "constraintoward": "left",
            "title": heading | {"standoff": 6},
        },
        yaxis=axis
        | {
            "tickvals": [names[position] for position in down[0]],
            "ticktext": down[1],
            "autorange": "reversed",
            "scaleanchor": "x",
            "constraintoward": "top",
            "title": heading | {"standoff": 10},
        },
    )
    if selected is not None and selected in names:
        for along in ("x", "y"):
            outline_category(figure, along, selected, 2 if len(names) <= 60 else 1)
    return theme.dress(figure, title, facts, height=side + theme.LABEL_HEIGHT, alt=alt)


def _pairs_sentence(scores: ScoreTable, title: str, values: FloatArray) -> str:
    """Name the pairs that hurt and help each other most."""
    start = f"{title}: {count(len(scores.layers), 'layer')} against each other"
    if not np.isfinite(values).any():
        return f"{start}, no pair measured."
    names, ends = scores.layers, []
    for what, place in (("most above", np.nanargmax(values)), ("lowest", np.nanargmin(values))):
        one, other = np.unravel_index(int(place), values.shape)
        ends.append(f"{what} {names[one]} and {names[other]} with {number(values[one, other])}")
    return f"{start}, {' and '.join(ends)} {scores.unit} beyond their sum."
