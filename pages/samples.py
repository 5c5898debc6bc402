"""Single samples: which are hard, what quantization makes of them, what the networks look at."""

import streamlit as st

from analysis import workflow
from analysis.sensitivity import METRICS
from pages.ui import allocations, inspector, resources, session, shell, work
from pages.ui.allocations import DRAFT, SAVED, UNIFORM

page = shell.open_page(
    "Samples", "Which samples are hard, and what does the quantized network stop looking at?"
)
scores = inspector.choose_scores(page)
if scores is None:
    st.markdown("Scores per sample tell which images a layer's rounding hurts most.")
    work.obtain(
        workflow.score(resources.workspace(), page.study, METRICS.names()[0]),
        "Score the layers",
        "seconds for the demo; the sensitivity page offers other metrics",
    )
    st.stop()
inspector.overview(page, scores)

st.subheader("Float against quantized", anchor=False)
chosen = allocations.choose(page, "inspect", (DRAFT, UNIFORM, SAVED))
if chosen is None:
    st.stop()
step = workflow.inspect(resources.workspace(), page.study, chosen.recipe)
found = work.obtain(
    step,
    "Predict every calibration sample",
    f"{page.study.calibration.n:,} samples, twice; seconds for the demo",
)
if found is not None:
    inspector.predictions(page, found, scores)
    sample = session.sample(page.study.calibration.n)
    if sample is None:
        st.info("Select a sample, here or in the sidebar, to see what both networks look at.")
    else:
        inspector.sample(page, scores, found, sample)
        inspector.pixels(page, chosen, sample)
allocations.command(page, chosen, step.command, "inspect")
