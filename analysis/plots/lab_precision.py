"""What initializers leave behind after training: how much of a layer's range its channels use."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.axes import layer_axis, mark_selected
from analysis.plots.labels import count, number, plain
from analysis.plots.roles import ROLE_WORDS
from analysis.plots.runs import (
    Failed,
    check_role,
    data_of,
    diverged,
    is_failed,
    legend_above,
    look,
    over_seeds,
    runs_of,
    seeds,
    untrained,
)
from analysis.records import FloatArray, InitRun, InitStudy

HEIGHT = 340
END = -1
# Between the dots of a layer, whose place is 1 wide, and from the first to the last.
CLOSEST, WIDEST = 0.12, 0.62


def acp_by_initializer(
    study: InitStudy,
    architecture: str,
    role: str = "weight",
    epoch: int = END,
    selected: str | None = None,
    failed: Failed = (),
) -> go.Figure:
    """Draw the average channel precision of every layer by initializer.

    Dots are means over the seeds, bars reach from the smallest to the largest. Runs that failed to
    train are left out. The custom data of every dot begin with the name of its layer.

    Args:
        study: The runs.
        architecture: Of the runs to draw.
        role: One of :data:`analysis.records.initialization.FOLLOWED`.
        epoch: 0 as initialized, -1 at the end of training.
        selected: Layer to point out.
        failed: Runs that did not train.

    Raises:
        UnknownNameError: If there is no such architecture or tensor.
        AnalysisError: If a run has no such epoch, or nothing is finite.
    """
    check_role(role)
    when = "after training" if epoch == END else f"at epoch {epoch}" if epoch else "as initialized"
    groups = runs_of(study, architecture)
    shortest = min(run.epochs for runs in groups.values() for run in runs)
    if not -1 <= epoch <= shortest:
        raise AnalysisError(
            f"The epoch must be from 0 to {shortest}, or -1 for the end, got {epoch}."
        )
    layers = next(iter(groups.values()))[0].layers
    figure, ends = go.Figure(), {}
    kept = {
        name: own
        for name, runs in groups.items()
        if (own := [run for run in runs if not is_failed(run, failed)])
    }
    # Closer together than layers are, so that dots of one layer are seen as such.
    step = min(CLOSEST, WIDEST / max(1, len(kept) - 1))
    for at, (name, runs) in enumerate(kept.items()):
        found = np.array([run.statistic(role, "acp")[epoch] for run in runs])  # (S, L)
        mean, low, high = over_seeds(found)
        if np.isfinite(mean).any():
            ends[name] = float(np.nanmean(mean))
        aside = step * (at - (len(kept) - 1) / 2)
        figure.add_trace(
            _dots(name, study.initializers.index(name), aside, layers, mean, low, high)
        )
    if not ends:
        raise AnalysisError(_nothing(groups, architecture, role, when, failed))
    figure.update_layout(
        xaxis=layer_axis(layers) | {"ticklen": 4},
        yaxis={
            "title": {"text": "average channel precision", "standoff": 10, "font": {"size": 13}},
            "range": [0, 1.03],
            "tickfont": {"size": 12},
        },
    )
    mark_selected(figure, layers, selected)
    facts = [
        plain(architecture),
        "mean channel range over the range of the layer",
        f"{seeds(groups.values())} each: mean, smallest to largest",
        data_of(study),
        diverged(groups.values()),
        untrained(groups.values(), failed),
    ]
    title = f"Channel precision of the {ROLE_WORDS[role]} {when}"
    best, worst = max(ends, key=ends.__getitem__), min(ends, key=ends.__getitem__)
    alt = (
        f"{title} in {count(len(layers), 'layer')} of {architecture}: mean over the layers highest "
        f"from {best} with {number(ends[best])}, lowest from {worst} with {number(ends[worst])}."
    )
    theme.dress(figure, title, facts, height=HEIGHT + theme.LABEL_HEIGHT, alt=alt)
    return legend_above(figure, list(kept))


def _nothing(
    groups: Mapping[str, Sequence[InitRun]],
    architecture: str,
    role: str,
    when: str,
    failed: Failed,
) -> str:
    """Say why there is nothing to draw."""
    runs = [run for own in groups.values() for run in own]
    lost = sum(bool(run.diverged) for run in runs)
    without = sum(is_failed(run, failed) for run in runs)
    counts = [f"{lost} diverged" if lost else "", f"{without} failed to train" if without else ""]
    why = " and ".join(text for text in counts if text)
    return (
        f"There is no channel precision of the {ROLE_WORDS[role]} of {architecture} {when}: of "
        f"{count(len(runs), 'run')} {why or 'each holds dead channels or single values only'}. "
        "Choose another architecture or other initializers."
    )


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
