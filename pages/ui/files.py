"""Allocation files on a page: copy, download, paste."""

import streamlit as st

from analysis.allocation_file import allocation_json, read_allocation
from analysis.errors import AnalysisError
from analysis.records import Allocation
from pages.ui import drafting
from pages.ui.shell import Page


def exchange(page: Page, draft: Allocation) -> None:
    """Draw the draft as JSON to copy, and a field that takes another allocation."""
    text = allocation_json(draft, study=page.study.spec.name)
    left, right = st.columns(2)
    with left:
        st.markdown("**Copy**")
        st.code(text, language="json", height=240)
        st.download_button(
            "Download", text, "allocation.json", "application/json", icon=":material/download:"
        )
    with right, st.form("paste", border=False):
        pasted = st.text_area("**Paste**", height=240, placeholder='{"allocation": {...}}')
        if st.form_submit_button("Use this allocation"):
            try:
                allocation = read_allocation(pasted, page.table)
            except AnalysisError as error:
                st.error(str(error), icon=":material/error:")
                return
            if drafting.replace_draft(page, allocation):
                st.toast(drafting.SETTLED, icon=":material/link:")
            st.rerun()
