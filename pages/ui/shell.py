"""The frame of a page: title, question, guards, empty states, the equal command line."""

from dataclasses import dataclass
from typing import NoReturn

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.records import LayerTable, Study
from pages.ui import resources, session, uploads


@dataclass(frozen=True, slots=True)
class Page:
    """What a guarded page works on."""

    study: Study
    table: LayerTable


def header(title: str, question: str) -> None:
    """Draw the title and the question that the page answers."""
    st.title(title, anchor=False)
    st.markdown(question)


def open_page(title: str, question: str) -> Page:
    """Draw the header of a page that needs a study; without one say what to do, and stop."""
    header(title, question)
    study = session.study()
    if study is None:
        empty(
            "No study is open yet.",
            "A study is a model with calibration and evaluation data. The embedded demo opens in "
            "about 3 seconds and needs no network.",
            "overview",
            "Open the demo on the overview",
        )
    table = session.table(study)
    if table is None:
        empty(
            f"The layers of `{study.spec.name}` are not in the store any more.",
            "Opening the study again brings them back, in seconds for a small model.",
            "data",
            "Open it again",
        )
    warnings(study)
    return Page(study, table)


def warnings(study: Study) -> None:
    """Draw what a user must know of a study before believing its numbers."""
    for note in study.notes:
        st.warning(uploads.readable(note, resources.store().root), icon=":material/warning:")


def empty(what: str, remedy: str, page: str, label: str) -> NoReturn:
    """Say what is missing and where to get it, then stop the page."""
    with st.container(border=True):
        st.markdown(f"**{what}**")
        st.markdown(remedy)
        link(page, label)
    st.stop()
    raise RuntimeError("st.stop() returned")


def link(page: str, label: str) -> None:
    """Link to another page by its url path."""
    if page in session.PAGES:
        st.page_link(session.PAGES[page], label=label, icon=":material/arrow_forward:")


def command(*lines: str) -> DeltaGenerator:
    """Show the equal command lines, ready to copy; empty ones are left out.

    Returns:
        The folded container, for what belongs to the lines.
    """
    place = st.expander("The same on the command line", icon=":material/terminal:")
    place.code("\n".join(filter(None, lines)), language="bash", wrap_lines=True)
    return place


def card(label: str, value: str, detail: str) -> None:
    """Draw a number with its label above and what it rests on below."""
    st.metric(
        label, value, detail, delta_color="off", delta_arrow="off", border=True, height="stretch"
    )
