"""How far the outputs of layers or blocks are from float, before and after they were trained."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.labels import layer_labels, plain
from analysis.records import FloatArray

_NEAREST, _TRAINED = "#8b93a3", theme.ACCENT


def unit_errors(
    logged: Sequence[str], log: FloatArray, names: Sequence[str], units: int = 0
) -> go.Figure:
    """Draw the relative output error of every unit, rounded to nearest and trained.

    Args:
        logged: Names of the columns, see :mod:`analysis.ptq.unit_log`.
        log: One row per unit, (U, columns).
        names: Of all layers of the network.
        units: How many there will be, where the training still runs.

    Raises:
        AnalysisError: If no unit was finished yet.
    """
    if not len(log):
        raise AnalysisError("A unit must be finished to be drawn, none is yet.")
    columns = dict(zip(logged, log.T, strict=True))
    first, count = columns["layer"].astype(int), columns["layers"].astype(int)
    short = [plain(label) for label in layer_labels(names)]
    labels = [
        short[i] if n == 1 else f"{short[i]} +{n - 1}" for i, n in zip(first, count, strict=True)
    ]
    taken = columns["taken"] == 1
    before = columns["error_nearest"]
    after = np.where(taken, columns["error_trained"], before)
    x = np.arange(len(log))
    figure = go.Figure()
    lines = (("rounded to nearest", before, _NEAREST), ("trained", after, _TRAINED))
    for title, values, colour in lines:
        figure.add_trace(
            go.Scatter(
                x=x,
                y=values,
                name=title,
                mode="lines+markers",
                line={"color": colour, "width": 1.5},
                marker={"color": colour, "size": 8},
                customdata=np.stack([labels, [f"{m:.1%}" for m in columns["moved"]]], axis=1),
                hovertemplate=(
                    f"<b>%{{customdata[0]}}</b><br>{title}: %{{y:.2%}} off float"
                    "<br>%{customdata[1]} of the roundings changed in training<extra></extra>"
                ),
            )
        )
    figure.update_yaxes(tickformat=".0%", rangemode="tozero", title_text="output error / output")
    figure.update_xaxes(
        tickvals=x, ticktext=labels, tickangle=-60, range=[-0.5, max(units, len(log)) - 0.5]
    )
    figure.update_layout(showlegend=False)
    kept = int((~taken).sum())
    facts = [
        f"<span style='color:{_NEAREST}'>■</span> rounded to nearest",
        f"<span style='color:{_TRAINED}'>■</span> trained, each behind those trained before it",
        "error relative to the float output, on held-out samples",
        f"{kept} kept rounded to nearest" if kept else "",
    ]
    median = [f"{float(np.median(values)):.1%}" for values in (before, after)]
    return theme.dress(
        figure,
        f"Median error {median[0]} rounded to nearest, {median[1]} trained",
        facts,
        height=340 + theme.LABEL_HEIGHT,
        alt=(
            f"Output errors of {len(log)} layers or blocks relative to float: {median[0]} in the "
            f"median rounded to nearest, {median[1]} trained."
        ),
    )
