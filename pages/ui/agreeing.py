"""What the agreement page shows: metrics by layers, correlations, predictions, allocations."""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from analysis import catalog, workflow
from analysis.plots.agreement import agreement_chart, predicted_against_measured
from analysis.plots.rank_table import rank_table
from analysis.records import Agreement, Budget, Candidate, Contest, ScoreTable
from analysis.sensitivity import METRICS
from analysis.verdict import verdict
from pages.ui import charts, forms, resources, session, shell, words, work
from pages.ui.session import Key
from pages.ui.shell import Page

# Quick ones: a user can add the others, whose estimates are shown before anything starts.
_USUAL = (
    "hessian_attention",
    "hessian_attention_diagonal",
    "fisher_output",
    "output_kl",
    "output_sqnr",
    "layer_sqnr",
    "weight_mse",
    "orthogonality",
    "size_only",
    "random",
)
_ROW = 36


@dataclass(frozen=True, slots=True)
class Asked:
    """What to compare."""

    metrics: tuple[str, ...]
    reference: str
    data: str
    candidates: tuple[Candidate, ...]
    memory_mib: int


def ask(page: Page) -> Asked | None:
    """Draw the choice of metrics and of what they are compared with."""
    reasons = {m.name: workflow.unmet(m.name, page.study) for m in METRICS}
    met = [name for name, reason in reasons.items() if not reason]
    metrics = st.multiselect(
        "Metrics",
        met,
        [name for name in _USUAL if name in met],
        format_func=lambda n: METRICS[n].title,
        key="agreement-metrics",
        persist_state="session",
    )
    for name, reason in reasons.items():
        if reason:
            st.markdown(f":gray[:material/block: {METRICS[name].title} is not offered: {reason}.]")
    references = [name for name in workflow.REFERENCES if name in met]
    left, middle, right = st.columns([4, 4, 3], vertical_alignment="bottom")
    with left:
        reference = st.selectbox(
            "Compared with, measured",
            references,
            format_func=lambda n: METRICS[n].title,
            key="agreement-reference",
            persist_state="session",
        )
    with middle:
        data = st.segmented_control(
            "Measured on",
            ("evaluation", "calibration"),
            default="evaluation",
            required=True,
            key="agreement-data",
            persist_state="session",
            help="Metrics are always computed on the calibration set. Measuring on the same "
            "samples flatters those that look at the outputs.",
        )
    with right, st.popover("Options", icon=":material/tune:", width="stretch"):
        candidates = forms.candidates("agreement-candidates")
        memory = forms.memory("agreement-memory")
    if not metrics or not candidates:
        st.info("Choose at least one metric and one candidate.")
        return None
    return Asked(tuple(metrics), str(reference), str(data), candidates, memory)


def rankings(page: Page, asked: Asked) -> None:
    """Draw ranks by metric and layer, correlations with the reference, and the verdict."""
    step = workflow.agree(
        resources.workspace(),
        page.study,
        asked.metrics,
        asked.reference,
        data=asked.data,
        candidates=asked.candidates,
        memory_mib=asked.memory_mib,
    )
    found = work.obtain(step, "Compare the metrics", _estimate(page, asked))
    if found is None:
        shell.command(step.command)
        return
    for sentence in verdict(found):
        st.markdown(f"- {sentence}")
    charts.draw(agreement_chart(found), key="agreement-chart")
    _correlations(found)
    texts = [c.text for c in found.candidates]
    candidate = found.candidates[
        texts.index(
            st.segmented_control(
                "Quantized to",
                texts,
                default=texts[0],
                required=True,
                key="agreement-candidate",
            )
        )
    ]
    tables = _tables(page, asked)
    charts.draw(
        rank_table(list(tables.values()), candidate, session.layer() or None),
        key="rank-table",
    )
    _scatter(page, asked, tables)
    shell.command(step.command)


def accuracies(page: Page, asked: Asked) -> None:
    """Draw what the allocations measure that the metrics lead to at one budget."""
    limit = st.number_input(
        "Size, share of w8a8",
        0.2,
        1.0,
        0.5,
        0.05,
        key="contest-size",
        persist_state="session",
        width=220,
    )
    budget = Budget(resource="size", limit=float(limit))
    step = workflow.contest(
        resources.workspace(),
        page.study,
        asked.metrics,
        budget,
        candidates=asked.candidates,
        memory_mib=asked.memory_mib,
    )
    n = page.study.evaluation.n
    found = work.obtain(
        step,
        "Measure the allocations",
        f"{len(asked.metrics)} allocations of {n:,} samples; about 1 s each for the demo",
    )
    if found is not None:
        st.markdown(contest_words(found))
        _contest_table(found)
    shell.command(step.command)


def contest_words(found: Contest) -> str:
    """Say which metric leads to the best allocation, and who is as good within the noise."""
    best = METRICS[found.metrics[found.best]].title
    measured = found.configurations[found.best].measured
    worse = [
        METRICS[name].title
        for name, versus in zip(found.metrics, found.versus_best, strict=True)
        if words.significant(versus)
    ]
    others = len(found.metrics) - 1 - len(worse)
    what = words.accuracy(measured) if measured.labelled else f"KL {measured.kl:.3g} nats"
    text = f"**{best}** leads to {what}."
    if worse:
        text += f" Outside the noise, it is better than {', '.join(worse)}."
    if others:
        text += (
            f" {others} other{'s are' if others > 1 else ' is'} inside the noise of it: the data "
            "do not tell them apart."
        )
    return f"{text} The best of several is chosen after the fact, its lead is optimistic."


def _contest_table(found: Contest) -> None:
    rows = []
    for place, (name, each, versus) in enumerate(
        zip(found.metrics, found.configurations, found.versus_best, strict=True)
    ):
        measured = each.measured
        row: dict[str, object] = {"Metric": METRICS[name].title}
        if measured.labelled:
            row |= {
                "Measured": 100 * measured.top1,
                "Interval": f"{100 * measured.low:.1f}-{100 * measured.high:.1f}",
                "Versus best": "best" if place == found.best else words.difference(versus),
            }
        row |= {
            "KL": measured.kl,
            "Size": each.costs.size_mib,
            "Weight bits": each.costs.avg_weight_bits,
            "Bits": workflow.summary(each.allocation),
        }
        rows.append(row)
    by = "Measured" if "Measured" in rows[0] else "KL"
    st.dataframe(
        pd.DataFrame(rows).sort_values(by, ascending=by == "KL"),
        hide_index=True,
        row_height=_ROW,
        height=_ROW * (len(rows) + 1) + 3,
        column_config={
            "Metric": st.column_config.TextColumn(pinned=True),
            "Measured": st.column_config.NumberColumn("Measured (%)", format="%.2f"),
            "Interval": st.column_config.TextColumn("95 % interval"),
            "KL": st.column_config.NumberColumn("KL (nats)", format="%.3g"),
            "Size": st.column_config.NumberColumn("Size (MiB)", format="%.4f"),
            "Weight bits": st.column_config.NumberColumn(format="%.2f"),
        },
        alt="Measured accuracy of the allocation of each metric",
    )


def _correlations(found: Agreement) -> None:
    rows = []
    for place in range(len(found.metrics)):
        each = found.overall(place)
        rows.append(
            {
                "Metric": each.title,
                "Kendall": None if each.tau is None else each.tau.value,
                "Interval": ""
                if each.tau is None
                else f"{each.tau.low:.2f} to {each.tau.high:.2f}",
                "Spearman": None if each.rho is None else each.rho.value,
                "Top": None if each.overlap is None else 100 * each.overlap,
                "Chance": 100 * each.chance,
                "Layers": each.layers,
                "Remark": each.reason,
            }
        )
    k = found.overall(0).k
    st.dataframe(
        pd.DataFrame(rows).sort_values("Kendall", ascending=False),
        hide_index=True,
        row_height=_ROW,
        height=min(_ROW * (len(rows) + 1) + 3, 480),
        column_config={
            "Metric": st.column_config.TextColumn(pinned=True),
            "Kendall": st.column_config.NumberColumn(
                "Kendall τ", format="%.2f", help="Over all candidates, layers at the same one"
            ),
            "Interval": st.column_config.TextColumn(
                f"{found.level:.0%} interval", help=f"{found.resamples:,} resamples of the layers"
            ),
            "Spearman": st.column_config.NumberColumn("Spearman ρ", format="%.2f"),
            "Top": st.column_config.NumberColumn(
                f"Top {k} (%)", format="%.0f", help=f"Share of the {k} worst layers that it names"
            ),
            "Chance": st.column_config.NumberColumn("By chance (%)", format="%.0f"),
        },
        alt="Rank correlations of the metrics with what was measured",
    )


def _scatter(page: Page, asked: Asked, tables: dict[str, ScoreTable]) -> None:
    truth = workflow.reference_step(
        resources.workspace(), page.study, asked.reference, asked.data, asked.candidates
    ).stored(resources.store())
    if truth is None or not tables:
        return
    name = st.selectbox(
        "Predicted by", list(tables), format_func=lambda n: METRICS[n].title, key="scatter-metric"
    )
    charts.draw(
        predicted_against_measured(tables[name], truth, selected=session.layer() or None),
        key="scatter",
        picks=Key.LAYER,
    )


def _tables(page: Page, asked: Asked) -> dict[str, ScoreTable]:
    """Return the stored scores of the metrics that could be computed."""
    found = {}
    for name in asked.metrics:
        table = workflow.score(
            resources.workspace(), page.study, name, candidates=asked.candidates
        ).stored(resources.store())
        if table is not None:
            found[name] = table
    return found


def _estimate(page: Page, asked: Asked) -> str:
    known = {t.metric for t in catalog.score_tables(resources.store(), page.study)}
    missing = [name for name in asked.metrics if name not in known]
    layers, n = len(page.table.layers), page.study.calibration.n
    suffixes = (
        f"{layers * len(asked.candidates):,} suffixes per {asked.data} batch for the reference"
    )
    if not missing:
        return f"every metric is scored; {suffixes}"
    return f"{len(missing)} metrics to score on {n:,} samples, {suffixes}; a minute for the demo"
