"""The result store on a page: what it holds, whether it is sound, how to make room."""

import os
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from cache.errors import StoreError
from cache.store import Entry, Problem
from pages.ui import resources, session, uploads

_MIB = 2**20
_SAID = "store_said"


def draw() -> None:
    """Draw the entries by step, the check, and the removal of old results."""
    store = resources.store()
    try:
        entries = store.entries()
    except StoreError as error:
        st.error(str(error), icon=":material/error:")
        return
    kept = uploads.kept(store.root)
    uploaded = sum(path.stat().st_size for path in kept)
    with st.grid(4, min_column_width=170):
        st.metric("Results", f"{len(entries):,}", border=True)
        st.metric("Size of results", mib(sum(e.size_bytes for e in entries)), border=True)
        st.metric("Uploads", f"{len(kept):,}", border=True)
        st.metric("Size of uploads", mib(uploaded), border=True)
    if entries:
        st.dataframe(
            by_step(entries),
            hide_index=True,
            column_config={
                "Size, MiB": st.column_config.NumberColumn(format="%.3f"),
                "Newest": st.column_config.DatetimeColumn(format="distance"),
            },
            alt="Stored results by step with count and size",
        )
    _say()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if st.button(
            "Verify",
            icon=":material/fact_check:",
            help="Reads every file and compares its checksum; a second for 100 MiB or so.",
        ):
            _verify(len(entries))
        days = st.number_input("Older than, days", 0, 3650, 30, key="clear-days", width=150)
        with st.popover("Clear …", icon=":material/delete:"):
            _clear(int(days or 0))
        with st.popover("Remove unused uploads …", icon=":material/delete:"):
            _clear_uploads()
    moved = bool(os.environ.get("BITLENS_CACHE"))
    st.markdown(
        f"The store is the folder `{store.root.name}`"
        + (", named by `BITLENS_CACHE`." if moved else " in `cache/` of the checkout.")
        + " Start the app with `BITLENS_CACHE=FOLDER` to keep it elsewhere; results can be moved "
        "along by moving the folder."
    )


def by_step(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return count, size and newest date of the results of each step."""
    steps = sorted({entry.step for entry in entries})
    return pd.DataFrame(
        [
            {
                "Step": step,
                "Results": sum(e.step == step for e in entries),
                "Size, MiB": sum(e.size_bytes for e in entries if e.step == step) / _MIB,
                "Newest": max(e.created for e in entries if e.step == step),
            }
            for step in steps
        ]
    )


def mib(size: float) -> str:
    """Return bytes in MiB."""
    return f"{size / _MIB:.3g} MiB" if size >= 1024 else f"{size:.0f} B"


def _verify(count: int) -> None:
    with st.spinner("Reading every result …"):
        try:
            problems = resources.store().verify()
        except StoreError as error:
            _said("error", str(error))
            st.rerun()
    if problems:
        _said("problems", problems)
    else:
        _said("success", f"All {count:,} results are sound: every checksum fits.")
    st.rerun()


def _clear(days: int) -> None:
    active = any(job.active for job in resources.jobs().jobs())
    st.markdown(
        f"This removes results written more than **{days} days** ago, finished parts of jobs that "
        "were stopped, and what was set aside as damaged. Results that have a name are **kept**: "
        "studies, their layers, float outputs, score tables and configurations. What is removed "
        "can be computed again."
    )
    if active:
        st.markdown("Wait until no job is running: its finished parts would be removed.")
    if st.button("Remove them", type="primary", disabled=active, key="clear-confirmed"):
        try:
            freed = resources.store().clear(days * 86400.0)
            _said("success", f"Removed; {mib(freed)} are free again.")
        except StoreError as error:
            _said("error", str(error))
        st.rerun()


def _clear_uploads() -> None:
    root = resources.store().root
    texts = [
        text
        for study in session.studies().values()
        for text in (study.spec.weights, study.spec.calibration, study.spec.evaluation)
    ]
    paths = uploads.unused(root, texts)
    st.markdown(
        f"{len(paths)} uploads are older than an hour and belong to no study. Those of studies are "
        "kept."
    )
    if st.button("Remove them", type="primary", disabled=not paths, key="uploads-confirmed"):
        try:
            _said("success", f"Removed; {mib(uploads.remove(root, paths))} are free again.")
        except StoreError as error:
            _said("error", str(error))
        st.rerun()


def _said(kind: str, what: str | tuple[Problem, ...]) -> None:
    st.session_state[_SAID] = (kind, what)


def _say() -> None:
    """Draw, once, what the last action said."""
    kind, what = st.session_state.pop(_SAID, ("", ""))
    if kind == "success":
        st.success(what, icon=":material/check_circle:")
    elif kind == "error":
        st.error(what, icon=":material/error:")
    elif kind == "problems":
        st.warning(f"Problems found: {len(what)}. Damaged results are computed again when needed.")
        st.dataframe(
            pd.DataFrame([{"Kind": p.kind, "What": p.text, "Where": p.path} for p in what]),
            hide_index=True,
            alt="Problems of the store",
        )
