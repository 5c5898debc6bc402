"""Session state: every key in one place, the current study and its draft allocation."""

from typing import Any, NoReturn

import streamlit as st

from analysis import catalog
from analysis.records import Allocation, LayerTable, Study
from cache.errors import StoreError
from pages.ui import resources

# Filled by the main script: url path -> page, for links between pages.
PAGES: dict[str, Any] = {}


class Key:
    """Names in the session state; no page types one itself."""

    STUDY = "study"
    LAYER = "layer"
    SAMPLE = "sample"
    WAITING = "study_being_opened"
    OPEN_NEXT = "study_to_select"
    DRAFT = "draft_of"
    SOLUTIONS = "solutions"
    SOLVED = "just_solved"
    VERSION = "draft_version"


def studies() -> dict[str, Study]:
    """Return every study of the store by name."""
    return catalog.studies(resources.store())


def study() -> Study | None:
    """Return the study that is selected in the sidebar."""
    name = st.session_state.get(Key.STUDY)
    return studies().get(name) if name else None


def select_study(name: str) -> None:
    """Select a study on the next run; the sidebar's widget owns the choice during a run."""
    st.session_state[Key.OPEN_NEXT] = name


def layer() -> str:
    """Return the layer that is selected in the sidebar, empty for none."""
    return str(st.session_state.get(Key.LAYER) or "")


def sample(n: int) -> int | None:
    """Return the calibration sample that is selected in the sidebar, None for none below ``n``."""
    chosen = st.session_state.get(Key.SAMPLE)
    return int(chosen) if chosen is not None and 0 <= int(chosen) < n else None


def pick(key: str, selected: Any) -> None:
    """Select the layer or sample of a click in a chart; for callbacks, before the page is drawn.

    Args:
        key: :attr:`Key.LAYER` or :attr:`Key.SAMPLE`.
        selected: The chart's selection; its first point's custom data hold the value.
    """
    points = getattr(selected, "selection", {}).get("points", [])
    if not points:
        return
    data = points[0].get("customdata")
    value = data[0] if isinstance(data, list) else data
    if value is not None:
        st.session_state[key] = int(value) if key == Key.SAMPLE else str(value)


def go_to(page: str) -> NoReturn:
    """Go to another page by its url path, with the selection of the sidebar."""
    # Without parameters of its own Streamlit would clear the link's, which bound widgets forbid.
    st.switch_page(PAGES[page], query_params={})
    raise RuntimeError("st.switch_page() returned")


def wait_for(name: str) -> None:
    """Remember that this session asked for a study that is being opened."""
    st.session_state[Key.WAITING] = name


def waits_for(name: str) -> bool:
    """Tell, once, whether this session asked for the study."""
    if st.session_state.get(Key.WAITING) != name:
        return False
    del st.session_state[Key.WAITING]
    return True


def table(current: Study) -> LayerTable | None:
    """Return the study's layer table if it is stored."""
    return catalog.layer_table(resources.store(), current)


def draft(current: Study, layer_table: LayerTable) -> Allocation:
    """Return the allocation being edited: this session's, else the last one stored, else w8a8."""
    from analysis.allocation_file import uniform_allocation
    from analysis.records import Candidate

    drafts = st.session_state.setdefault(Key.DRAFT, {})
    identity = catalog.study_id(current)
    if identity not in drafts:
        found = resources.store().get_part(identity, Key.DRAFT, Allocation)
        if found is None or found.layers != layer_table.names:
            found = uniform_allocation(layer_table, Candidate.parse("w8a8"))
        drafts[identity] = found
    kept: Allocation = drafts[identity]
    return kept


def set_draft(current: Study, allocation: Allocation, *, rebuild: bool) -> None:
    """Keep the allocation being edited, in the session and in the store.

    Args:
        current: The study.
        allocation: The new draft.
        rebuild: Whether editors must be built anew because the change did not come from them.
    """
    identity = catalog.study_id(current)
    st.session_state.setdefault(Key.DRAFT, {})[identity] = allocation
    try:
        resources.store().put_part(identity, Key.DRAFT, allocation)
    except StoreError as error:
        st.warning(f"The draft is kept in this tab only: {error}")
    if rebuild:
        st.session_state[Key.VERSION] = st.session_state.get(Key.VERSION, 0) + 1


def version() -> int:
    """Return how often editors were rebuilt; part of their widget keys."""
    return int(st.session_state.get(Key.VERSION, 0))
