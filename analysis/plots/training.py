"""How a training went: what it is trained towards, its loss, and how much is decided."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.labels import number
from analysis.records import FloatArray

_GREY, _OPEN, _FIXED, _VIOLET = "#8b93a3", "#e08a1e", "#22a37a", "#9b6ad6"
# Row, column, title, colour, hover; parts of the loss that never occur are left out.
_LINES = (
    (1, "held_out_kl", "hardened, on held-out samples", theme.ACCENT, "%{y:.3g} nats"),
    (1, "logits_kl", "as it is trained, on the batch", _GREY, "%{y:.3g} nats"),
    (2, "loss", "loss", theme.ACCENT, "%{y:.3g}"),
    (2, "reconstruction", "errors of the layers", _GREY, "%{y:.3g}"),
    (2, "indecision", "indecision of the roundings", _VIOLET, "%{y:.3g}"),
    (3, "undecided", "undecided roundings", _OPEN, "%{y:.1%}"),
    (3, "fixed", "fixed ones", _FIXED, "%{y:.1%}"),
)


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
    x = columns["step"]
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for row, name, title, colour, hover in drawn:
        figure.add_trace(
            go.Scatter(
                x=x,
                y=np.maximum(columns[name], 1e-9) if row < 3 else columns[name],
                name=title,
                mode="lines+markers" if len(x) < 30 else "lines",
                line={"color": colour, "width": 2},
                hovertemplate=f"<b>{title}</b> after step %{{x:,}}<br>{hover}<extra></extra>",
            ),
            row=row,
            col=1,
        )
    for row, title in ((1, "KL from float (nats)"), (2, "loss, as share")):
        figure.update_yaxes(
            type="log", dtick=1, exponentformat="power", title_text=title, row=row, col=1
        )
    figure.update_yaxes(
        range=[-0.03, 1.03], tickformat=".0%", title_text="share of roundings", row=3, col=1
    )
    figure.update_xaxes(range=[0, 1.02 * max(steps, float(x[-1]))])
    figure.update_xaxes(title_text="step", row=3, col=1)
    figure.update_layout(showlegend=False)
    kl, agreement = float(columns["held_out_kl"][-1]), float(columns["held_out_agreement"][-1])
    return theme.dress(
        figure,
        f"After {int(x[-1]):,} steps: {number(kl)} nats from float, {agreement:.1%} agree",
        [_key(drawn, row) for row in (1, 2, 3)],
        height=600,
        alt=(
            f"Training over {int(x[-1])} steps: the KL divergence of the hardened network on "
            f"held-out samples went from {number(float(columns['held_out_kl'][0]))} to "
            f"{number(kl)} nats, {columns['undecided'][-1]:.0%} of the roundings are undecided."
        ),
    )


def _key(drawn: list[tuple[int, str, str, str, str]], row: int) -> str:
    """Return the names of a row's lines in their colours."""
    return " · ".join(
        f"<span style='color:{colour}'>■</span> {title}"
        for own, _, title, colour, _ in drawn
        if own == row
    )
