"""What becomes of ranges from the first to the last epoch."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.labels import count, number, plain, ticks
from analysis.plots.log_axis import exponents, log_axis
from analysis.plots.roles import ROLE_WORDS
from analysis.plots.runs import (
    Failed,
    check_role,
    data_of,
    diverged,
    is_failed,
    layer_at,
    legend_above,
    look,
    over_seeds,
    runs_of,
    said,
    seeds,
    untrained,
)
from analysis.records import FloatArray, InitRun, InitStudy

HEIGHT = 380


def range_trajectories(
    study: InitStudy,
    architecture: str,
    role: str = "weight",
    layer: str | None = None,
    failed: Failed = (),
) -> go.Figure:
    """Draw ranges over the epochs, a line for each initializer.

    Lines are means over the seeds, bands reach from the smallest to the largest seed. A run that
    diverged counts until it did; a cross marks the last epoch at which all runs count. Lines of
    initializers from which no run trained are dotted.

    Args:
        study: The runs.
        architecture: Of the runs to draw.
        role: One of :data:`analysis.records.initialization.FOLLOWED`.
        layer: Whose range; None for the median over the layers.
        failed: Runs that did not train.

    Raises:
        UnknownNameError: If there is no such architecture, tensor or layer.
        AnalysisError: If no range is positive, or runs have different layers.
    """
    check_role(role)
    groups = runs_of(study, architecture)
    layers = next(iter(groups.values()))[0].layers
    at = None if layer is None else layer_at(layers, layer)
    figure = go.Figure()
    ends: dict[str, float] = {}
    all_values, zeros, crossed, dotted = [], 0, False, False
    for name, runs in groups.items():
        colour, symbol = look(study.initializers.index(name))
        values = _ranges(runs, role, at)
        zeros += int((values == 0).sum())
        mean, low, high = over_seeds(np.where(values > 0, values, np.nan))
        all_values += [low, high]
        ends[name] = float(mean[-1])
        figure.add_traces(_band(low, high, name, colour))
        nothing = all(run.diverged or is_failed(run, failed) for run in runs)
        dotted = dotted or nothing
        line = _line(name, mean, low, high, colour, symbol)
        figure.add_trace(line.update(line_dash="dot" if nothing else "solid"))
        cross = _cross(name, runs, values, mean, colour)
        if cross is not None:
            figure.add_trace(cross)
            crossed = True
    shown = np.concatenate(all_values)
    if not np.isfinite(shown).any():
        runs_lost = diverged(groups.values())
        raise AnalysisError(
            f"Ranges over the epochs need a positive one, and those of the {ROLE_WORDS[role]} of "
            f"`{architecture}` are all zero or missing{f': {runs_lost}' if runs_lost else ''}. "
            "Choose another tensor."
        )
    figure.update_layout(
        xaxis={
            "title": {"text": "epoch (0: as initialized)", "standoff": 8, "font": {"size": 13}},
            "showgrid": False,
            "zeroline": False,
            **epoch_ticks(max(run.epochs for runs in groups.values() for run in runs)),
        },
        yaxis=log_axis(exponents(shown), "largest minus smallest value"),
    )
    where = "median layer" if layer is None else plain(layer)
    facts = [
        plain(architecture),
        where,
        f"{seeds(groups.values())} each: mean, smallest to largest shaded",
        data_of(study),
        diverged(groups.values()) + (", ×: last epoch of all seeds" if crossed else ""),
        untrained(groups.values(), failed),
        "dotted: no run trained" if dotted else "",
        f"{count(zeros, 'range')} of zero left out" if zeros else "",
        "logarithmic axis",
    ]
    theme.dress(
        figure,
        f"Range of the {ROLE_WORDS[role]} through training",
        facts,
        height=HEIGHT,
        alt=_sentence(architecture, role, where, ends),
    )
    return legend_above(figure, list(groups))


def epoch_ticks(epochs: int) -> dict[str, object]:
    """Return ticks at whole epochs, 0 to the last."""
    places, texts = ticks([f"{epoch}" for epoch in range(epochs + 1)], 16)
    return {"tickvals": places, "ticktext": texts, "range": [-0.3, epochs + 0.3]}


def _ranges(runs: Sequence[InitRun], role: str, at: int | None) -> FloatArray:
    """Return ranges of one layer, or their median over the layers, (S, E + 1).

    Runs of fewer epochs, and what a diverged one does not have, are NaN.
    """
    found = np.full((len(runs), max(run.epochs for run in runs) + 1), np.nan)
    for seed, run in enumerate(runs):
        ranges = run.ranges(role)
        # The median of a row with a NaN is NaN: an epoch without all layers does not count.
        found[seed, : len(ranges)] = np.median(ranges, axis=1) if at is None else ranges[:, at]
    return found


def _line(
    name: str, mean: FloatArray, low: FloatArray, high: FloatArray, colour: str, symbol: str
) -> go.Scatter:
    """Draw the means over the seeds."""
    return go.Scatter(
        x=np.arange(len(mean)),
        y=mean,
        mode="lines+markers",
        name=plain(name),
        legendgroup=name,
        line={"color": colour, "width": 2.2},
        marker={"color": colour, "symbol": symbol, "size": 8},
        customdata=np.stack([low, high], axis=1),
        hovertemplate=f"<b>{plain(name)}</b><br>epoch %{{x}}: mean %{{y:.3g}}<br>"
        "seeds %{customdata[0]:.3g} to %{customdata[1]:.3g}<extra></extra>",
    )


def _band(low: FloatArray, high: FloatArray, name: str, colour: str) -> list[go.Scatter]:
    """Shade from the smallest to the largest seed."""
    known = np.isfinite(low)
    places = np.flatnonzero(known)
    if not places.size:
        return []
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return [
        go.Scatter(
            x=np.concatenate([places, places[::-1]]),
            y=np.concatenate([high[known], low[known][::-1]]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=f"rgba({red}, {green}, {blue}, 0.16)",
            legendgroup=name,
            showlegend=False,
            hoverinfo="skip",
        )
    ]


def _cross(
    name: str, runs: Sequence[InitRun], values: FloatArray, mean: FloatArray, colour: str
) -> go.Scatter | None:
    """Mark the last epoch at which all seeds count, None where all count to the end."""
    lost = [run for run in runs if run.diverged]
    whole = np.flatnonzero(np.isfinite(values).all(axis=0))
    if not lost or not whole.size or whole[-1] == len(mean) - 1:
        return None
    reasons = "<br>".join(f"seed {run.seed}: {said(run.diverged)}" for run in lost)
    return go.Scatter(
        x=[int(whole[-1])],
        y=[float(mean[whole[-1]])],
        mode="markers",
        legendgroup=name,
        showlegend=False,
        marker={"symbol": "x-thin", "size": 14, "line": {"width": 3, "color": colour}},
        hovertemplate=f"<b>{plain(name)}</b><br>{reasons}<extra></extra>",
    )


def _sentence(architecture: str, role: str, where: str, ends: dict[str, float]) -> str:
    """Name the initializers with the widest and the narrowest range at the end."""
    known = {name: end for name, end in ends.items() if np.isfinite(end)}
    start = f"Range of the {ROLE_WORDS[role]} of {architecture} ({where}) through training"
    if not known:
        return f"{start}: no run reached the end."
    wide, narrow = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    return (
        f"{start}: at the end widest from {wide} with {number(known[wide])}, narrowest from "
        f"{narrow} with {number(known[narrow])}."
    )
