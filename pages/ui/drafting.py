"""The draft as equalizer and table share it: who changed it last, what is pinned, what is selected.

Both editors keep their own state while they are edited. Each is told to take over the draft only
when something else changed it: by a higher version (equalizer) or a new key (table).
"""

import streamlit as st

from analysis import catalog
from analysis.allocation.edit import default_pins, from_formats, settle
from analysis.records import Allocation, LayerTable, Study
from pages.equalizer import Echo, Start
from pages.equalizer.payload import NAMES
from pages.ui import session
from pages.ui.shell import Page

_TABLE_EDITS, _COLUMN_EDITS = "table_edits", "column_edits"
_PINS, _FOLLOWED, _ANSWERED = "pins_of", "followed_layer", "answered_edit"


def pins(study: Study, table: LayerTable) -> tuple[str, ...]:
    """Return the layers that are held, first and last until a user decides otherwise."""
    known: dict[str, tuple[str, ...]] = st.session_state.setdefault(_PINS, {})
    return known.setdefault(catalog.study_id(study), default_pins(table))


def start(page: Page, draft: Allocation) -> Start:
    """Return what the equalizer starts from, or takes over if it has not seen this version."""
    name, version = _followed()
    answered = int(st.session_state.get(_ANSWERED, 0))
    return Start(draft, pins(page.study, page.table), _version(), name, version, answered)


def table_key() -> str:
    """Return the key of the table; it changes when the draft changed elsewhere."""
    return f"bits-{session.version()}-{st.session_state.get(_COLUMN_EDITS, 0)}"


def from_columns(page: Page, key: str) -> None:
    """Take over what the equalizer echoes; for its callback, before the page is drawn.

    An echo of an older version was sent before the draft changed elsewhere, and is history.
    """
    echo = Echo.read(st.session_state.get(key))
    if echo is None:
        return
    st.session_state[_ANSWERED] = echo.seq
    if echo.layer in page.table.names:
        st.session_state[_FOLLOWED] = (echo.layer, _followed()[1])
        st.session_state[session.Key.LAYER] = echo.layer
    if echo.version != _version() or not _fits(echo, page.table):
        return
    held = tuple(page.table.names[place] for place in echo.pins)
    st.session_state[_PINS] = {
        **st.session_state.get(_PINS, {}),
        catalog.study_id(page.study): held,
    }
    before = session.draft(page.study, page.table)
    sent = from_formats(
        page.table,
        [NAMES[code] for code in echo.weights],
        [NAMES[code] for code in echo.activations],
    )
    after = settle(page.table, sent, sent, held)
    if after != before:
        _count(_COLUMN_EDITS)
        session.set_draft(page.study, after, rebuild=after != sent)


def from_table(page: Page, after: Allocation) -> None:
    """Take over what the table holds."""
    _count(_TABLE_EDITS)
    session.set_draft(page.study, after, rebuild=False)


def replace_draft(page: Page, allocation: Allocation) -> bool:
    """Let both editors take over an allocation from elsewhere; tell whether it had to be settled.

    Layers that read one tensor get one activation format. A pin holds what the allocation says.
    """
    settled = settle(page.table, allocation, allocation, pins(page.study, page.table))
    session.set_draft(page.study, settled, rebuild=True)
    return settled != allocation


def _fits(echo: Echo, table: LayerTable) -> bool:
    layers = len(table.layers)
    codes = (*echo.weights, *echo.activations)
    return (
        len(echo.weights) == len(echo.activations) == layers
        and all(0 <= code < len(NAMES) for code in codes)
        and all(0 <= place < layers for place in echo.pins)
    )


def _version() -> int:
    return session.version() + int(st.session_state.get(_TABLE_EDITS, 0))


def _count(key: str) -> None:
    st.session_state[key] = st.session_state.get(key, 0) + 1


def _followed() -> tuple[str, int]:
    """Return the selected layer and how often it was chosen outside the equalizer."""
    name, version = st.session_state.get(_FOLLOWED, ("", 0))
    if session.layer() != name:
        name, version = session.layer(), version + 1
        st.session_state[_FOLLOWED] = (name, version)
    return name, version
