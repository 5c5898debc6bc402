"""Samples in a row, each with a button that selects it for all pages."""

from collections.abc import Sequence

import streamlit as st

from analysis.data.dataset import Dataset
from analysis.records import FloatArray
from analysis.sensitivity.task import CALIBRATION
from pages.ui import resources
from pages.ui.session import Key
from pages.ui.shell import Page

SHOWN = 8


def dataset(page: Page, role: str = CALIBRATION) -> Dataset:
    """Return one of the sets of the study."""
    live = resources.workspace().live(page.study)
    return live.calibration if role == CALIBRATION else live.evaluation


def gallery(
    page: Page, numbers: Sequence[int], scores: FloatArray, key: str, role: str = CALIBRATION
) -> None:
    """Draw samples with their scores.

    Args:
        page: The page.
        numbers: Of the samples, at most :data:`SHOWN`.
        scores: Of every sample, (N,).
        key: Of the widgets.
        role: Set that the numbers belong to; only calibration samples can be selected.
    """
    data = dataset(page, role)
    for number, cell in zip(numbers, st.columns(SHOWN), strict=False):
        label = data.label(number)
        name = f"#{number} · {label}" if label else f"#{number}"
        with cell:
            st.image(
                data.thumbnail(number),
                width="stretch",
                alt=f"Sample {name}",
                caption=f"{scores[number]:.3g}",
            )
            st.button(
                name,
                key=f"{key}-{number}",
                help="Select this sample on all pages"
                if role == CALIBRATION
                else "A sample of the evaluation set; only calibration samples can be selected",
                width="stretch",
                disabled=role != CALIBRATION,
                on_click=select,
                args=(number,),
            )


def select(number: int) -> None:
    """Select a calibration sample for all pages; for callbacks, before the page is drawn."""
    st.session_state[Key.SAMPLE] = number
