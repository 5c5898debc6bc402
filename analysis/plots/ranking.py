"""Scores of the layers as bars."""

from typing import Literal

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError, UnknownNameError
from analysis.plots import theme
from analysis.plots.axes import layer_axis, mark_pinned, mark_selected, outlines
from analysis.plots.colours import HIGHEST, LOWEST, Coding
from analysis.plots.labels import count, is_wide, number, plain
from analysis.records import NOISE, Candidate, FloatArray, LayerTable, ScoreTable

HEIGHT = 330


def ranking(
    scores: ScoreTable,
    candidate: Candidate | None,
    selected: str | None = None,
    *,
    order: Literal["network", "score"] = "network",
    table: LayerTable | None = None,
) -> go.Figure:
    """Draw one bar per layer with its standard error.

    The axis is logarithmic when every score is positive and they lie more than 100 times apart.
    Negative bars are hatched. ``customdata`` holds the full layer names.

    Args:
        scores: Values of shape (L,) or (L, C).
        candidate: Which of the C candidates; None for a metric without candidates.
        selected: Layer to point out.
        order: As the network calls the layers, or the worst first.
        table: Where given, its pinned layers are marked.

    Raises:
        AnalysisError: If the metric needs a candidate, or has none.
        UnknownNameError: If the candidate was not scored.
    """
    values, errors = column(scores, candidate)
    places = np.arange(len(values))
    if order == "score":
        places = np.argsort(-np.where(np.isfinite(values), values, -np.inf), kind="stable")
    names = [scores.layers[place] for place in places]
    values = values[places]
    errors = None if errors is None else errors[places]
    known = np.isfinite(values)
    negative, wide = values < 0, is_wide(values)
    figure = go.Figure(
        go.Bar(
            x=np.arange(len(names)),
            y=values,
            customdata=[
                [plain(name), _error(errors, at), _decibels(scores, values[at])]
                for at, name in enumerate(names)
            ],
            error_y=None if errors is None else _error_bars(errors),
            marker={
                "color": Coding.of(values).position(values),
                "colorscale": theme.SCALE,
                "cmin": LOWEST,
                "cmax": HIGHEST,
                "line": outlines(names, selected),
                "pattern": {
                    "shape": ["/" if below else "" for below in negative],
                    "fillmode": "overlay",
                    "fgcolor": theme.MISSING,
                    "solidity": 0.35,
                },
            },
            hovertemplate="<b>%{customdata[0]}</b><br>score %{y:.4g}%{customdata[1]} "
            f"{plain(scores.unit)}%{{customdata[2]}}<extra></extra>",
        )
    )
    figure.update_layout(
        bargap=0.18 if len(names) < 100 else 0.05,
        xaxis=layer_axis(
            names, "layer, in network order" if order == "network" else "layer, worst score first"
        ),
        yaxis={
            "title": {
                "text": f"score ({plain(scores.unit)})",
                "standoff": 10,
                "font": {"size": 13},
            },
            "tickfont": {"size": 12},
            "type": "log" if wide else "linear",
            "exponentformat": "power",
            "dtick": 1 if wide else None,
        },
    )
    if wide:
        figure.update_yaxes(range=_log_range(values[known]))
    pinned = {layer.name for layer in table.layers if layer.pinned} if table else set()
    mark_selected(figure, names, selected)
    mark_pinned(figure, names, pinned)
    facts = [
        plain(scores.unit),
        scores.protocol,
        f"{scores.data} set" if scores.n else "no samples read",
        f"n = {scores.n:,}" if scores.n else "",
        f"seed {scores.seed}",
        "± 1 standard error" if errors is not None else "",
        _decibel_range(scores, values[known]),
        "logarithmic axis" if wide else "",
        f"{count(int(negative.sum()), 'negative score')} hatched" if negative.any() else "",
        f"{count(int((~known).sum()), 'layer')} without a finite score" if not known.all() else "",
        f"{theme.PINNED} pinned" if pinned & set(names) else "",
    ]
    title = plain(scores.title) + (f" at {candidate.text}" if candidate else "")
    alt = _sentence(scores, title, names, values)
    return theme.dress(figure, title, facts, height=HEIGHT + theme.LABEL_HEIGHT, alt=alt)


def column(scores: ScoreTable, candidate: Candidate | None) -> tuple[FloatArray, FloatArray | None]:
    """Return the scores (L,) of one candidate, and their standard errors where known.

    Raises:
        AnalysisError: If the metric needs a candidate, or has none.
        UnknownNameError: If the candidate was not scored.
    """
    if scores.values.ndim == 1:
        if candidate is not None:
            raise AnalysisError(
                f"`{scores.metric}` gives one score per layer, whatever its bits, so no candidate "
                f"can be chosen; got `{candidate.text}`. Leave the candidate out."
            )
        return scores.values, scores.stderr
    known = [c.text for c in scores.candidates]
    if candidate is None:
        raise AnalysisError(
            f"`{scores.metric}` scores candidates, so one must be chosen to rank layers; got none. "
            f"Choose one of {', '.join(known)}."
        )
    if candidate not in scores.candidates:
        raise UnknownNameError("scored candidate", candidate.text, known)
    at = scores.candidates.index(candidate)
    return scores.values[:, at], None if scores.stderr is None else scores.stderr[:, at]


def _error_bars(errors: FloatArray) -> dict[str, object]:
    """Return Plotly's error bars; below zero they end at the foot of a logarithmic axis."""
    width = 3 if len(errors) < 60 else 0
    return {"type": "data", "array": errors, "color": "#8b93a3", "thickness": 1.2, "width": width}


def _error(errors: FloatArray | None, at: int) -> str:
    """Return the standard error as hover text."""
    return "" if errors is None or not np.isfinite(errors[at]) else f" ± {number(errors[at])}"


def _log_range(values: FloatArray) -> list[float]:
    """Return the exponents between which all bars have some height."""
    low, high = float(np.log10(values.min())), float(np.log10(values.max()))
    return [low - 0.08 * (high - low), high + 0.08 * (high - low)]


def _sentence(scores: ScoreTable, title: str, names: list[str], values: FloatArray) -> str:
    """Say which layer is worst and which is best."""
    known = np.flatnonzero(np.isfinite(values))
    start = f"{title}: bars of {count(len(names), 'layer')}"
    if not known.size:
        return f"{start}, none with a finite score."
    worst, best = known[np.argmax(values[known])], known[np.argmin(values[known])]
    return (
        f"{start}, worst {names[worst]} with {number(values[worst])}, "
        f"best {names[best]} with {number(values[best])} {scores.unit}."
    )


def _decibels(scores: ScoreTable, value: float) -> str:
    """Return a noise-to-signal ratio as SQNR for a hover, empty for other scores."""
    if scores.unit != NOISE or not value > 0:
        return ""
    return f" = SQNR {-10 * np.log10(value):.1f} dB"


def _decibel_range(scores: ScoreTable, values: FloatArray) -> str:
    """Say the SQNR of the worst and the best layer, empty for other scores."""
    noisy = values[values > 0]
    if scores.unit != NOISE or not len(noisy):
        return ""
    worst, best = -10 * np.log10(noisy.max()), -10 * np.log10(noisy.min())
    return f"SQNR {worst:.1f} dB at the worst layer, {best:.1f} dB at the best"
