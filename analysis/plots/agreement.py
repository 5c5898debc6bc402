"""Which metric to trust: rankings against a measured reference, and scores against it."""

from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.errors import AnalysisError
from analysis.plots import theme
from analysis.plots.labels import count, plain
from analysis.plots.predicted import predicted_against_measured as predicted_against_measured
from analysis.records import Agreement, Candidate, RankAgreement

ROW = 30
BASELINES = ("size_only", "parameter_count", "random")
BASELINE = "#8b93a3"
CEILING = "rgba(128, 140, 160, 0.2)"


def agreement_chart(agreement: Agreement, candidate: Candidate | None = None) -> go.Figure:
    """Draw how far each metric ranks the layers as the reference does, the best on top.

    Dots are Kendall's tau-b with its interval, the band is how far the reference agrees with
    itself. Baselines are grey. A metric that was computed from the samples of the reference has an
    open dot: it shares the noise of the reference. One without a ranking is last and says why.

    Args:
        agreement: From :func:`analysis.agreement.agreement`.
        candidate: At which to compare; None for all of them.

    Raises:
        AnalysisError: If nothing was compared, or not at this candidate.
    """
    if not agreement.metrics:
        raise AnalysisError("Agreement needs at least one metric beside the reference, got none.")
    if candidate is not None and candidate not in agreement.candidates:
        raise AnalysisError(
            f"Rankings were compared at {', '.join(c.text for c in agreement.candidates)}, not at "
            f"`{candidate.text}`. Choose one of them."
        )
    rows = [
        agreement.overall(at) if candidate is None else agreement.at(at, candidate)
        for at in range(len(agreement.metrics))
    ]
    rows.sort(key=lambda row: row.tau.value if row.tau else float("-inf"), reverse=True)
    figure = go.Figure()
    for baseline in (False, True):
        group = [at for at, row in enumerate(rows) if (row.metric in BASELINES) == baseline]
        figure.add_trace(_dots(agreement, rows, group, BASELINE if baseline else theme.ACCENT))
    ends = [end for row in rows if row.tau for end in (row.tau.low, row.tau.value)]
    low = min(-0.1, *ends) - 0.05 if ends else -0.15
    figure.update_layout(
        xaxis={
            "title": {
                "text": "Kendall's τ with the reference",
                "standoff": 8,
                "font": {"size": 13},
            },
            "range": [low, 1.03],
            "zeroline": False,
        },
        yaxis=_names(rows, [_label(row.title, row.metric) for row in rows]),
        yaxis2=_names(rows, [f"{row.tau.value:.2f}" if row.tau else "" for row in rows])
        | {"overlaying": "y", "side": "right", "ticklabelstandoff": 8},
    )
    # A second axis is drawn only where a trace has it.
    figure.add_trace(go.Scatter(x=[None], y=[None], yaxis="y2", hoverinfo="skip"))
    figure.add_vline(x=0, line={"color": theme.TEXT, "width": 1.5, "dash": "dash"}, layer="below")
    for at, row in enumerate(rows):
        if row.tau is None:
            figure.add_annotation(
                text=plain(f"no ranking: {row.reason}"),
                x=0,
                y=at,
                xanchor="left",
                xshift=6,
                showarrow=False,
                font={"size": 12},
            )
    where = "over all candidates" if candidate is None else f"at {candidate.text}"
    facts = [
        f"reference: {plain(agreement.title)}",
        str(agreement.options.get("protocol", "")),
        f"{agreement.data} set",
        f"n = {agreement.n:,}",
        count(len(agreement.layers), "layer"),
        f"{100 * agreement.level:g} % intervals over {agreement.resamples:,} draws of the layers",
        f"seed {agreement.seed}",
        "dashed: chance",
        _ceiling(figure, agreement, candidate),
        "grey: baselines" if any(row.metric in BASELINES for row in rows) else "",
        "open: computed from the reference's own samples"
        if any(row.metric in agreement.same_samples for row in rows)
        else "",
        "pairs of layers at the same candidate" if candidate is None else "",
    ]
    return theme.dress(
        figure,
        f"Agreement with the measured ranking {where}",
        facts,
        height=max(120, ROW * len(rows)) + 60,
        alt=_sentence(agreement, rows, where),
    )


def _dots(
    agreement: Agreement, rows: Sequence[RankAgreement], group: Sequence[int], colour: str
) -> go.Scatter:
    """Draw the metrics of a group at their places."""
    known = [at for at in group if rows[at].tau is not None]
    found = [rows[at].tau for at in known]
    taus = [each for each in found if each is not None]
    return go.Scatter(
        x=[tau.value for tau in taus],
        y=known,
        mode="markers",
        marker={
            "size": 11,
            "color": colour,
            "symbol": [
                "circle-open" if rows[at].metric in agreement.same_samples else "circle"
                for at in known
            ],
            "line": {"width": 2, "color": colour},
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, tau.high - tau.value) for tau in taus],
            "arrayminus": [max(0.0, tau.value - tau.low) for tau in taus],
            "color": colour,
            "thickness": 1.6,
            "width": 4,
        },
        customdata=[[plain(rows[at].title), _details(agreement, rows[at])] for at in known],
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
    )


def _details(agreement: Agreement, row: RankAgreement) -> str:
    """Return what is known of one ranking, as hover text."""
    lines = []
    for name, each in (("Kendall's τ", row.tau), ("Spearman's ρ", row.rho)):
        if each is not None:
            lines.append(f"{name} {each.value:.2f}, {each.low:.2f} to {each.high:.2f}")
    if row.overlap is not None:
        lines.append(f"{row.overlap:.0%} of the top {row.k} in common, by chance {row.chance:.0%}")
    lines.append(count(row.layers, "layer") + (f", {row.left_out} left out" * bool(row.left_out)))
    if row.metric in agreement.same_samples:
        lines.append("computed from the reference's own samples")
    return "<br>".join(lines)


def _label(title: str, metric: str, longest: int = 30) -> str:
    """Return a metric's name for the axis; what is grey is muted."""
    text = plain(title if len(title) <= longest else f"{title[: longest - 1]}…")
    return f"<span style='color:{BASELINE}'>{text}</span>" if metric in BASELINES else text


def _names(rows: Sequence[RankAgreement], texts: Sequence[str]) -> dict[str, object]:
    """Return an axis with one text beside each row."""
    return {
        "tickvals": list(range(len(rows))),
        "ticktext": list(texts),
        "range": [len(rows) - 0.5, -0.5],
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "ticklabelstandoff": 5,
        "tickfont": {"size": 13},
    }


def _ceiling(figure: go.Figure, agreement: Agreement, candidate: Candidate | None) -> str:
    """Draw the band of the reference's agreement with itself and say what it is."""
    if agreement.ceiling is None:
        return f"no ceiling: {plain(agreement.ceiling_reason)}" * bool(agreement.ceiling_reason)
    at = agreement.ceiling_at
    if candidate not in (None, at):
        return f"ceiling known at {at.text} only"
    ceiling = agreement.ceiling
    figure.add_vrect(
        x0=ceiling.low, x1=ceiling.high, fillcolor=CEILING, line_width=0, layer="below"
    )
    figure.add_vline(x=ceiling.value, line={"color": theme.OUTLINE, "width": 1.5}, layer="below")
    halves = f"halves of the reference's samples agree by {ceiling.value:.2f} at {at.text}"
    return f"band: the ceiling, {halves}"


def _sentence(agreement: Agreement, rows: Sequence[RankAgreement], where: str) -> str:
    """Name the metric that agrees best, the one that agrees least and the ceiling."""
    start = f"Kendall's tau of {count(len(rows), 'metric')} with {agreement.title} {where}"
    known = [row for row in rows if row.tau is not None]
    if not known:
        return f"{start}: none has a ranking."
    ends = [
        f"{what} {row.title} with {row.tau.value:.2f} ({row.tau.low:.2f} to {row.tau.high:.2f})"
        for what, row in (("best", known[0]), ("least", known[-1]))
        if row.tau is not None
    ]
    ceiling = (
        f"; the reference with itself {agreement.ceiling.value:.2f}" if agreement.ceiling else ""
    )
    return f"{start}: {', '.join(ends[: len(known)])}{ceiling}."
