"""Scores of a metric against measured ones, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.diverging import Symmetric
from analysis.plots.labels import count, is_wide, number, plain
from analysis.plots.ranking import column
from analysis.quant.formats import bits_of
from analysis.ranks import correlations
from analysis.records import Candidate, FloatArray, ScoreTable

HEIGHT = 420
LINEAR, LOG, SYMMETRIC = "linear", "log", "symmetric"


@dataclass(frozen=True, slots=True)
class _Points:
    """Predicted and measured scores (C, L) of the layers that both tables have."""

    names: list[str]
    candidates: list[Candidate | None]
    predicted: FloatArray
    measured: FloatArray
    errors: FloatArray


def predicted_against_measured(
    table: ScoreTable,
    reference: ScoreTable,
    candidate: Candidate | None = None,
    selected: str | None = None,
) -> go.Figure:
    """Draw the scores of a metric against measured ones, a point for each layer and candidate.

    Axes are logarithmic when all scores are positive and far apart, and logarithmic on both sides
    of zero when only their sizes are far apart. Kendall's tau compares layers at the same candidate
    only: that fewer bits are worse is no merit of a metric.

    Args:
        table: Scores (L, C), or (L,) which count at every candidate.
        reference: Measured scores, with their standard errors where known.
        candidate: At which to compare; None for all candidates of both.
        selected: Layer to point out.

    Raises:
        AnalysisError: If the protocols differ, or there is no layer or candidate in common.
    """
    points = _points(table, reference, candidate)
    x, y = points.predicted, points.measured
    kinds = _kinds(x, y)
    figure = go.Figure()
    for bits, rows in _by_bits(points.candidates):
        colour = _colour(bits, points.candidates)
        figure.add_trace(_markers(points, rows, kinds, colour, bits, table, reference))
    _point_out(figure, points, kinds, selected)
    same = table.unit == reference.unit and kinds[0] == kinds[1] != SYMMETRIC
    if same:
        low, high = float(np.nanmin([x, y])), float(np.nanmax([x, y]))
        figure.add_shape(
            type="line",
            **{"x0": low, "y0": low, "x1": high, "y1": high},
            line={"color": theme.OUTLINE, "width": 1.5, "dash": "dash"},
            layer="below",
        )
    figure.update_layout(
        xaxis=_axis(x, kinds[0], f"predicted: {table.title} ({table.unit})"),
        yaxis=_axis(y, kinds[1], f"measured: {reference.title} ({reference.unit})"),
    )
    tau = float(correlations(x, y, np.ones((1, x.shape[1])))[0, 0, -1]) if x.size else np.nan
    where = f" at {candidate.text}" if candidate else ""
    several = len(points.candidates) > 1
    agree = f"Kendall's τ = {tau:.2f}" if np.isfinite(tau) else "no ranking: scores are all equal"
    facts = [
        agree + " among layers at the same candidate" * several,
        f"{count(len(points.names), 'layer')} × {len(points.candidates)} candidates"
        if several
        else count(len(points.names), "layer"),
        table.protocol,
        *_made(table, reference),
        "± 1 standard error" if np.isfinite(points.errors).any() else "",
        _scales(kinds),
        "dashed: measured as predicted" if same else "",
    ]
    alt = (
        f"{reference.title} as measured against {table.title} as predicted{where} for "
        f"{count(len(points.names), 'layer')}: {agree}."
    )
    title = f"{plain(table.title)} against {plain(reference.title)}{where}"
    theme.dress(figure, title, facts, height=HEIGHT + 60 + 30 * several, alt=alt)
    if several:
        figure.update_layout(
            showlegend=True,
            legend={"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top", "font": {"size": 12}},
        )
    return figure


def _points(table: ScoreTable, reference: ScoreTable, candidate: Candidate | None) -> _Points:
    """Bring both tables to the layers and candidates that they have in common."""
    if table.protocol != reference.protocol:
        raise AnalysisError(
            f"Scores and reference must have one protocol: `{table.metric}` is {table.protocol}, "
            f"`{reference.metric}` {reference.protocol}. Score one of them again."
        )
    names = [name for name in reference.layers if name in table.layers]
    chosen: list[Candidate | None] = [candidate]
    if candidate is None and reference.candidates:
        alone = table.values.ndim == 1
        chosen = [c for c in reference.candidates if alone or c in table.candidates]
    if not names or not chosen:
        raise AnalysisError(
            f"`{table.metric}` and `{reference.metric}` must score a "
            f"{'candidate' if names else 'layer'} in common, they have none. Score both with the "
            "same network and candidates."
        )

    def rows(scores: ScoreTable) -> tuple[FloatArray, FloatArray]:
        places = [scores.layers.index(name) for name in names]
        found = [column(scores, c if scores.candidates else None) for c in chosen]
        nothing = np.full(len(scores.layers), np.nan)
        return (
            np.array([values[places] for values, _ in found]),
            np.array([(nothing if each is None else each)[places] for _, each in found]),
        )

    measured, errors = rows(reference)
    return _Points(names, chosen, rows(table)[0], measured, errors)


def _kinds(x: FloatArray, y: FloatArray) -> tuple[str, str]:
    """Choose the kinds of the two axes; two positive ones are of one kind."""
    kinds = [LOG if is_wide(each) else LINEAR for each in (x, y)]
    for at, each in enumerate((x, y)):
        if np.nanmin(each, initial=np.inf) <= 0:
            kinds[at] = SYMMETRIC if Symmetric.of(each).linear else LINEAR
        elif LOG in kinds:
            kinds[at] = LOG
    return kinds[0], kinds[1]


def _scales(kinds: tuple[str, str]) -> str:
    """Say which axes are not linear."""
    if kinds == (LOG, LOG):
        return "logarithmic axes"
    words = {LOG: "logarithmic", SYMMETRIC: "logarithmic on both sides of zero"}
    found = zip(("horizontal", "vertical"), kinds, strict=True)
    return ", ".join(f"{name} axis {words[kind]}" for name, kind in found if kind in words)


def _place(values: FloatArray, all_: FloatArray, kind: str) -> FloatArray:
    """Return where values of an axis are drawn."""
    return Symmetric.of(all_).position(values) if kind == SYMMETRIC else values


def _axis(values: FloatArray, kind: str, title: str) -> dict[str, object]:
    """Return an axis of one of the three kinds."""
    axis: dict[str, object] = {
        "title": {"text": plain(title), "standoff": 10, "font": {"size": 13}},
        "tickfont": {"size": 12},
        "type": LOG if kind == LOG else LINEAR,
        "exponentformat": "power",
        "zeroline": kind != LOG,
    }
    if kind == SYMMETRIC:
        places, texts = Symmetric.of(values).ticks()
        axis |= {"tickvals": places, "ticktext": texts}
    elif kind == LOG:
        known = values[np.isfinite(values)]
        decades = np.log10(known.max() / known.min())
        axis |= {"dtick": 1 if decades > 1 else None}
    return axis


def _by_bits(candidates: Sequence[Candidate | None]) -> list[tuple[int | None, list[int]]]:
    """Return the places of the candidates for each number of weight bits, fewest first."""
    bits = [None if c is None else bits_of(c.weight) for c in candidates]
    order = sorted({each for each in bits if each is not None})
    if not order:
        return [(None, list(range(len(bits))))]
    return [(each, [at for at, b in enumerate(bits) if b == each]) for each in order]


def _colour(bits: int | None, candidates: Sequence[Candidate | None]) -> str:
    """Return a colour of the scale, the brightest for the fewest bits as for high scores."""
    if bits is None or len(candidates) == 1:
        return theme.ACCENT
    order = sorted({bits_of(c.weight) for c in candidates if c is not None}, reverse=True)
    at = order.index(bits) * (len(theme.CIVIDIS) - 1) / max(1, len(order) - 1)
    return theme.CIVIDIS[round(at)]


def _markers(
    points: _Points,
    rows: list[int],
    kinds: tuple[str, str],
    colour: str,
    bits: int | None,
    table: ScoreTable,
    reference: ScoreTable,
) -> go.Scatter:
    """Draw the candidates of some weight bits."""
    x, y, errors = (each[rows] for each in (points.predicted, points.measured, points.errors))
    high, low = (
        _place(y + sign * np.nan_to_num(errors), points.measured, kinds[1]) for sign in (1, -1)
    )
    at = _place(y, points.measured, kinds[1])
    hover = []
    for row, r in enumerate(rows):
        each = points.candidates[r]
        for layer, name in enumerate(points.names):
            error = f" ± {number(e)}" if np.isfinite(e := float(errors[row, layer])) else ""
            hover.append(
                [
                    plain(name),
                    (f"{each.text}<br>" if each else "")
                    + f"predicted {number(float(x[row, layer]))} {plain(table.unit)}<br>"
                    f"measured {number(float(y[row, layer]))}{error} {plain(reference.unit)}",
                ]
            )
    return go.Scatter(
        x=_place(x, points.predicted, kinds[0]).ravel(),
        y=at.ravel(),
        mode="markers",
        name="layers" if bits is None else f"{bits} weight bits",
        marker={"size": 10, "color": colour, "line": {"width": 1, "color": theme.OUTLINE}},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": np.maximum(high - at, 0).ravel(),
            "arrayminus": np.maximum(at - low, 0).ravel(),
            "color": theme.OUTLINE,
            "thickness": 1.2,
            "width": 3,
        }
        if np.isfinite(errors).any()
        else None,
        customdata=hover,
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
    )


def _point_out(
    figure: go.Figure, points: _Points, kinds: tuple[str, str], selected: str | None
) -> None:
    """Draw rings round the selected layer's points."""
    if selected is None or selected not in points.names:
        return
    at = points.names.index(selected)
    x = _place(points.predicted[:, at], points.predicted, kinds[0])
    y = _place(points.measured[:, at], points.measured, kinds[1])
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="markers",
            name=plain(selected),
            marker={
                "size": 17,
                "color": theme.TRANSPARENT,
                "line": {"width": 2.5, "color": theme.ACCENT},
            },
            hoverinfo="skip",
        )
    )


def _made(table: ScoreTable, reference: ScoreTable) -> list[str]:
    """Say on which samples the two were made."""
    return [
        f"{what} on {each.n:,} {each.data} samples, seed {each.seed}"
        for what, each in (("predicted", table), ("measured", reference))
        if each.n
    ]
