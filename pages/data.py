"""Create or choose a study: what is loaded, and what to load instead."""

import streamlit as st

from analysis import workflow
from analysis.commands import command_line
from pages.ui import resources, session, shell, study_form, study_view, work

shell.header("Study", "Which network, which images, and do they fit together?")
study = session.study()
if study is None:
    st.info("No study is open yet. Open one here; the embedded demo takes about 3 s.")
form = st.expander(
    "Open another study" if study else "Open a study",
    expanded=study is None,
    icon=":material/add:",
    key="open-study",
    on_change="rerun",
)
if form.open:
    with form:
        study_form.draw()
        st.divider()
        study_form.operator_studies()
if study is None:
    st.stop()

table = work.obtain(
    workflow.layers(resources.workspace(), study),
    "Read the layers again",
    "seconds: the layer table is not in the store any more",
)
shell.warnings(study)
if table is not None:
    study_view.model(study, table)
    study_view.sets(study)
    study_view.layers(table)
    shell.command(command_line("layers", study.spec))
