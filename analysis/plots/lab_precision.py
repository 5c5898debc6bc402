"""What initializers leave behind after training: how much of a layer's range its channels use."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.axes import layer_axis, mark_selected
from analysis.plots.labels import count, number, plain
from analysis.plots.roles import ROLE_WORDS
from analysis.plots.runs import (
    check_role,
    diverged,
    legend_above,
    look,
    over_seeds,
    runs_of,
    seeds,
)
from analysis.records import FloatArray, InitStudy

HEIGHT = 340
END = -1


def acp_by_initializer(
    study: InitStudy,
    architecture: str,
    role: str = "weight",
    epoch: int = END,
    selected: str | None = None,
) -> go.Figure:
    """Draw the average channel precision of every layer by initializer.

    Dots are means over the seeds, bars reach from the smallest to the largest. The custom data of
    every dot begin with the name of its layer.

    Args:
        study: The runs.
        architecture: Of the runs to draw.
        role: One of :data:`analysis.records.initialization.FOLLOWED`.
        epoch: 0 as initialized, -1 at the end of training.
        selected: Layer to point out.

    Raises:
        UnknownNameError: If there is no such architecture or tensor.
        AnalysisError: If a run has no such epoch, or nothing is finite.
    """
    check_role(role)
    groups = runs_of(study, architecture)
    shortest = min(run.epochs for runs in groups.values() for run in runs)
    if not -1 <= epoch <= shortest:
        raise AnalysisError(
            f"The epoch must be from 0 to {shortest}, or -1 for the end, got {epoch}."
        )
    layers = next(iter(groups.values()))[0].layers
    figure, ends = go.Figure(), {}
    for at, (name, runs) in enumerate(groups.items()):
        found = np.array([run.statistic(role, "acp")[epoch] for run in runs])  # (S, L)
        mean, low, high = over_seeds(found)
        if np.isfinite(mean).any():
            ends[name] = float(np.nanmean(mean))
        aside = 0.62 * (at / max(1, len(groups) - 1) - 0.5) if len(groups) > 1 else 0.0
        figure.add_trace(
            _dots(name, study.initializers.index(name), aside, layers, mean, low, high)
        )
    if not ends:
        raise AnalysisError(
            f"No channel precision of the {ROLE_WORDS[role]} of `{architecture}` is finite at this "
            "epoch: every run diverged, or every channel is dead. Choose another epoch."
        )
    figure.update_layout(
        xaxis=layer_axis(layers) | {"ticklen": 4},
        yaxis={
            "title": {"text": "average channel precision", "standoff": 10, "font": {"size": 13}},
            "range": [0, 1.03],
            "tickfont": {"size": 12},
        },
    )
    mark_selected(figure, layers, selected)
    when = "after training" if epoch == END else f"at epoch {epoch}" if epoch else "as initialized"
    facts = [
        plain(architecture),
        "mean channel range over the range of the layer",
        f"{seeds(groups.values())} each: mean, smallest to largest",
        plain(study.data),
        diverged(groups.values()),
    ]
    title = f"Channel precision of the {ROLE_WORDS[role]} {when}"
    best, worst = max(ends, key=ends.__getitem__), min(ends, key=ends.__getitem__)
    alt = (
        f"{title} in {count(len(layers), 'layer')} of {architecture}: mean over the layers highest "
        f"from {best} with {number(ends[best])}, lowest from {worst} with {number(ends[worst])}."
    )
    theme.dress(figure, title, facts, height=HEIGHT + theme.LABEL_HEIGHT, alt=alt)
    return legend_above(figure, list(groups))


def _dots(
    name: str,
    at: int,
    aside: float,
    layers: Sequence[str],
    mean: FloatArray,
    low: FloatArray,
    high: FloatArray,
) -> go.Scatter:
    """Draw one initializer, beside the others' dots at each layer."""
    colour, symbol = look(at)
    return go.Scatter(
        x=np.arange(len(layers)) + aside,
        y=mean,
        mode="markers",
        name=plain(name),
        marker={"size": 8, "color": colour, "symbol": symbol},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": np.nan_to_num(high - mean),
            "arrayminus": np.nan_to_num(mean - low),
            "color": colour,
            "thickness": 1.4,
            "width": 0,
        },
        customdata=[
            [plain(layer), f"{number(float(least))} to {number(float(most))}"]
            for layer, least, most in zip(layers, low, high, strict=True)
        ],
        hovertemplate=f"<b>%{{customdata[0]}}</b><br>{plain(name)} %{{y:.3f}}<br>"
        "seeds %{customdata[1]}<extra></extra>",
    )
