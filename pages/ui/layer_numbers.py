"""The distributions page's table: every layer as a row, before and after where two are compared."""

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from analysis.distributions.changed import changes
from analysis.distributions.summary import layer_summary
from analysis.records import Distributions

_ROW = 36
# What a change of ranges changes; these stand twice in a comparison.
_TWICE = ("low", "high", "acp", "bits_median", "bits_worst")


def table(
    found: Distributions,
    other: Distributions | None,
    role: str,
    bits: int,
    *,
    what: str,
    word: str,
) -> None:
    """Draw the statistics of every layer as a row.

    Args:
        found: The distributions.
        other: Those of another network; its numbers stand behind those that they compare with.
        role: Of the tensors.
        bits: Of the grids.
        what: The tensors in words.
        word: What the other network's numbers are called: "after".
    """
    frame = pd.DataFrame(layer_summary(found, role, bits))
    config = _columns()
    if other is not None:
        frame, config = _compared(frame, config, found, other, role, bits, word)
    if not frame["reason"].any():
        frame = frame.drop(columns="reason")
    st.subheader("All layers in numbers", anchor=False)
    st.dataframe(
        frame,
        hide_index=True,
        row_height=_ROW,
        height=min(_ROW * (len(frame) + 1) + 3, 560),
        column_config=config,
        placeholder="–",
        alt=f"Statistics of the {what} of every layer",
    )


def _compared(
    frame: pd.DataFrame,
    config: dict[str, Any],
    found: Distributions,
    other: Distributions,
    role: str,
    bits: int,
    word: str,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Put the other network's numbers behind the first one's, and how far ends moved in front."""
    moved = changes(found, other, role)
    frame.insert(1, "change", [moved.get(layer) for layer in found.layers])
    rows = {row["layer"]: row for row in layer_summary(other, role, bits)}
    labels = {"low": "Min", "high": "Max", "acp": "ACP", "bits_median": "Bits left"}
    for name in _TWICE:
        values = [rows[layer][name] if layer in rows else None for layer in found.layers]
        frame.insert(list(frame.columns).index(name) + 1, f"{name}_after", values)
        config[f"{name}_after"] = st.column_config.NumberColumn(
            f"{labels.get(name, 'Worst')}, {word}", format="%.3g"
        )
    config["change"] = st.column_config.NumberColumn(
        "Moved",
        format="percent",
        help="How far the ends of the channels moved, mean, over the layer's range before",
    )
    return frame, config


def _columns() -> dict[str, Any]:
    number = partial(st.column_config.NumberColumn, format="%.3g")
    return {
        "layer": st.column_config.TextColumn("Layer", pinned=True),
        "low": number("Min"),
        "high": number("Max"),
        "mean": number("Mean"),
        "std": number("Std"),
        "kurtosis": number("Kurtosis", help="3 for a Gaussian, more with heavier tails"),
        "q01": number("1 %"),
        "q99": number("99 %"),
        "acp": number("ACP", help="Average channel precision: mean share of the layer's range"),
        "bits_median": number("Bits left", help="Of the typical channel, one range for all"),
        "bits_worst": number("Worst", help="Bits left of the worst channel, one range for all"),
        "dead": st.column_config.NumberColumn(
            "One value", help="Channels that hold one value only: dead ones, where it is zero"
        ),
        "channels": st.column_config.NumberColumn("Channels"),
        "zeros": st.column_config.NumberColumn("Zeros", format="percent"),
        "outlier_ratio": number("Range / 98 %", help="Range over that of 98 % of the values"),
        "reason": st.column_config.TextColumn("Not described"),
    }
