"""What is loaded, what is computed, what comes next."""

import streamlit as st

from analysis import catalog
from analysis.commands import command_line
from analysis.demo_studies import DEMOS
from pages.ui import opening, resources, session, shell, words

shell.header(
    "Bitlens",
    "Which layers of this network can give up bits, which cannot, and what do I lose for what I "
    "save?",
)
study = session.study()
if study is None:
    st.subheader("Start with a network that is already here", anchor=False)
    for column, demo in zip(st.columns(len(DEMOS)), DEMOS, strict=True):
        with column, st.container(border=True, height="stretch"):
            st.markdown(f"**{demo.title}**")
            st.markdown(demo.about)
            opening.button(demo.spec, "Open", "about 3 s, no network needed")
    shell.link("data", "Use your own model and data instead")
    st.stop()

table = catalog.layer_table(resources.store(), study)
reference = catalog.float_outputs(resources.store(), study)
configurations = catalog.configurations(resources.store(), study)

cards = [
    ("Model", study.spec.model.split(":")[-1], None),
    ("Layers", str(len(table.layers)) if table else "–", None),
    ("Parameters", words.count(study.model.num_params), None),
    ("Calibration", f"{study.calibration.n:,} samples", None),
    ("Evaluation", f"{study.evaluation.n:,} samples", None),
    (
        "Float accuracy",
        f"{reference.measured.top1:.2%}" if reference else "not measured",
        words.accuracy(reference.measured).split(" ", 1)[1] if reference else None,
    ),
]
for place, (label, value, detail) in enumerate(cards):
    if place % 3 == 0:
        columns = st.columns(3)
    columns[place % 3].metric(
        label,
        value,
        detail,
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
    )

st.subheader("What is done, what comes next", anchor=False)
rows = [
    ("Study", True, f"{study.spec.name or study.spec.model}", "data", "Look at the study"),
    (
        "Sensitivity",
        bool(scores := catalog.score_tables(resources.store(), study)),
        ", ".join(sorted({t.title for t in scores})) or "not scored yet: seconds for the demo",
        "sensitivity",
        "See the scores" if scores else "Score the layers",
    ),
    (
        "Bit assignment",
        bool(configurations),
        "edit bits by hand or solve for a budget, at once",
        "assignment",
        "Assign bits",
    ),
    (
        "Measured configurations",
        bool(configurations),
        f"{len(configurations)} measured" if configurations else "none yet: about 1 s each",
        "comparison",
        "Compare configurations",
    ),
]
for title, done, text, page, label in rows:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        icon = ":material/check_circle:" if done else ":material/radio_button_unchecked:"
        st.markdown(f"{icon} **{title}** · {text}", width="stretch")
        shell.link(page, label)
shell.command(command_line("study", study.spec))
