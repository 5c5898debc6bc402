"""How a training went: what it is trained towards, its loss, and how much is decided."""

from math import log10

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.labels import number, scale_ticks, tick_texts
from analysis.records import FloatArray

_GREY, _OPEN, _FIXED, _VIOLET = "#8b93a3", "#e08a1e", "#22a37a", "#9b6ad6"
# Row, column, title, colour, hover; parts of the loss that never occur are left out.
_LINES = (
    (1, "held_out_kl", "hardened, on held-out samples", theme.ACCENT, "%{y:.3g} nats"),
    (1, "logits_kl", "as it is trained, on the batch", _GREY, "%{y:.3g} nats"),
    (2, "loss", "loss", theme.ACCENT, "%{y:.3g}"),
    (2, "reconstruction", "errors of the layers, 1: what their outputs vary", _GREY, "%{y:.3g}"),
    (2, "indecision", "indecision of the roundings", _VIOLET, "%{y:.3g}"),
    (3, "undecided", "undecided roundings", _OPEN, "%{y:.1%}"),
    (3, "fixed", "fixed ones", _FIXED, "%{y:.1%}"),
)
_ROWS = (1, 2, 3)
_KEY_HEIGHT = 18


def training_curves(logged: tuple[str, ...], log: FloatArray, steps: int = 0) -> go.Figure:
    """Draw the divergence from the float network, below it the loss, and the roundings.

    Args:
        logged: Names of the columns.
        log: One row per look, (R, columns).
        steps: Length of the whole training, where it still runs.

    Raises:
        AnalysisError: If nothing was logged yet.
    """
    if not len(log):
        raise AnalysisError("A training must have been looked at once to be drawn, it was not yet.")
    columns = dict(zip(logged, log.T, strict=True))
    if np.allclose(columns["loss"], columns["reconstruction"]):
        columns["loss"] = np.zeros(len(log))
    drawn = [line for line in _LINES if line[0] != 2 or columns[line[1]].any()]
    x, kl = columns["step"], columns["held_out_kl"]
    best = int(np.nanargmin(kl)) if np.isfinite(kl).any() else len(kl) - 1
    figure = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.1,
        subplot_titles=[_key(drawn, row) for row in _ROWS],
    )
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    values: dict[int, list[FloatArray]] = {row: [] for row in _ROWS}
    for row, name, title, colour, hover in drawn:
        y = np.maximum(columns[name], 1e-9) if row < 3 else columns[name]
        values[row].append(y)
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                name=title,
                mode="lines+markers" if len(x) < 30 else "lines",
                line={"color": colour, "width": 2},
                hovertemplate=f"<b>{title}</b> after step %{{x:,}}<br>{hover}<extra></extra>",
            ),
            row=row,
            col=1,
        )
    figure.add_trace(
        go.Scatter(
            x=[x[best]],
            y=[max(kl[best], 1e-9)],
            name="best",
            mode="markers",
            marker={"symbol": "diamond", "size": 11, "color": theme.ACCENT},
            hovertemplate="<b>best so far</b>, after step %{x:,}<br>%{y:.3g} nats<extra></extra>",
        ),
        row=1,
        col=1,
    )
    for row, title in ((1, "KL from float (nats)"), (2, "loss")):
        figure.update_yaxes(_log(np.concatenate(values[row]), title), row=row, col=1)
    figure.update_yaxes(
        range=[-0.03, 1.03], tickformat=".0%", title_text="share of roundings", row=3, col=1
    )
    figure.update_xaxes(range=[0, 1.02 * max(steps, float(x[-1]))])
    figure.update_xaxes(title_text="step", row=3, col=1)
    agreement = float(columns["held_out_agreement"][best])
    done = f"{int(x[-1]):,}" + (f" of {steps:,}" if steps > x[-1] else "")
    dressed = theme.dress(
        figure,
        f"After {done} steps: {number(float(kl[best]))} nats from float at best",
        [
            f"<span style='color:{theme.ACCENT}'>◆</span> best after step {int(x[best]):,}",
            f"{agreement:.1%} of the held-out samples predicted as float does",
        ],
        height=640,
        alt=(
            f"Training over {int(x[-1])} steps: the KL divergence of the hardened network on "
            f"held-out samples went from {number(float(kl[0]))} to {number(float(kl[-1]))} nats, "
            f"{number(float(kl[best]))} at best, {columns['undecided'][-1]:.0%} of the roundings "
            "are undecided."
        ),
    )
    # Room for the names of the first row's lines.
    dressed.update_layout(margin_t=dressed.layout.margin.t + _KEY_HEIGHT)
    return dressed.update_layout(height=dressed.layout.height + _KEY_HEIGHT)


def _key(drawn: list[tuple[int, str, str, str, str]], row: int) -> str:
    """Return the names of a row's lines in their colours."""
    return " · ".join(
        f"<span style='color:{colour}'>■</span> {title}"
        for own, _, title, colour, _ in drawn
        if own == row
    )


def _log(values: FloatArray, title: str) -> dict[str, object]:
    """Return a logarithmic axis around these values, with round numbers at its ticks."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.1, 1.0)
    low, high = low / 1.25, high * 1.25
    shown = scale_ticks(low, high, logarithmic=True, most=5)
    return {
        "type": "log",
        "range": [log10(low), log10(high)],
        "tickvals": shown,
        "ticktext": tick_texts(shown),
        "title_text": title,
    }
