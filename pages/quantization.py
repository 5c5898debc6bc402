"""Quantize as allocated, and measure what is left."""

from dataclasses import replace

import streamlit as st

from analysis import workflow
from analysis.ptq import PTQ_METHODS
from pages.ui import (
    ablating,
    allocations,
    forms,
    measured,
    recovering,
    resources,
    shell,
    trained,
    work,
)
from pages.ui.allocations import DRAFT, FILE, SAVED, UNIFORM

page = shell.open_page(
    "Quantization", "What does the network measure when it is quantized like this?"
)
left, right = st.columns([3, 2], gap="large")
with left:
    chosen = allocations.choose(page, "quantize", (DRAFT, UNIFORM, SAVED, FILE))
with right:
    method = st.selectbox(
        "Method",
        PTQ_METHODS.names(),
        format_func=lambda n: PTQ_METHODS[n].title,
        key="quantize-method",
    )
    forms.about(PTQ_METHODS[method])
    with st.expander("Options", icon=":material/tune:"):
        options = forms.edit(PTQ_METHODS[method].options, key=f"quantize-options-{method}")
        settings = forms.quantizer_settings("quantize")
    recalibrations = forms.recalibrations("quantize")
if chosen is None:
    st.stop()

with left:
    recipe = workflow.Recipe(
        chosen.allocation,
        method,
        options,
        replace(settings, pin_first_last=chosen.held),
        recalibrations,
        chosen.file,
    )
    step = measured.named_step(page, recipe)
measured.forecast(page, chosen.allocation)
found = step.stored(resources.store())
if found is None:
    measured.warn_if_taken(step)
    work.obtain(step, "Quantize and measure", measured.estimate_of(page, recipe))
    if trained.trains(method):
        trained.live(page, recipe, step.key)
else:
    job = work.latest(step.key)
    measured.result(page, found, job.notes if job else ())
    measured.listing(step)
    if trained.trains(method):
        trained.section(page, recipe)
    recovering.section(page, recipe)
    measured.quantizers(found.ranges)
    shell.link("comparison", "Compare it with the others")
allocations.command(page, chosen, step.command, "quantize")
if trained.trains(method):
    ablating.section(page, recipe)
