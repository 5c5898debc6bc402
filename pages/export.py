"""Take an allocation away in a form that another tool reads."""

import streamlit as st

from analysis.export import EXPORTERS
from pages.ui import allocations, exports, forms, measured, shell
from pages.ui.allocations import DRAFT, SAVED

page = shell.open_page("Export", "How do I take the chosen bits to another tool?")
left, right = st.columns([3, 2], gap="large")
with left:
    chosen = allocations.choose(page, "export", (DRAFT, SAVED))
with right:
    name = st.selectbox(
        "Format",
        EXPORTERS.names(),
        format_func=lambda n: EXPORTERS[n].title,
        key="export-format",
    )
    exporter = EXPORTERS[name]
    forms.about(exporter)
    options = forms.edit(exporter.options, key=f"export-options-{name}")
if chosen is None:
    shell.link("quantization", "Quantize an allocation")
    st.stop()

measured.forecast(page, chosen.allocation)
made = exports.write(page, chosen, exporter, options)
if made is None:
    st.stop()
if exports.checks(made):
    exports.downloads(made.files, exporter.name)
else:
    st.markdown("Nothing is offered for download, because a check failed.")
exports.preview(made.files)
allocations.command(page, chosen, exports.command(page, chosen, exporter, options, made), "export")
