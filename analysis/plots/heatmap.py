"""Scores of every sample in every layer as a heat map."""

from typing import Literal

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.axes import layer_rows, outline_category
from analysis.plots.colours import HIGHEST, NO_VALUE, SCALE, Coding
from analysis.plots.labels import count, number, plain, ticks
from analysis.records import FloatArray, IntArray, ScoreTable

SAMPLE_TICKS = 24
ROW, LOWEST_HEIGHT, HIGHEST_HEIGHT = 22, 150, 860


def attention_heatmap(
    scores: ScoreTable,
    order: Literal["score", "network"] = "score",
    max_samples: int = 512,
    *,
    sort_samples: bool = True,
    layer: str | None = None,
    sample: int | None = None,
) -> go.Figure:
    """Draw layers x samples, one byte of colour a cell, with the true value on hover.

    Args:
        scores: With ``per_sample`` of shape (N, L).
        order: Layers by their mean, the worst on top, or as the network calls them.
        max_samples: With more samples than this, that many are drawn, evenly spaced in the order
            of their totals, both ends included.
        sort_samples: Draw the sample with the largest total first instead of by number.
        layer: Selected layer, whose row is outlined.
        sample: Selected sample, whose column is outlined; it is always drawn.

    Raises:
        AnalysisError: If the metric gives no scores per sample.
    """
    if scores.per_sample is None:
        raise AnalysisError(
            f"A heat map needs scores per sample, and `{scores.metric}` gives none. "
            "Choose a metric that does, such as `hessian_attention`."
        )
    if max_samples < 1:
        raise AnalysisError(f"max_samples must be at least 1, got {max_samples}.")
    samples = _samples(scores.per_sample, max_samples, sort_samples, sample)
    rows = _rows(scores.per_sample, order)
    values = scores.per_sample[samples][:, rows].T  # (L, N)
    names = [scores.layers[row] for row in rows]
    coding = Coding.of(values)
    tick_codes, tick_texts = coding.ticks()
    unit = plain(scores.per_sample_unit)
    figure = go.Figure(
        go.Heatmap(
            z=coding.codes(values),
            customdata=values.astype(np.float32),
            x=[f"{sample}" for sample in samples],
            y=list(names),
            zmin=NO_VALUE,
            zmax=HIGHEST,
            colorscale=SCALE,
            colorbar=theme.colour_bar(unit, tick_codes, tick_texts),
            hovertemplate="<b>%{y}</b><br>sample %{x}<br>%{customdata:.4g} "
            f"{unit}<extra></extra>",
        )
    )
    height = int(np.clip(ROW * len(names), LOWEST_HEIGHT, HIGHEST_HEIGHT))
    sample_positions, sample_texts = ticks([f"{sample}" for sample in samples], SAMPLE_TICKS)
    figure.update_layout(
        xaxis={
            "type": "category",
            "title": {
                "text": "sample number" + (", largest total first" if sort_samples else ""),
                "standoff": 8,
                "font": {"size": 13},
            },
            "tickvals": sample_texts,
            "ticktext": sample_texts,
            "range": [-0.5, len(samples) - 0.5],
            "tickangle": 0 if len(sample_positions) <= 12 else 45,
            "tickfont": {"size": 12},
            "showgrid": False,
            "ticks": "",
            "ticklabelstandoff": 5,
        },
        yaxis=layer_rows(names, height),
    )
    if layer is not None and layer in names:
        outline_category(figure, "y", layer)
    if sample is not None and sample in samples:
        outline_category(figure, "x", f"{sample}")
    unknown = int((~np.isfinite(values)).sum())
    total = len(scores.per_sample)
    facts = [
        unit,
        "exact" if scores.exact else "estimated",
        scores.protocol,
        f"{scores.data} set",
        f"n = {total:,}",
        f"seed {scores.seed}",
        f"{len(samples):,} samples drawn, evenly by total" if len(samples) < total else "",
        "worst layer on top" if order == "score" else "network order",
        "logarithmic colours" if coding.logarithmic else "linear colours",
        f"{count(coding.zeros, 'zero')} in the lowest colour" if coding.zeros else "",
        "negative values present" if np.nanmin(values, initial=0.0) < 0 else "",
        f"{count(unknown, 'cell')} without a finite value in grey" if unknown else "",
    ]
    alt = _sentence(names, samples, values, scores.per_sample_unit)
    title = f"{plain(scores.title)} per sample"
    return theme.dress(figure, title, facts, height=height + 70, alt=alt)


def _samples(per_sample: FloatArray, most: int, ranked: bool, selected: int | None) -> IntArray:
    """Return the numbers of the samples to draw, in the order to draw them."""
    totals = np.where(np.isfinite(per_sample), per_sample, 0.0).sum(axis=1)
    order = np.argsort(-totals, kind="stable")
    if len(order) > most:
        places = np.rint(np.linspace(0, len(order) - 1, most)).astype(np.int64)
        if selected is not None and selected in order:
            place = int(np.flatnonzero(order == selected)[0])
            places[np.abs(places - place).argmin()] = place
        order = order[places]
    return order if ranked else np.sort(order)


def _rows(per_sample: FloatArray, order: str) -> IntArray:
    """Return the layers from top to bottom; those without any finite value come last."""
    known = np.isfinite(per_sample)
    if order == "network":
        return np.arange(per_sample.shape[1])
    sums = np.where(known, per_sample, 0.0).sum(axis=0)
    means = np.where(known.any(axis=0), sums / np.maximum(known.sum(axis=0), 1), -np.inf)
    return np.argsort(-means, kind="stable")


def _sentence(names: list[str], samples: IntArray, values: FloatArray, unit: str) -> str:
    """Say how large the map is and where its largest value lies."""
    start = f"Heat map of {count(len(names), 'layer')} by {count(len(samples), 'sample')}"
    if not np.isfinite(values).any():
        return f"{start}, without a finite value."
    finite = np.where(np.isfinite(values), values, -np.inf)
    row, place = np.unravel_index(int(np.argmax(finite)), values.shape)
    return (
        f"{start}, largest value {number(values[row, place])} {unit} "
        f"in {names[row]} for sample {samples[place]}."
    )
