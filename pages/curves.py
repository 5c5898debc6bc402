"""Accuracy against a resource: what each way to choose bits keeps, and what it must beat."""

import streamlit as st

from analysis import workflow
from pages.ui import curve_form, curve_point, curving, resources, shell, work

page = shell.open_page(
    "Accuracy curves", "How much accuracy does each way to choose bits keep, size by size?"
)
plan = curve_form.ask(page)
if plan is None:
    st.stop()
step = workflow.curve(resources.workspace(), page.study, plan)
found = work.obtain(step, "Measure the curves", curve_form.estimate(page, plan))
if found is None:
    found = workflow.curve_so_far(resources.workspace(), step)
if found is None:
    curve_form.explain(plan)
    shell.command(step.command)
    st.stop()

picked = f"curve-point-{step.key[:12]}"
curving.answers(found, plan.points)
curving.chart(found, picked)
curve_point.draw(page, found, picked)
curving.table(found)
curving.calibration(found)
curving.provenance(page, found)
shell.command(step.command)
