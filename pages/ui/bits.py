"""The bits as a table: every format of every layer from a list, pasteable and accessible."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from analysis.allocation.edit import from_formats, settle
from analysis.cost_tables import NAMES
from analysis.plots.bits import scores_at
from analysis.records import Allocation, ScoreTable
from pages.ui import drafting, session
from pages.ui.shell import Page


def editor(page: Page, draft: Allocation, scores: ScoreTable | None) -> None:
    """Draw the editable table; edits become the draft, pins and groups respected.

    The table is built from the draft of its first run and keeps its own edits; it is built anew
    only when something else changes the draft.
    """
    key = drafting.table_key()
    base: Allocation = st.session_state.setdefault(f"{key}-base", draft)
    held, ties = drafting.pins(page.study, page.table), drafting.ties(page.study)
    edited = st.data_editor(
        _frame(page, base, scores, held, tie_letters(ties)),
        key=key,
        hide_index=True,
        height=min(36 * (len(page.table.layers) + 1) + 3, 640),
        row_height=36,
        disabled=["Layer", "Pin", "Tie", "Group", "Weights", "MACs", "Share of size", "Score"],
        column_config=_columns(scores),
        alt="Editable table of the format of every layer",
    )
    wanted = from_formats(page.table, list(edited["Weight"]), list(edited["Activation"]))
    settled = settle(page.table, draft, wanted, held, ties)
    if settled != wanted:
        session.set_draft(page.study, settled, rebuild=True)
        st.toast(
            "Pinned layers keep their formats; tied layers share theirs, and so do layers that "
            "read one tensor."
        )
        st.rerun()
    if settled != draft:
        drafting.from_table(page, settled)
        st.rerun()


def tie_letters(ties: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the letter of each tied layer as the equalizer shows it: A, B, ... Z, AA, AB, ..."""
    return {name: _letters(place) for place, own in enumerate(ties) for name in own}


def _letters(place: int) -> str:
    rest, last = divmod(place, 26)
    return (_letters(rest - 1) if rest else "") + chr(ord("A") + last)


def _columns(scores: ScoreTable | None) -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    select = st.column_config.SelectboxColumn
    return {
        "Layer": text(pinned=True, width="medium"),
        "Weight": select(
            options=list(NAMES), required=True, width="small", help="Format of the weights"
        ),
        "Activation": select(
            options=list(NAMES),
            required=True,
            width="small",
            help="Format of the tensor that the layer reads; shared within a group",
        ),
        "Pin": text(width="small", help="Held: release it in the equalizer"),
        "Tie": text(width="small", help="Layers of one letter take one candidate"),
        "Group": number(width="small", help="Layers of one group read a common tensor"),
        "Weights": number(format="localized", width="small"),
        "MACs": number(format="compact", width="small"),
        "Share of size": st.column_config.ProgressColumn(
            format="percent", min_value=0.0, max_value=1.0, width="small"
        ),
        "Score": number(
            f"Score ({scores.unit})" if scores else "Score",
            format="scientific",
            help="Predicted harm of the chosen candidate, as of the last rebuild of the table",
        ),
    }


def _frame(
    page: Page,
    allocation: Allocation,
    scores: ScoreTable | None,
    held: tuple[str, ...],
    letters: dict[str, str],
) -> pd.DataFrame:
    table = page.table
    total = sum(layer.num_weights for layer in table.layers)
    known = (
        [None] * len(table.layers)
        if scores is None
        else scores_at(scores, table.names, allocation.candidates)
    )
    return pd.DataFrame(
        [
            {
                "Layer": layer.name,
                "Weight": candidate.weight,
                "Activation": candidate.activation,
                "Score": score,
                "Share of size": layer.num_weights / total,
                "Weights": layer.num_weights,
                "MACs": layer.macs,
                "Group": layer.activation_group,
                "Pin": "pinned" if layer.name in held else "",
                "Tie": letters.get(layer.name, ""),
            }
            for layer, candidate, score in zip(
                table.layers, allocation.candidates, known, strict=True
            )
        ]
    )
