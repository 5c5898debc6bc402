"""Times of the layers, from a file or measured here: what a budget in milliseconds needs."""

from dataclasses import dataclass

import streamlit as st

from analysis import workflow
from analysis.errors import AnalysisError
from analysis.latency.table_file import latency_csv, read_latency
from analysis.records import LatencyTable
from pages.ui import resources, work
from pages.ui.shell import Page

_MAX_MIB = 4
_FILE, _HERE = "CSV file", "Measured on this machine"


@dataclass(frozen=True, slots=True)
class Times:
    """A latency table and the file that the equal command line names."""

    table: LatencyTable
    file: str


def choose(page: Page, key: str) -> Times | None:
    """Draw the choice; None while there is no readable table."""
    source = st.segmented_control(
        "Times of the layers", [_FILE, _HERE], default=_FILE, key=f"{key}-source"
    )
    return _measured(page) if source == _HERE else _file(key)


def _file(key: str) -> Times | None:
    upload = st.file_uploader(
        "Columns: layer or shape, candidate, ms",
        ["csv"],
        key=f"{key}-upload",
        max_upload_size=_MAX_MIB,
    )
    if upload is None:
        return None
    content = upload.getvalue()
    if len(content) > _MAX_MIB * 2**20:
        st.error(f"A latency table must not exceed {_MAX_MIB} MiB: leave out what is not needed.")
        return None
    try:
        text = content.decode("utf-8", errors="replace")
        return Times(read_latency(text, "the uploaded file"), "latency.csv")
    except AnalysisError as error:
        st.error(str(error), icon=":material/error:")
        return None


def _measured(page: Page) -> Times | None:
    step = workflow.latency(resources.workspace(), page.study)
    found = work.obtain(
        step,
        "Time every layer",
        "each alone, with onnxruntime, in w8a8 and in float; a few seconds",
        primary=False,
    )
    if found is None:
        return None
    st.markdown(f":gray[{found.source}. Only w8a8 and float are timed.]")
    st.download_button(
        "Download as CSV",
        latency_csv(found),
        "latency.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
    return Times(found, "latency.csv")
