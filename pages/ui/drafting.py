"""The draft as equalizer and table share it: who changed it last, what is held, what is selected.

Both editors keep their own state while they are edited. Each is told to take over the draft only
when something else changed it: by a higher version (equalizer) or a new key (table).
"""

import streamlit as st

from analysis.allocation.edit import default_pins, from_formats, settle
from analysis.cost_tables import NAMES
from analysis.hardest import hardest_samples
from analysis.records import Allocation, LayerTable, ScoreTable, Study
from pages.equalizer import Echo, Opened, Start
from pages.ui import holding, resources, session
from pages.ui.shell import Page

_TABLE_EDITS, _COLUMN_EDITS = "table_edits", "column_edits"
_FOLLOWED, _ANSWERED, _HEARD = "followed_layer", "answered_edit", "heard_echo"
# What is said where an allocation from elsewhere did not fit what is held.
SETTLED = "Tied layers take one format, and so do layers that read one tensor: some were changed."


def pins(study: Study, table: LayerTable) -> tuple[str, ...]:
    """Return the layers that are held, first and last until a user decides otherwise."""
    return holding.pins(study, default_pins(table))


def ties(study: Study) -> tuple[tuple[str, ...], ...]:
    """Return the names of layers that take one candidate, none until a user ties some."""
    return holding.ties(study)


def start(page: Page, draft: Allocation) -> Start:
    """Return what the equalizer starts from, or takes over if it has not seen this version."""
    name, version = _followed()
    answered, heard = (int(st.session_state.get(key, 0)) for key in (_ANSWERED, _HEARD))
    held, tied = pins(page.study, page.table), ties(page.study)
    return Start(draft, held, tied, _version(), name, version, answered, heard)


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
    st.session_state[_ANSWERED], st.session_state[_HEARD] = echo.seq, echo.sent
    if echo.layer in page.table.names:
        _follow(echo.layer)
    if echo.version != _version() or not fits(echo, page.table):
        return
    names = page.table.names
    held = tuple(names[place] for place in echo.pins)
    tied = tuple(tuple(names[place] for place in own) for own in echo.ties)
    holding.keep(page.study, held, tied)
    before = session.draft(page.study, page.table)
    sent = from_formats(
        page.table,
        [NAMES[code] for code in echo.weights],
        [NAMES[code] for code in echo.activations],
    )
    after = settle(page.table, sent, sent, held, tied)
    if after != before:
        _count(_COLUMN_EDITS)
        session.set_draft(page.study, after, rebuild=after != sent)


def from_table(page: Page, after: Allocation) -> None:
    """Take over what the table holds."""
    _count(_TABLE_EDITS)
    session.set_draft(page.study, after, rebuild=False)


def replace_draft(page: Page, allocation: Allocation) -> bool:
    """Let both editors take over an allocation from elsewhere; tell whether it had to be settled.

    Tied layers get one candidate, layers that read one tensor one activation format. A pin holds
    what the allocation says from then on, which is said where that is something else.
    """
    held = pins(page.study, page.table)
    before, wanted = session.draft(page.study, page.table).as_dict(), allocation.as_dict()
    moved = sum(before[name] != wanted[name] for name in held)
    if moved:
        layers = "A pinned layer has" if moved == 1 else f"{moved} pinned layers have"
        st.toast(f"{layers} other formats than before: those of what was taken over.")
    settled = settle(page.table, allocation, allocation, held, ties(page.study))
    session.set_draft(page.study, settled, rebuild=True)
    return settled != allocation


def hardest(page: Page, scores: ScoreTable | None) -> dict[str, list[tuple[int, str]]]:
    """Return the hardest samples of each layer, with their labels while the study is in memory.

    Loading a study only to name its samples would hold up the page.
    """
    if scores is None or scores.n != page.study.calibration.n:
        return {}
    live = resources.workspace().in_memory(page.study)
    label = (lambda n: "") if live is None else live.calibration.label
    return {
        name: [(n, label(n)) for n in numbers] for name, numbers in hardest_samples(scores).items()
    }


def opened(page: Page, key: str) -> None:
    """Select what the equalizer links to; for its callback, before the page is drawn."""
    asked = Opened.read(st.session_state.get(key))
    if asked is None:
        return
    if asked.layer in page.table.names:
        _follow(asked.layer)
    if asked.sample is not None and 0 <= asked.sample < page.study.calibration.n:
        st.session_state[session.Key.SAMPLE] = asked.sample


def fits(echo: Echo, table: LayerTable) -> bool:
    """Tell whether an echo is of this table, as one from an older page may not be."""
    layers = len(table.layers)
    codes = (*echo.weights, *echo.activations)
    tied = [place for own in echo.ties for place in own]
    return (
        len(echo.weights) == len(echo.activations) == layers
        and all(0 <= code < len(NAMES) for code in codes)
        and all(0 <= place < layers for place in (*echo.pins, *tied))
        and len(set(tied)) == len(tied)
        and all(len(own) > 1 for own in echo.ties)
    )


def _version() -> int:
    return session.version() + int(st.session_state.get(_TABLE_EDITS, 0))


def _count(key: str) -> None:
    st.session_state[key] = st.session_state.get(key, 0) + 1


def _follow(layer: str) -> None:
    """Select the equalizer's layer for the app, which is no news to the equalizer."""
    st.session_state[_FOLLOWED] = (layer, _followed()[1])
    st.session_state[session.Key.LAYER] = layer


def _followed() -> tuple[str, int]:
    """Return the selected layer and how often it was chosen outside the equalizer."""
    name, version = st.session_state.get(_FOLLOWED, ("", 0))
    if session.layer() != name:
        name, version = session.layer(), version + 1
        st.session_state[_FOLLOWED] = (name, version)
    return name, version
