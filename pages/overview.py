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
        box = column.container(border=True, height="stretch", vertical_alignment="distribute")
        box.markdown(f"**{demo.title}**\n\n{demo.about}")
        with box.container():
            opening.button(demo.spec, "Open", "about 3 s, no network needed", slot=demo.spec.name)
    shell.link("data", "Use your own model and data instead")
    st.stop()

table = catalog.layer_table(resources.store(), study)
reference = catalog.float_outputs(resources.store(), study)
configurations = catalog.configurations(resources.store(), study)

shape = " × ".join(map(str, study.model.input_shape))
cards = [
    ("Model", words.model(study.spec), f"{study.spec.model.partition(':')[0]}, input {shape}"),
    (
        "Layers",
        f"{len(table.layers)}" if table else "–",
        words.skipped(table) if table else "open the study again",
    ),
    (
        "Parameters",
        words.count(study.model.num_params),
        f"{study.model.num_params * 4 / 2**20:.3g} MiB in float32",
    ),
    *(
        (role, f"{data.n:,} samples", "labelled" if data.labelled else "no labels")
        for role, data in (("Calibration", study.calibration), ("Evaluation", study.evaluation))
    ),
]
if reference is None:
    cards.append(("Float accuracy", "not measured", "with the first configuration"))
elif not reference.measured.labelled:
    cards.append(("Float accuracy", "no labels", f"n = {reference.measured.n:,}"))
else:
    top1 = f"{reference.measured.top1:.2%}"
    cards.append(("Float accuracy", top1, words.interval(reference.measured)))
with st.grid(3, min_column_width=230):
    for card in cards:
        shell.card(*card)

st.subheader("What is done, what comes next", anchor=False)
rows = [
    ("Study", True, f"{study.spec.name or study.spec.model}", "data", "Look at the study"),
    (
        "Sensitivity",
        bool(scores := catalog.score_tables(resources.store(), study)),
        words.few({t.title for t in scores}) or "not scored yet: seconds for the demo",
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
