"""Many metrics side by side, and which of them to trust on this model."""

import streamlit as st

from pages.ui import agreeing, shell

page = shell.open_page(
    "Agreement", "Which metric tells the truth about this model, and which rankings are noise?"
)
asked = agreeing.ask(page)
if asked is None:
    st.stop()
ranked, contested = st.tabs(["Rankings", "Accuracy at equal budget"])
with ranked:
    agreeing.rankings(page, asked)
with contested:
    agreeing.accuracies(page, asked)
