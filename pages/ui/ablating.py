"""The ablation on the quantization page: what single choices of a method are worth."""

import pandas as pd
import streamlit as st

from analysis import workflow
from analysis.options import as_dict, build
from analysis.plots.ablation import closer_reach, effects_chart
from analysis.plots.labels import count
from analysis.records import Ablation
from analysis.steps import Step
from analysis.workflow.ablation_words import (
    effect_text,
    seeds_text,
    setting,
    variant_text,
    verdict,
    what,
)
from analysis.workflow.training_cost import length_name
from cache.keys import digest
from pages.ui import charts, noted, resources, shell, words, work
from pages.ui.shell import Page

_ROW = 36
_POLL_SECONDS = 2.0
_MOST_SEEDS = 10


def section(page: Page, recipe: workflow.Recipe) -> None:
    """Draw the form of an ablation of a recipe's method, and what it found."""
    st.subheader("Ablation", anchor=False)
    if not st.toggle(
        "Measure what single choices of the method are worth",
        key="ablation-on",
        persist_state="session",
        help="One change of its options at a time, on the same samples: arXiv:2308.07662.",
    ):
        return
    plan = _ask(recipe)
    if plan is None:
        st.info("Choose at least one change.")
        return
    step = workflow.ablation(resources.workspace(), page.study, plan)
    found = work.obtain(step, "Measure the variants", _estimate(page, plan), primary=False)
    if found is None:
        job = work.latest(step.key)
        running = job is not None and job.active
        st.fragment(_so_far, run_every=_POLL_SECONDS if running else None)(step)
    else:
        _draw(found, "ablation")
    shell.command(step.command)


def _ask(recipe: workflow.Recipe) -> workflow.AblationPlan | None:
    values = as_dict(recipe.chosen)
    left, right, _ = st.columns([2, 2, 6])
    length = length_name(recipe.chosen)
    if length:
        with left:
            values[length] = st.number_input(
                f"{length.capitalize()} of each training",
                1,
                value=int(values[length]),
                key=f"ablation-{length}-{recipe.method}",
                persist_state="session",
            )
    with right:
        seeds = st.number_input(
            "Seeds",
            1,
            _MOST_SEEDS,
            1,
            key="ablation-seeds",
            persist_state="session",
            help="Of each variant. With one, what another seed would change is not in the "
            "intervals.",
        )
    options = build(type(recipe.chosen), values)
    offered = workflow.default_variants(options)
    chosen = st.multiselect(
        "Changes",
        offered,
        offered,
        format_func=lambda text: text.replace("_", " ").replace("=", " ").replace(":", ", "),
        key=f"ablation-variants-{digest(list(offered))[:12]}",
    )
    if not chosen:
        return None
    base = workflow.Recipe(
        recipe.allocation,
        recipe.method,
        options,
        recipe.settings,
        recipe.recalibrations,
        recipe.file,
    )
    return workflow.AblationPlan(base, tuple(chosen), int(seeds))


def _estimate(page: Page, plan: workflow.AblationPlan) -> str:
    cost = workflow.ablation_cost(resources.workspace(), page.study, plan)
    of = f" of {cost.steps:,} {length_name(plan.recipe.chosen)}" if cost.steps else ""
    said = f"{cost.runs} trainings{of}: the base and {count(len(plan.variants), 'change')}"
    said += f", {plan.seeds} seeds each" if plan.seeds > 1 else ""
    if cost.left < cost.runs:
        said += f"; {cost.runs - cost.left} of them stored"
    if cost.seconds is None:
        return f"{said}. None was timed on this study yet, so no time is promised."
    source = "earlier trainings" if cost.trainings else "the float network, an estimate"
    return f"{said}. About {words.roughly(cost.seconds)} by the time of {source}."


def _so_far(step: Step[Ablation]) -> None:
    found = workflow.ablation_so_far(resources.workspace(), step)
    if found is not None:
        _draw(found, "ablation-live")


def _draw(found: Ablation, key: str) -> None:
    for sentence in verdict(found):
        st.markdown(f"- {sentence}")
    named = [(variant_text(v.changes), v.effect) for v in found.variants]
    effects = [(name, effect) for name, effect in named if effect is not None]
    if effects:
        drawn = [effect for _, effect in effects]
        reach = closer_reach(drawn)
        if reach is not None and not st.toggle(
            f"Look closer: {reach:.2g} points on both sides", True, key=f"{key}-closer"
        ):
            reach = None
        figure = effects_chart(
            [name for name, _ in effects],
            drawn,
            method=found.method,
            what=what(found),
            facts=(f"n = {found.n:,}", seeds_text(found)),
            reach=reach,
        )
        charts.draw(figure, key)
    _table(found)
    st.markdown(f":gray[{setting(found)}]")
    noted_by = {variant_text(v.changes): v.notes for v in found.variants if v.notes}
    if noted_by:
        with st.expander("What the trainings noted", icon=":material/notes:"):
            for name, notes in noted_by.items():
                st.markdown(f"**{name}**")
                noted.draw(notes)


def _table(found: Ablation) -> None:
    rows = []
    for each in found.variants:
        row: dict[str, object] = {"Change": variant_text(each.changes)}
        if found.labelled:
            row |= {
                "Measured": 100 * each.top1.mean(),
                "Interval": f"{100 * each.low:.1f}-{100 * each.high:.1f}",
            }
        rows.append(
            row
            | {
                "Effect": effect_text(each.effect) or "base",
                "Agreement": 100 * each.agreement.mean(),
                "KL": each.kl.mean(),
                "Seconds": each.seconds.mean(),
                "n": found.n,
            }
        )
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        row_height=_ROW,
        height=_ROW * (len(rows) + 1) + 3,
        column_config={
            "Change": st.column_config.TextColumn(pinned=True),
            "Measured": number("Measured (%)", format="%.2f", help="Top-1, mean over the seeds"),
            "Interval": st.column_config.TextColumn("95 % interval"),
            "Effect": st.column_config.TextColumn(
                "Versus base (points)", help=f"Difference in {what(found)}, paired"
            ),
            "Agreement": number("As float (%)", format="%.2f"),
            "KL": number("KL (nats)", format="%.3g"),
            "Seconds": number("Training (s)", format="%.1f", help="Mean over the seeds"),
        },
        placeholder="–",
        alt="Every variant with accuracy, difference to the base, divergence and time",
    )
