"""Navigation and what every page shares: the study, the selected layer, the job status."""

from pathlib import Path

import streamlit as st

from analysis.errors import AnalysisError
from pages.ui import session, sidebar

# A file of our own: an icon by name would be fetched from the network.
ICON = Path(__file__).parent / "ui" / "icon.png"
st.set_page_config(page_title="Bitlens", page_icon=ICON, layout="wide")

# Group -> (file, title, icon); the file's name is the page's path in the link.
_MENU = {
    "": (("overview", "Overview", "home"), ("data", "Study", "dataset")),
    "Analyse": (
        ("sensitivity", "Sensitivity", "monitoring"),
        ("agreement", "Agreement", "rule"),
        ("samples", "Samples", "image_search"),
        ("distributions", "Distributions", "bar_chart"),
        ("initialization", "Initialization", "science"),
    ),
    "Decide": (
        ("assignment", "Bit assignment", "equalizer"),
        ("curves", "Accuracy curves", "show_chart"),
        ("quantization", "Quantization", "compress"),
        ("comparison", "Comparison", "compare_arrows"),
    ),
    "Take away": (("export", "Export", "ios_share"), ("jobs", "Jobs and store", "work_history")),
}

PAGES = {
    group: [
        st.Page(
            f"{name}.py",
            title=title,
            icon=f":material/{icon}:",
            url_path=None if name == "overview" else name,
            default=name == "overview",
        )
        for name, title, icon in entries
    ]
    for group, entries in _MENU.items()
}
for group, entries in _MENU.items():
    session.PAGES.update(zip((name for name, _, _ in entries), PAGES[group], strict=True))
page = st.navigation(PAGES, expanded=True)
st.html(
    "<style>.stMainBlockContainer{padding-top:3.5rem;max-width:1320px}"
    # There is always a study: the selector has no default only for the sake of the link.
    ".stSidebar button[aria-label='Clear value']{display:none}</style>"
)
sidebar.draw()
try:
    page.run()
except AnalysisError as refused:
    # What a field holds by itself but not beside the others: the page ends where it came up, which
    # may be below what is in sight.
    st.error(str(refused), icon=":material/error:")
    st.toast(str(refused), icon=":material/error:")
