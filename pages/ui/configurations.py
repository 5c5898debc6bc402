"""The table of measured configurations, and what can be done with one."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from analysis import catalog, workflow
from analysis.allocation.problem import allocation_costs
from analysis.baselines import job_key, measure_all, uniform_steps, unmeasured
from analysis.options import build
from analysis.plots.comparison import is_uniform
from analysis.prediction import predict
from analysis.ptq import PTQ_METHODS
from analysis.records import (
    FLOAT,
    Allocation,
    Candidate,
    Configuration,
    Costs,
    Evaluation,
    ScoreTable,
)
from analysis.sensitivity import METRICS
from analysis.spelling import spell
from pages.ui import allocations, drafting, forms, measured, resources, words, work
from pages.ui.shell import Page

_CLOSE_POINTS = 3.0


def measured_ones(page: Page) -> dict[str, Configuration]:
    """Return the study's configurations by name, the largest first."""
    found = catalog.configurations(resources.store(), page.study)
    return dict(sorted(found.items(), key=lambda item: -item[1].costs.size_mib))


def baselines(page: Page) -> None:
    """Offer to measure uniform bits in one job, as long as some are missing."""
    store = resources.store()
    steps = uniform_steps(resources.workspace(), page.study, page.table)
    missing = unmeasured(store, steps)
    key = job_key(page.study, steps)
    latest = work.latest(key)
    if not missing and not (latest and latest.active):
        return
    with st.container(border=True):
        st.markdown(
            "**Uniform bits are the baseline every allocation must beat.** Not measured yet: "
            f"{', '.join(c.text for c in missing)} (first and last layer w8a8, rounded to nearest)."
        )
        work.start(
            key,
            "Measure the uniform baselines",
            f"{len(missing)} configurations of {page.study.evaluation.n:,} samples; about 1 s each "
            "for the demo",
            title="Uniform baselines",
            name="baselines",
            command="\n".join(step.command for step in steps),
            make_events=lambda: measure_all(store, steps),
            primary=False,
        )


def choose_scores(page: Page) -> ScoreTable | None:
    """Let the user choose which stored score table predicts."""
    tables = catalog.solving_tables(resources.store(), page.study)
    return forms.scores("Predict from", tables, "compare-scores")


def table(
    page: Page,
    shown: Mapping[str, Configuration],
    reference: Evaluation,
    scores: ScoreTable | None,
) -> None:
    """Draw every configuration as a row, the float network first."""
    untouched = Allocation(
        layers=page.table.names,
        candidates=(Candidate(FLOAT, FLOAT),) * len(page.table.layers),
    )
    rows = [
        _row(FLOAT, reference, allocation_costs(page.table, untouched), untouched, scores)
        | {"Kind": "reference", "Bits": "none quantized", "Method": "none", "Scope": "none"}
        | {"Seconds": reference.seconds}
    ]
    for name, each in shown.items():
        rows.append(
            _row(name, each.measured, each.costs, each.allocation, scores)
            | {
                "Kind": kind(each),
                "Bits": workflow.summary(each.allocation),
                "Method": method(each),
                "Scope": each.settings.scope,
                "Seconds": each.seconds,
            }
        )
    columns = _columns(scores, max(map(len, shown), default=0))
    st.dataframe(
        pd.DataFrame(rows).dropna(axis="columns", how="all"),
        hide_index=True,
        height=min(35 * (len(rows) + 1) + 3, 500),
        column_order=list(columns),
        column_config=columns,
        placeholder="–",
        alt="Measured configurations with accuracy, cost and prediction",
    )
    st.markdown(_legend(page, shown, scores))


def method(each: Configuration) -> str:
    """Spell what quantized a configuration: recalibrations, the method and its changed options."""
    last = spell(each.method, build(PTQ_METHODS[each.method].options, each.options))
    return " + ".join((*each.recalibrations, last))


def kind(each: Configuration) -> str:
    """Say whether a configuration is a baseline: uniform bits, rounded to nearest as they are."""
    if not is_uniform(each.allocation):
        return "mixed"
    return "uniform baseline" if method(each) == "nearest" else "uniform"


def _row(
    name: str,
    evaluation: Evaluation,
    costs: Costs,
    allocation: Allocation,
    scores: ScoreTable | None,
) -> dict[str, Any]:
    paired = evaluation.versus_float
    row: dict[str, Any] = {"Configuration": name}
    if evaluation.labelled:
        row["Measured"] = 100 * evaluation.top1
        row["Interval"] = f"{100 * evaluation.low:.1f}-{100 * evaluation.high:.1f}"
        row["Difference"] = 100 * paired.difference if paired else 0.0
        row["Verdict"] = words.verdict(paired) if paired else "reference"
    row |= {
        "n": evaluation.n,
        "Size": costs.size_mib,
        "Compression": costs.compression,
        "Average bits": costs.avg_weight_bits,
        "BOPs": costs.bops / 1e6,
    }
    if scores is not None:
        prediction = predict(scores, allocation)
        row["Predicted"] = None if prediction.missing else prediction.value
    row["KL"] = evaluation.kl if paired else 0.0
    row["Agreement"] = 100 * paired.agreement if paired else 100.0
    return row


def _columns(scores: ScoreTable | None, longest: int) -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "Configuration": text(pinned=True, width=min(max(30 + 7 * longest, 180), 520)),
        "Size": number("Size (MiB)", format="%.4f", width=95, help="All parameters of the model"),
        "Predicted": number(
            f"Predicted ({scores.unit})" if scores else "Predicted",
            format="%.3g",
            width=125,
            help=f"Summed scores of {METRICS[scores.metric].title}: a prediction, not measured"
            if scores
            else None,
        ),
        "Measured": number(
            "Measured (%)", format="%.2f", width=115, help="Top-1 on the evaluation set"
        ),
        "Interval": text(
            "95 % interval", width=110, help="Wilson interval of the measured accuracy, in %"
        ),
        "Difference": number(
            "Versus float", format="%+.2f", width=105, help="Paired difference in points"
        ),
        "Verdict": text(
            "Verdict",
            width=130,
            help="Inside the noise if the 95 % interval of the paired difference holds 0",
        ),
        "n": number(format="localized", help="Evaluation samples"),
        "Compression": number(format="%.1f×", help="Times smaller than float32"),
        "Average bits": number("Weight bits, average", format="%.2f"),
        "BOPs": number(
            "BOPs (M)",
            format="%.1f",
            help="Multiply-accumulates × weight bits × activation bits, per sample, in millions",
        ),
        "KL": number("KL from float (nats)", format="%.3g", help="Mean over the samples"),
        "Agreement": number("Same as float (%)", format="%.2f", help="Share of equal predictions"),
        "Kind": text(),
        "Bits": text(help="Formats of the layers"),
        "Method": text(),
        "Scope": text(help="Who sees quantized activations"),
        "Seconds": number("Time (s)", format="%.1f", help="Ranges and measurement"),
    }


def _legend(page: Page, shown: Mapping[str, Configuration], scores: ScoreTable | None) -> str:
    text = (
        f"Measured on {page.study.evaluation.n:,} samples; differences are paired, with 95 % "
        "intervals. Click a column's head to sort."
    )
    if scores is None:
        return f"{text} Score the layers to see predictions beside the measurements."
    bare = sum(bool(predict(scores, each.allocation).missing) for each in shown.values())
    if bare:
        text += f" {bare} without a prediction: some of their candidates were not scored."
    other = sum(each.settings != scores.settings for each in shown.values())
    if other:
        text += f" {other} quantized under other settings than the scores assume."
    return text


def manage(page: Page, found: Mapping[str, Configuration]) -> None:
    """Load a configuration into the draft, measure it elsewhere, or delete its name."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Configuration", list(found), key="manage", width=360)
        if st.button("Load into the draft", icon=":material/edit:", key="load-draft"):
            settled = drafting.replace_draft(page, found[name].allocation)
            st.toast(f"The draft now holds {name}.", icon=":material/check:")
            if settled:
                st.toast(drafting.SETTLED, icon=":material/link:")
        with st.popover("Delete", icon=":material/delete:"):
            st.markdown(f"Delete the name **{name}**? The stored measurement is kept.")
            if st.button("Delete the name", type="primary", key="delete-name"):
                resources.store().unname(catalog.configurations_kind(page.study), name)
                st.rerun()
    chosen = allocations.of_configuration(page, found[name])
    allocations.command(page, chosen, measured.again(page, name, chosen).command, "manage")


def visible(found: Mapping[str, Configuration]) -> dict[str, Configuration]:
    """Let the user leave configurations out of the figures; new ones are shown."""
    hidden = st.multiselect(
        "Leave out", list(found), key="compare-hidden", placeholder="all are shown"
    )
    shown = {name: each for name, each in found.items() if name not in hidden}
    if not shown:
        st.info("Every configuration is left out; take one back to see the figures.")
    return shown


def lowest(shown: Mapping[str, Configuration], reference: Evaluation) -> float | None:
    """Offer to look closer at the top, where some configurations fall far below float."""
    if not reference.labelled:
        return None
    start = 100 * reference.low - _CLOSE_POINTS
    values = [100 * each.measured.top1 for each in shown.values()]
    if not min(values) < start < max(values):
        return None
    closer = st.toggle(f"Look closer: {start:.0f} % and above", key="compare-closer")
    return start if closer else None
