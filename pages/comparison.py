"""Measured configurations side by side."""

import streamlit as st

from analysis import workflow
from analysis.plots.comparison import accuracy_against_size
from analysis.plots.strips import per_layer_bits
from pages.ui import configurations, pair, resources, shell, work

page = shell.open_page(
    "Comparison", "Which configuration is worth taking, and is it really better?"
)
found = configurations.measured_ones(page)
configurations.baselines(page)
if not found:
    shell.empty(
        "No configuration of this study is measured yet.",
        "Measure the uniform baselines above, or quantize an allocation of your own; each takes "
        "about 1 s for the demo.",
        "quantization",
        "Quantize an allocation",
    )
reference = work.obtain(
    workflow.float_outputs(resources.workspace(), page.study),
    "Measure the float network",
    f"{page.study.evaluation.n:,} samples; about 1 s for the demo",
)
if reference is None:
    st.stop()

configurations.table(page, found, reference.measured, configurations.choose_scores(page))
configurations.manage(page, found)

st.subheader("Accuracy against size", anchor=False)
shown = configurations.visible(found)
if shown:
    methods = {name: configurations.method(each) for name, each in shown.items()}
    lowest = configurations.lowest(shown, reference.measured)
    st.plotly_chart(
        accuracy_against_size(shown, reference.measured, methods=methods, lowest=lowest),
        key="against-size",
    )
    st.plotly_chart(per_layer_bits(shown), key="per-layer-bits")

st.subheader("Two configurations", anchor=False)
names = pair.pick(found)
if names is not None:
    pair.draw(page, names, found, reference.measured)
