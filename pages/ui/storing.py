"""What a backend would store of the allocation at hand, where that is not what was asked for."""

import pandas as pd
import streamlit as st

from analysis.quant.backends import BACKENDS
from analysis.quant.storage import sentences, stored_as
from analysis.records import Allocation, Storage
from analysis.records.storage import SAME
from pages.ui.shell import Page

_NONE, _USUAL = "", "onnx"


def section(page: Page, draft: Allocation) -> None:
    """Draw the choice of a backend and what it stores in another way than the draft asks for."""
    names = [_NONE, *BACKENDS.names()]
    name = st.selectbox(
        "Backend",
        names,
        names.index(_USUAL),
        format_func=lambda n: BACKENDS[n].title if n else "None",
        key="backend",
        persist_state="session",
        width=300,
        help="Not every format has an integer of its own there: what is stored instead is said "
        "here. It changes no number of this page.",
    )
    if not name:
        return
    storage = stored_as(page.table, draft, name)
    said = sentences(storage)
    if not storage.changed:
        st.success(" ".join(said), icon=":material/check_circle:")
        return
    st.warning("\n".join(f"- {sentence}" for sentence in said))
    count = len(storage.changed)
    label = f"{'1 layer' if count == 1 else f'{count} layers'} stored in another way"
    with st.expander(
        label, icon=":material/save:", key="storage-table", on_change="rerun"
    ) as listed:
        if listed.open:
            _table(storage)
            st.markdown(f":gray[Facts: {BACKENDS[name].reference}.]")


def _table(storage: Storage) -> None:
    rows = [
        (layer.layer, role, kept.asked, kept.stored, kept.bits, kept.reason)
        for layer in storage.changed
        for role, kept in (("weight", layer.weight), ("activation", layer.activation))
        if kept.how != SAME
    ]
    st.dataframe(
        pd.DataFrame(rows, columns=["Layer", "Tensor", "Asked", "Stored as", "Bits", "Reason"]),
        hide_index=True,
        column_config={
            "Layer": st.column_config.TextColumn(pinned=True),
            "Bits": st.column_config.NumberColumn(help="Of one stored value", width="small"),
            "Reason": st.column_config.TextColumn(width="large"),
        },
        alt="Table of what a backend stores in another way than asked for",
    )
