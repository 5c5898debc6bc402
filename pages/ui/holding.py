"""What is held while bits are edited: pinned layers and ties, kept with the draft."""

from dataclasses import dataclass

import streamlit as st

from analysis import catalog
from analysis.records import Study
from analysis.records.base import Record
from cache.errors import StoreError
from pages.ui import resources

Names = tuple[str, ...]
_PINS, _TIES = "pins_of", "ties_of"  # of this session, by study
HELD = "held_of"  # name of what is stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Record):
    """Names of pinned layers, and of layers that take one candidate."""

    pins: Names
    ties: tuple[Names, ...] = ()
    schema: int = 1


def pins(study: Study, usual: Names) -> Names:
    """Return the pinned layers: this session's, else the last ones stored, else the usual."""
    known: dict[str, Names] = st.session_state.setdefault(_PINS, {})
    identity = catalog.study_id(study)
    if identity not in known:
        found = _stored(identity)
        known[identity] = usual if found is None else found.pins
    return known[identity]


def ties(study: Study) -> tuple[Names, ...]:
    """Return the ties: this session's, else the last ones stored, else none."""
    known: dict[str, tuple[Names, ...]] = st.session_state.setdefault(_TIES, {})
    identity = catalog.study_id(study)
    if identity not in known:
        found = _stored(identity)
        known[identity] = () if found is None else found.ties
    return known[identity]


def keep(study: Study, pinned: Names, tied: tuple[Names, ...]) -> None:
    """Keep pins and ties in the session and, where they changed, in the store."""
    identity = catalog.study_id(study)
    before = (pins(study, ()), ties(study))
    if before == (pinned, tied):
        return
    st.session_state[_PINS][identity] = pinned
    st.session_state[_TIES][identity] = tied
    try:
        resources.store().put_part(identity, HELD, Held(pins=pinned, ties=tied))
    except StoreError as error:
        st.warning(f"Pins and ties are kept in this tab only: {error}")


def _stored(identity: str) -> Held | None:
    return resources.store().get_part(identity, HELD, Held)
