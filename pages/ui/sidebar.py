"""The sidebar of every page: study, selected layer, what runs."""

import streamlit as st

from pages.ui import resources, session
from pages.ui.session import Key


def draw() -> None:
    """Draw the sidebar; its widgets own the parts of the link that survive page changes."""
    studies = session.studies()
    pending = st.session_state.pop(Key.OPEN_NEXT, None)
    with st.sidebar:
        if studies:
            asked = st.query_params.get(Key.STUDY)
            if asked and asked not in studies:
                st.warning(f"There is no study `{asked}` here; another one is shown.")
            _choose(list(studies), pending)
            current = session.study()
            if current is not None:
                table = session.table(current)
                if table is not None:
                    st.selectbox(
                        "Layer",
                        ["", *table.names],
                        key=Key.LAYER,
                        bind="query-params",
                        format_func=lambda name: name or "none selected",
                        help="Shared by all pages and kept in the link.",
                    )
                st.number_input(
                    "Sample",
                    0,
                    current.calibration.n - 1,
                    None,
                    key=Key.SAMPLE,
                    bind="query-params",
                    placeholder="none selected",
                    help="Of the calibration set, by number. Shared by all pages and kept in the "
                    "link.",
                )
        else:
            st.markdown("No study yet: open the demo on the overview.")
        _jobs()


def _choose(names: list[str], pending: str | None) -> None:
    """Draw the study's selector so that every link names its study.

    A bound widget leaves its default out of the link, and the first study of the list is another
    one tomorrow: the widget therefore has no default, and its value is set from here. Streamlit
    carries a set value to the link from a session's second run on, the first is up to us.
    """
    first_run = Key.STUDY not in st.session_state
    linked = st.query_params.get(Key.STUDY)  # all that a tab keeps when the server starts anew
    asked_for = (pending, st.session_state.get(Key.STUDY), linked, names[0])
    name = next(name for name in asked_for if name in names)
    st.session_state[Key.STUDY] = name
    if first_run and Key.STUDY not in st.query_params:
        st.query_params[Key.STUDY] = name
    st.selectbox("Study", names, index=None, key=Key.STUDY, bind="query-params")
    if st.session_state[Key.STUDY] is None:  # back in the browser's history, to a link without
        st.rerun()


def _jobs() -> None:
    active = any(job.active for job in resources.jobs().jobs())
    st.fragment(_status, run_every=1.0 if active else None)()


def _status() -> None:
    running = [job for job in resources.jobs().jobs() if job.active]
    if not running:
        st.markdown(":material/check_circle: No job is running.")
        if st.session_state.pop("jobs_were_active", False):
            st.rerun()
        return
    st.session_state["jobs_were_active"] = True
    job = running[-1]
    more = f" and {len(running) - 1} more" if len(running) > 1 else ""
    st.progress(job.fraction, text=f"{job.title}{more}")
