"""One training run, epoch by epoch: a heat map of a statistic and a strip of ranges to play."""

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError, UnknownNameError
from analysis.plots import theme
from analysis.plots.axes import (
    layer_axis,
    layer_rows,
    mark_selected,
    outline_category,
    outlines,
)
from analysis.plots.boxes import (
    HOVER,
    READING,
    boxes,
    hover_data,
    row,
    scale_fact,
    scale_of,
    value_axis,
)
from analysis.plots.colours import HIGHEST, NO_VALUE, SCALE, Coding
from analysis.plots.diverging import DIVERGING, Symmetric, bar_above, make_room_above
from analysis.plots.labels import count, layer_labels, number, plain, ticks
from analysis.plots.roles import ROLE_WORDS
from analysis.plots.runs import check_role, said
from analysis.records import FloatArray, InitRun
from analysis.records.initialization import FOLLOWED, KEPT

RANGE = "range"
WORDS = {
    RANGE: "largest minus smallest value",
    "low": "smallest value",
    "high": "largest value",
    "mean": "mean",
    "std": "standard deviation",
    "kurtosis": "kurtosis",
    "q01": "1 % quantile",
    "q99": "99 % quantile",
    "acp": "average channel precision",
    "dead": "channels of one value",
}
CELL, LOWEST_HEIGHT, HIGHEST_HEIGHT = 22, 150, 860
STRIP, SLIDER = 300, 84


def epoch_heatmap(
    run: InitRun,
    role: str,
    statistic: str,
    selected: str | None = None,
    *,
    batchnorm: bool = True,
) -> go.Figure:
    """Draw a statistic of every layer at every epoch, one byte of colour a cell.

    Colours fade to zero where there are negative values. They are logarithmic where values are far
    apart. Cells without a finite value are grey, or empty among negative values; layers that have
    no such tensor have no row.

    Args:
        run: The run.
        role: One of :data:`analysis.records.initialization.FOLLOWED`.
        statistic: One of :data:`analysis.records.initialization.KEPT`, or ``range``.
        selected: Layer whose row is outlined.
        batchnorm: Whether the network has BatchNorms, which were folded.

    Raises:
        UnknownNameError: If there is no such tensor or statistic.
        AnalysisError: If no value is finite.
    """
    check_role(role)
    if statistic not in WORDS:
        raise UnknownNameError("statistic of a run", statistic, WORDS)
    values = run.ranges(role) if statistic == RANGE else run.statistic(role, statistic)
    absent = _without(run, role)
    held = [place for place, name in enumerate(run.layers) if name not in absent]
    values = values.T[held]  # (L, E + 1)
    if not np.isfinite(values).any():
        raise AnalysisError(
            f"No {WORDS[statistic]} of the {ROLE_WORDS[role]} is finite in this run"
            + (f", which diverged: {run.diverged}. " if run.diverged else ". ")
            + "Choose another run."
        )
    names = [run.layers[place] for place in held]
    look, scale_word = _colours(values)
    figure = go.Figure(
        go.Heatmap(
            x=np.arange(values.shape[1]),
            y=names,
            customdata=values.astype(np.float32),
            xgap=1 if values.shape[1] <= 60 else 0,
            ygap=1 if len(names) <= 60 else 0,
            hoverongaps=False,
            hovertemplate="<b>%{y}</b><br>epoch %{x}<br>%{customdata:.4g}<extra></extra>",
            **look,
        )
    )
    height = int(np.clip(CELL * len(names), LOWEST_HEIGHT, HIGHEST_HEIGHT))
    epochs, texts = ticks([f"{epoch}" for epoch in range(values.shape[1])], 16)
    figure.update_layout(
        xaxis={
            "title": {"text": "epoch (0: as initialized)", "standoff": 8, "font": {"size": 13}},
            "tickvals": epochs,
            "ticktext": texts,
            "range": [-0.5, values.shape[1] - 0.5],
            "tickfont": {"size": 12},
            "showgrid": False,
            "zeroline": False,
            "ticks": "",
        },
        yaxis=layer_rows(names, height),
    )
    if selected is not None and selected in names:
        outline_category(figure, "y", selected)
    unknown = int((~np.isfinite(values)).sum())
    facts = [
        *_facts(run, batchnorm),
        _none(absent),
        scale_word,
        f"{count(unknown, 'cell')} without a finite value" if unknown else "",
    ]
    title = f"{WORDS[statistic].capitalize()} of the {ROLE_WORDS[role]} by epoch"
    largest = np.unravel_index(int(np.nanargmax(np.abs(values))), values.shape)
    alt = (
        f"{title} in {count(len(names), 'layer')}: farthest from zero in {names[largest[0]]} at "
        f"epoch {largest[1]} with {number(float(values[largest]))}."
    )
    figure = theme.dress(figure, title, facts, height=height + 70, alt=alt)
    return make_room_above(figure, WORDS[statistic])


def epoch_animation(
    run: InitRun, role: str, selected: str | None = None, *, batchnorm: bool = True
) -> go.Figure:
    """Draw every layer from its smallest to its largest value, with a slider over the epochs.

    The slider ends at the last epoch that the run has seen.

    The axis is the same at every epoch. The custom data of every bar begin with the layer's name.

    Args:
        run: The run.
        role: One of :data:`analysis.records.initialization.FOLLOWED`.
        selected: Layer to point out.
        batchnorm: Whether the network has BatchNorms, which were folded.

    Raises:
        UnknownNameError: If there is no such tensor.
        AnalysisError: If nothing is finite.
    """
    check_role(role)
    kept = run.statistics[:, FOLLOWED.index(role)]  # (E + 1, L, 9)
    every = kept.reshape(-1, len(KEPT)).T
    if not np.isfinite(row(every, "high")).any():
        raise AnalysisError(
            f"No range of the {ROLE_WORDS[role]} is finite in this run. Choose another run."
        )
    last = _last(run, role)
    kept = kept[: last + 1]
    names = run.layers
    scale = scale_of(every)
    shown = [_frame(names, each.T, scale, selected) for each in kept]
    figure = go.Figure(
        data=shown[0],
        frames=[
            go.Frame(data=traces, name=f"{epoch}", traces=[0, 1, 2])
            for epoch, traces in enumerate(shown)
        ],
    )
    # Slanted labels and the title of the axis are between the plot and the slider.
    room = 60 + 5 * max(map(len, layer_labels(names)))
    figure.update_layout(
        barmode="overlay",
        xaxis=layer_axis(names) | {"ticklen": 4},
        yaxis=value_axis(every, scale, "value"),
        sliders=[_slider(len(kept), room)],
    )
    mark_selected(figure, names, selected)
    facts = [*_facts(run, batchnorm), _none(_without(run, role)), READING, scale_fact(scale)]
    medians = np.nanmedian(run.ranges(role)[[0, last]], axis=1)
    title = f"Ranges of the {ROLE_WORDS[role]} by epoch"
    alt = (
        f"{title} in {count(len(names), 'layer')}: the median range goes from "
        f"{number(float(medians[0]))} to {number(float(medians[1]))} in {count(last, 'epoch')}."
    )
    return theme.dress(figure, title, facts, height=STRIP + SLIDER + room, alt=alt)


def _colours(values: FloatArray) -> tuple[dict[str, object], str]:
    """Return the colours of a heat map's cells, and in words how they follow the values."""
    if np.nanmin(values) < 0:
        signed = Symmetric.of(values)
        return {
            "z": signed.position(values).astype(np.float32),
            "zmin": -1.0,
            "zmax": 1.0,
            "colorscale": DIVERGING,
            "colorbar": bar_above(*signed.ticks(5)),
        }, f"colours logarithmic above ±{signed.linear:g}" if signed.linear else "linear colours"
    coding = Coding.of(values)
    if coding.low == coding.high:
        # In the middle of the scale they would be nearly as grey as a missing value.
        return {
            "z": np.where(np.isfinite(values), HIGHEST, NO_VALUE).astype(np.uint8),
            "zmin": NO_VALUE,
            "zmax": HIGHEST,
            "colorscale": SCALE,
            "colorbar": bar_above([HIGHEST], [number(coding.high)]),
        }, "one value everywhere"
    return {
        "z": coding.codes(values),
        "zmin": NO_VALUE,
        "zmax": HIGHEST,
        "colorscale": SCALE,
        "colorbar": bar_above(*coding.ticks()),
    }, "logarithmic colours" if coding.logarithmic else "linear colours"


def _frame(
    names: tuple[str, ...], statistics: FloatArray, scale: Symmetric, selected: str | None
) -> list[object]:
    """Return the traces of one epoch."""
    return boxes(
        statistics,
        scale,
        customdata=hover_data([plain(name) for name in names], statistics),
        hover=f"<b>%{{customdata[0]}}</b><br>{HOVER}",
        lines=outlines(names, selected),
    )


def _slider(epochs: int, room: int) -> dict[str, object]:
    """Return a slider so many pixels below the plot that shows an epoch at once."""
    at_once = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}
    return {
        "active": 0,
        "x": 0,
        "len": 1,
        "y": 0,
        "yanchor": "top",
        "pad": {"t": room, "b": 8},
        "currentvalue": {"prefix": "epoch ", "font": {"size": 13}},
        "bgcolor": theme.GRID,
        "activebgcolor": theme.ACCENT,
        "bordercolor": theme.OUTLINE,
        "tickcolor": theme.OUTLINE,
        "font": {"size": 12},
        "steps": [
            {
                "label": f"{epoch}",
                "method": "animate",
                "args": [[f"{epoch}"], at_once | {"transition": {"duration": 0}}],
            }
            for epoch in range(epochs)
        ],
    }


def _last(run: InitRun, role: str) -> int:
    """Return the last epoch with a finite range."""
    return int(np.flatnonzero(np.isfinite(run.ranges(role)).any(axis=1))[-1])


def _without(run: InitRun, role: str) -> tuple[str, ...]:
    """Name the layers that have no tensor of this role.

    In a run that diverged a missing value may have been one that is not finite; then only the last
    layer is known to have nothing behind an activation function.
    """
    if run.diverged:
        return run.layers[-1:] if role == FOLLOWED[2] else ()
    known = np.isfinite(run.statistic(role, "low"))  # (E + 1, L)
    return tuple(name for at, name in enumerate(run.layers) if not known[:, at].any())


def _none(absent: tuple[str, ...]) -> str:
    """Say which layers have no such tensor, empty without any."""
    if not absent:
        return ""
    return f"{plain(', '.join(absent))} {'has' if len(absent) == 1 else 'have'} none"


def _facts(run: InitRun, batchnorm: bool) -> list[str]:
    """Say whose epochs these are."""
    return [
        f"{plain(run.initializer)}, {plain(run.architecture)}, seed {run.seed}",
        f"asked for {count(run.epochs, 'epoch')}" if run.diverged else count(run.epochs, "epoch"),
        "BatchNorm folded" if batchnorm else "",
        f"diverged: {said(run.diverged)}" if run.diverged else "",
    ]
