"""The accuracy that quantization costs networks trained from different initializers."""

from collections.abc import Sequence
from math import isfinite

import numpy as np
import plotly.graph_objects as go
from plotly.basedatatypes import BaseTraceType

from analysis.errors import AnalysisError, UnknownNameError
from analysis.plots import theme
from analysis.plots.lab_rows import Bar, bars_of
from analysis.plots.labels import count, plain
from analysis.plots.runs import (
    LEVEL,
    MEANINGFUL,
    Failed,
    data_of,
    diverged,
    interval,
    key,
    look,
    seeds,
    untrained,
)
from analysis.records import InitStudy
from analysis.records.initialization import APP, PAPER, RECIPES

ROW = 24
RECIPE_WORDS = {PAPER: "one min-max range per tensor", APP: "the app's default settings"}


def drop_bars(study: InitStudy, recipe: str, bits: int, failed: Failed = ()) -> go.Figure:
    """Draw the accuracy that quantization costs, by initializer and architecture.

    Bars are means over the seeds with their 95 % interval (Student's t over the seeds), dots the
    seeds. The accuracy of the float networks stands beside each bar, so that a network that trained
    badly is not taken for one that quantizes badly. Runs that diverged or failed to train have no
    dot and are in no bar: they are counted beside it.

    Args:
        study: The runs.
        recipe: One of :data:`analysis.records.initialization.RECIPES`.
        bits: Of weights and activations.
        failed: Runs that did not train.

    Raises:
        UnknownNameError: If there is no such recipe.
        AnalysisError: If there is no run, or one was not quantized to these bits.
    """
    if recipe not in RECIPES:
        raise UnknownNameError("recipe", recipe, RECIPES)
    if not study.runs:
        raise AnalysisError("Drops need at least one run, the study holds none. Train some first.")
    for run in study.runs:
        if bits not in run.bits:
            raise AnalysisError(
                f"Runs were quantized to {', '.join(map(str, run.bits))} bits, not to {bits}. "
                "Choose one of them."
            )
    bars = bars_of(study, recipe, bits, failed)
    figure = go.Figure()
    for at, architecture in enumerate(study.architectures):
        own = [bar for bar in bars if bar.architecture == architecture and bar.drops.size]
        if own:
            figure.add_traces(_drawn(own, look(at)[0]))
    for bar in bars:
        if not bar.drops.size:
            _nothing(figure, bar)
    figure.update_layout(
        xaxis={
            "title": {
                "text": "accuracy lost (percentage points)",
                "standoff": 8,
                "font": {"size": 13},
            },
            "tickfont": {"size": 12},
            "zeroline": True,
        },
        yaxis=_initializers(bars),
        yaxis2=_float_accuracy(bars),
    )
    # An axis is drawn only where a trace has it.
    for axis in ("y", "y2"):
        figure.add_trace(go.Scatter(x=[None], y=[None], yaxis=axis, hoverinfo="skip"))
    groups = [study.select(bar.initializer, bar.architecture) for bar in bars]
    facts = [
        *(key(look(at)[0], plain(name)) for at, name in enumerate(study.architectures)),
        f"weights and activations at {bits} bits",
        RECIPE_WORDS[recipe],
        data_of(study),
        f"n = {', '.join(f'{n:,}' for n in sorted({run.n for run in study.runs}))}",
        f"{seeds(groups)} each",
        _reading(bars),
        "right: float accuracy",
        diverged(groups),
        untrained(groups, failed),
    ]
    return theme.dress(
        figure,
        f"Accuracy lost at {bits} bits by initializer",
        facts,
        height=max(120, int(ROW * (bars[-1].row + 1))) + 70,
        alt=_sentence(bars, bits),
    )


def _reading(bars: Sequence[Bar]) -> str:
    """Say what bars and dots are."""
    most = max(bar.drops.size for bar in bars)
    if most < MEANINGFUL:
        return "bars: mean, too few seeds for an interval, dots: seeds"
    return f"bars: mean with {100 * LEVEL:g} % interval, dots: seeds"


def _drawn(bars: Sequence[Bar], colour: str) -> list[BaseTraceType]:
    """Return the bars of one architecture with their intervals, and the dots of their seeds."""
    found = [interval(bar.drops) for bar in bars]
    means = np.array([mean for mean, _, _ in found])
    half = np.array([high - mean for mean, _, high in found])
    return [
        go.Bar(
            x=means,
            y=np.array([bar.row for bar in bars]),
            orientation="h",
            width=0.8,
            marker={"color": colour, "opacity": 0.6, "line": {"width": 0}},
            error_x={
                "type": "data",
                "array": np.nan_to_num(half),
                "color": theme.TEXT,
                "thickness": 1.6,
                "width": 4,
            },
            customdata=[
                [plain(bar.initializer), _details(bar, *ends)]
                for bar, ends in zip(bars, found, strict=True)
            ],
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
        ),
        go.Scatter(
            x=np.concatenate([bar.drops for bar in bars]),
            y=np.concatenate([np.full(len(bar.drops), bar.row) for bar in bars]),
            mode="markers",
            marker={
                "size": 6,
                "color": colour,
                "line": {"width": 1, "color": theme.TEXT},
            },
            customdata=[
                [plain(bar.initializer), f"{plain(bar.architecture)}, seed {seed}", trained]
                for bar in bars
                for seed, trained in zip(bar.seeds, bar.floats.tolist(), strict=True)
            ],
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{x:.2f} points of "
            "%{customdata[2]:.2f} %<extra></extra>",
        ),
    ]


def _details(bar: Bar, mean: float, low: float, high: float) -> str:
    """Return what a bar's hover says."""
    ends = f"95 % interval {low:.2f} to {high:.2f}"
    if not isfinite(low):
        ends = (
            "one seed, so no interval" if bar.drops.size == 1 else "too few seeds for an interval"
        )
    floats, _, above = interval(bar.floats)
    spread = f" ± {above - floats:.2f}" if isfinite(above) else ""
    lines = [
        plain(bar.architecture),
        f"{mean:.2f} points lost, {ends}",
        f"float {floats:.2f}{spread} %",
        *(f"diverged, {each}" for each in bar.lost),
        f"{count(bar.failed, 'run')} failed to train" if bar.failed else "",
    ]
    return "<br>".join(line for line in lines if line)


def _nothing(figure: go.Figure, bar: Bar) -> None:
    """Say in place of a bar that none of its runs trained."""
    runs = count(len(bar.lost) + bar.failed, "run")
    how = (
        "all diverged"
        if not bar.failed
        else "all failed to train"
        if not bar.lost
        else "none trained"
    )
    figure.add_annotation(
        text=plain(f"{runs} of {bar.architecture}, {how}"),
        x=0,
        y=bar.row,
        xanchor="left",
        xshift=6,
        showarrow=False,
        font={"size": 12},
    )


def _initializers(bars: Sequence[Bar]) -> dict[str, object]:
    """Return the axis with the names of the initializers, each beside the middle of its bars."""
    rows: dict[str, list[float]] = {}
    for bar in bars:
        rows.setdefault(bar.initializer, []).append(bar.row)
    return _rows(bars) | {
        "tickvals": [sum(own) / len(own) for own in rows.values()],
        "ticktext": [plain(name) for name in rows],
        "title": {"text": "initializer", "standoff": 10, "font": {"size": 13}},
    }


def _float_accuracy(bars: Sequence[Bar]) -> dict[str, object]:
    """Return the axis on the right that says how well the float networks were trained."""
    texts = []
    for bar in bars:
        mean, _, high = interval(bar.accuracy)
        spread = f" ± {high - mean:.1f}" if isfinite(high) else ""
        parts = [f"{mean:.1f}{spread} %" if isfinite(mean) else "", bar.without]
        texts.append(", ".join(part for part in parts if part))
    return _rows(bars) | {
        "tickvals": [bar.row for bar in bars],
        "ticktext": texts,
        "overlaying": "y",
        "side": "right",
    }


def _rows(bars: Sequence[Bar]) -> dict[str, object]:
    return {
        "range": [bars[-1].row + 0.7, -0.7],
        "tickfont": {"size": 12},
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "ticklabelstandoff": 6,
    }


def _sentence(bars: Sequence[Bar], bits: int) -> str:
    """Name the worst and the best bar."""
    known = [bar for bar in bars if bar.drops.size]
    start = f"Accuracy lost at {bits} bits by initializer"
    if not known:
        every = "every run diverged" if not any(bar.failed for bar in bars) else "no run trained"
        return f"{start}: {every}."
    ranked = sorted(known, key=lambda bar: float(bar.drops.mean()))
    best, worst = ranked[0], ranked[-1]
    return (
        f"{start}: most from {worst.initializer} in {worst.architecture} with "
        f"{worst.drops.mean():.2f} points of {worst.floats.mean():.1f} %, least from "
        f"{best.initializer} in {best.architecture} with {best.drops.mean():.2f} points of "
        f"{best.floats.mean():.1f} %."
    )
