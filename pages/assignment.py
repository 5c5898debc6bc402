"""Assign bits: by hand, or by a solver under a budget; see at once what it saves and costs."""

import streamlit as st

from analysis import catalog, workflow
from analysis.prediction_error import configuration_calibration
from analysis.sensitivity import METRICS
from pages.equalizer import equalizer, payload
from pages.ui import (
    assigned,
    bits,
    drafting,
    files,
    forms,
    measured,
    predicting,
    resources,
    saving,
    session,
    shell,
    solving,
    storing,
    work,
)

page = shell.open_page("Bit assignment", "What do I give up for this size?")
store, space = resources.store(), resources.workspace()
stored = catalog.solving_tables(store, page.study)
if not stored:
    st.markdown("Scores tell which layers can give up bits. Without them bits are edited blindly.")
    work.obtain(
        workflow.score(space, page.study, METRICS.names()[0]),
        "Score the layers",
        "seconds for the demo; the sensitivity page offers other metrics",
    )
draft, solution = session.draft(page.study, page.table), solving.last(page)
configurations = catalog.configurations(store, page.study)
others = saving.ghosts(page, configurations, solution)

with st.container(horizontal=True, vertical_alignment="bottom"):
    scores = forms.scores("Scores", stored, "assign-metric")
    solving.close_after_solving()
    with st.popover(
        "Solve for a budget",
        icon=":material/bolt:",
        disabled=scores is None,
        key=solving.FORM,
        on_change="rerun",
    ):
        if scores is not None:
            solving.form(page, draft, workflow.score_again(space, page.study, scores))
    with st.popover("Save as", icon=":material/bookmark_add:"):
        saving.save_form(page, draft)
    with st.popover("Load", icon=":material/folder_open:"):
        saving.load_form(page, others)

calibration = None if scores is None else configuration_calibration(scores, configurations.values())
key = f"equalizer-{catalog.study_id(page.study)[:16]}"
opened = equalizer(
    payload(
        page.table,
        drafting.start(page, draft),
        scores=scores,
        noise=stored.get("layer_sqnr"),
        budgets=solution.budgets if solution else (),
        solved=solution.allocation if solution else None,
        remark=solving.remark(solution, stored) if solution else "",
        ghosts=others,
        error=None if calibration is None else calibration.law,
        hardest=drafting.hardest(page, scores),
    ),
    key=key,
    on_edit=lambda: drafting.from_columns(page, key),
    on_open=lambda: drafting.opened(page, key),
)
if opened is not None:
    session.go_to(opened.page)

if solution is not None:
    solving.said(page, draft, solution)

name = saving.name_of(page.study, draft)
measure = workflow.quantize(space, page.study, workflow.Recipe(draft), name=name)
found = measure.stored(store)
assigned.result(found, predicted=scores is not None)
if found is None:
    work.obtain(measure, "Quantize and measure", measured.estimate(page, "nearest"))
storing.section(page, draft)
if scores is not None and calibration is not None:
    predicting.section(scores, calibration, draft)
with st.expander(
    "Table of all layers", icon=":material/table:", key="bits-table", on_change="rerun"
) as listed:
    if listed.open:
        bits.editor(page, draft, scores)
with st.expander(
    "Paste or copy this allocation as JSON",
    icon=":material/data_object:",
    key="bits-json",
    on_change="rerun",
) as exchange:
    if exchange.open:
        files.exchange(page, draft)
shell.command(solving.command(page, solution, draft), measure.command)
