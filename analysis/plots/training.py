"""How a training went: what it is trained towards, and how much is decided."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.labels import number
from analysis.records import FloatArray

_HELD_OUT, _BATCH, _OPEN, _FIXED = theme.ACCENT, "#8b93a3", "#e08a1e", "#22a37a"


def training_curves(logged: tuple[str, ...], log: FloatArray, steps: int = 0) -> go.Figure:
    """Draw the divergence from the float network above, and the roundings below.

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
    x = columns["step"]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1)
    lines = (
        (1, "held_out_kl", "held out, hardened", _HELD_OUT, "%{y:.3g} nats"),
        (1, "logits_kl", "batch, as it is trained", _BATCH, "%{y:.3g} nats"),
        (2, "undecided", "undecided", _OPEN, "%{y:.1%}"),
        (2, "fixed", "fixed", _FIXED, "%{y:.1%}"),
    )
    for row, name, title, colour, hover in lines:
        figure.add_trace(
            go.Scatter(
                x=x,
                y=np.maximum(columns[name], 1e-9) if row == 1 else columns[name],
                name=title,
                mode="lines+markers" if len(x) < 30 else "lines",
                line={"color": colour, "width": 2},
                hovertemplate=f"<b>{title}</b> after step %{{x:,}}<br>{hover}<extra></extra>",
            ),
            row=row,
            col=1,
        )
    figure.update_yaxes(
        type="log", dtick=1, exponentformat="power", title_text="KL from float (nats)", row=1, col=1
    )
    figure.update_yaxes(
        range=[-0.03, 1.03], tickformat=".0%", title_text="share of roundings", row=2, col=1
    )
    figure.update_xaxes(range=[0, 1.02 * max(steps, float(x[-1]))])
    figure.update_xaxes(title_text="step", row=2, col=1)
    figure.update_layout(showlegend=False)
    kl, agreement = float(columns["held_out_kl"][-1]), float(columns["held_out_agreement"][-1])
    facts = [
        f"<span style='color:{_HELD_OUT}'>■</span> hardened, on held-out samples · "
        f"<span style='color:{_BATCH}'>■</span> as it is trained, on the batch",
        f"<span style='color:{_OPEN}'>■</span> undecided roundings · "
        f"<span style='color:{_FIXED}'>■</span> fixed ones",
    ]
    return theme.dress(
        figure,
        f"After {int(x[-1]):,} steps: {number(kl)} nats from float, {agreement:.1%} agree",
        facts,
        height=460,
        alt=(
            f"Training over {int(x[-1])} steps: the KL divergence of the hardened network on "
            f"held-out samples went from {number(float(columns['held_out_kl'][0]))} to "
            f"{number(kl)} nats, {columns['undecided'][-1]:.0%} of the roundings are undecided."
        ),
    )
