"""What a curve may keep of the assignment page: its pinned and tied layers."""

from dataclasses import dataclass

import streamlit as st

from analysis.curves.words import held_text
from analysis.records import Candidate
from pages.ui import drafting, session, solving
from pages.ui.shell import Page


@dataclass(frozen=True, slots=True)
class Kept:
    """Pins and ties as a curve takes them, and whether first and last layer are held at w8a8."""

    pins: dict[str, Candidate]
    ties: tuple[tuple[str, ...], ...]
    first_last: bool


_USUAL = Kept({}, (), True)


def ask(page: Page) -> Kept:
    """Offer to keep what the assignment page holds; nothing is drawn where that is the usual."""
    pinned = solving.held(page, session.draft(page.study, page.table))
    own = Kept(pinned.candidates, drafting.ties(page.study), pinned.first_last)
    if own == _USUAL:
        return _USUAL
    keep = st.toggle(
        "Keep the pins and ties of the assignment page",
        key="curve-held",
        persist_state="session",
        help="Then all series keep them, baselines too. Else only the first and last layer are "
        "held, at w8a8.",
    )
    st.markdown(f":gray[{held_text(own.pins, own.ties, first_last=own.first_last)}]")
    return own if keep else _USUAL
