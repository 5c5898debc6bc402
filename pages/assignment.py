"""Assign bits: by hand, or by a solver under a budget; see at once what it saves and costs."""

import streamlit as st

from analysis import catalog, workflow
from analysis.allocation.edit import shift
from analysis.allocation_file import uniform_allocation
from analysis.plots.bits import bit_strip
from analysis.records import Candidate
from analysis.sensitivity import METRICS
from pages.ui import bits, charts, files, forms, measured, resources, session, shell, work

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
draft = session.draft(page.study, page.table)
cards = st.container()

with st.container(horizontal=True, vertical_alignment="bottom"):
    scores = forms.scores("Scores", stored, "assign-metric")
    with st.popover("Solve for a budget", icon=":material/bolt:", disabled=scores is None):
        if scores is not None:
            pinned = bool(st.session_state.get("pin-first-last", True))
            bits.solve_form(page, workflow.score_again(space, page.study, scores), pinned)
    changes = {
        "−1 all": lambda: shift(draft, -1),
        "+1 all": lambda: shift(draft, 1),
        "Reset to w8a8": lambda: uniform_allocation(page.table, Candidate.parse("w8a8")),
    }
    pressed = [name for name in changes if st.button(name, key=f"change-{name}")]
    pin = st.toggle("Hold first and last layer at w8a8", True, key="pin-first-last")
if pressed:
    bits.apply(page, draft, changes[pressed[0]](), pin)

strip = st.container()
draft = bits.editor(page, draft, scores, pin)
with strip:
    charts.draw(bit_strip(page.table, draft, scores, session.layer() or None), key="strip")
with st.expander("Paste or copy this allocation as JSON", icon=":material/data_object:"):
    files.exchange(page, draft)

measure = workflow.quantize(space, page.study, workflow.Recipe(draft))
found, solution = measure.stored(store), bits.last_solution()
with cards:
    bits.readout(bits.Readout(draft, bits.costs(page, draft), scores, found, solution))
    if found is None:
        work.obtain(measure, "Quantize and measure", measured.estimate(page, "nearest"))
shell.command(bits.solve_command(solution, draft), measure.command)
