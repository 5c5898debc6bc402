"""What a run noted: what was done in the open, what was left as it was folded behind it."""

from collections.abc import Iterable

import streamlit as st

from analysis.notes import sorted_notes


def draw(notes: Iterable[str]) -> None:
    """Draw notes, each once."""
    done, left = sorted_notes(notes)
    if done:
        text = done[0] if len(done) == 1 else "\n".join(f"- {note}" for note in done)
        st.info(text, icon=":material/info:")
    if left:
        label = f"What was left as it was, with the reasons: {len(left)}"
        with st.expander(label, icon=":material/block:"):
            for note in left:
                st.markdown(f"- {note}")
