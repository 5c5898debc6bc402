"""Named allocations: saved before they are measured, loaded again, compared with."""

import streamlit as st

from analysis import catalog
from analysis.records import Allocation, Configuration, Solution, Study
from cache.keys import key
from pages.equalizer import Ghost
from pages.ui import drafting, resources
from pages.ui.shell import Page

LAST_SOLUTION = "last solution"
MAX_NAME = 80  # characters


def saved(study: Study) -> dict[str, Allocation]:
    """Return the allocations that were saved by name, measured or not."""
    store = resources.store()
    found = {name: store.get(at, Allocation) for name, at in store.named(_kind(study)).items()}
    return {name: each for name, each in found.items() if each is not None}


def name_of(study: Study, allocation: Allocation) -> str:
    """Return the name an allocation was saved under, empty if it was not."""
    return next((name for name, each in saved(study).items() if each == allocation), "")


def ghosts(
    page: Page, configurations: dict[str, Configuration], solution: Solution | None
) -> list[Ghost]:
    """Return every other allocation of the study by name, one of several equal ones."""
    found: dict[str, Allocation] = {}
    if solution is not None:
        found[f"{LAST_SOLUTION} ({solution.solver})"] = solution.allocation
    known = saved(page.study)
    found |= known
    for name, each in configurations.items():
        if known.get(name) != each.allocation:
            found[f"{name} (measured)" if name in known else name] = each.allocation
    return [Ghost(name, each) for name, each in found.items() if each.layers == page.table.names]


def save_form(page: Page, draft: Allocation) -> None:
    """Draw what saves the draft under a name."""
    name = st.text_input(
        "Name", key="save-as-name", placeholder="half the size", max_chars=MAX_NAME
    ).strip()
    if name in saved(page.study):
        st.markdown(f":material/warning: **{name}** is taken; saving replaces it.")
    if st.button("Save", type="primary", key="save-as", disabled=not name):
        _save(page.study, name, draft)
        st.toast(f"Saved as {name}.", icon=":material/bookmark_added:")
        st.rerun()


def load_form(page: Page, others: list[Ghost]) -> None:
    """Draw what makes a named allocation the draft, or deletes its name."""
    if not others:
        st.markdown("Nothing is saved or measured yet.")
        return
    names = [each.name for each in others]
    name = st.selectbox("Allocation", names, key="load-name")
    with st.container(horizontal=True):
        if st.button("Load", type="primary", key="load-named"):
            if drafting.replace_draft(page, others[names.index(name)].allocation):
                st.toast(drafting.SETTLED, icon=":material/link:")
            st.rerun()
        if name in saved(page.study) and st.button("Delete the name", key="delete-named"):
            resources.store().unname(_kind(page.study), name)
            st.rerun()


def _save(study: Study, name: str, allocation: Allocation) -> None:
    store = resources.store()
    inputs = catalog.study_key_inputs(study)
    chosen = {"allocation": {layer: c.text for layer, c in allocation.as_dict().items()}}
    at = key("allocation", 1, inputs, chosen)
    store.put(at, allocation, step="allocation", inputs=inputs, options=chosen)
    store.name(_kind(study), name, at)


def _kind(study: Study) -> str:
    return f"allocation of {catalog.study_id(study)}"
