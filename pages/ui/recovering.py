"""What a method changed in every layer, below what it measures."""

import pandas as pd
import streamlit as st

from analysis import workflow
from analysis.plots.recovery import recovery_chart
from analysis.records import Recovery
from analysis.workflow.recovering import NEAREST, spread
from analysis.workflow.recovery_words import sentences, setting
from pages.ui import charts, resources, session, trained, work
from pages.ui.session import Key
from pages.ui.shell import Page

_ROW = 36


def section(page: Page, recipe: workflow.Recipe) -> None:
    """Draw what the method of a measured recipe changed, or offer to find out."""
    st.subheader("What the method changed", anchor=False)
    if recipe.method == NEAREST:
        st.markdown(
            ":gray[Every weight is rounded to the level nearest to it: there is nothing to compare "
            "with rounding to nearest.]"
        )
        return
    step = workflow.recovery(resources.workspace(), page.study, recipe)
    estimate = f"{len(spread(page.study.calibration.n)):,} calibration samples, three passes"
    if not trained.trains(recipe.method):
        estimate += ", after the method has run once more"
    found = work.obtain(step, "Compare with rounding to nearest", estimate, primary=False)
    if found is not None:
        _draw(found)


def _draw(found: Recovery) -> None:
    for sentence in sentences(found):
        st.markdown(f"- {sentence}")
    if (found.before > 0).any() or (found.after > 0).any():
        charts.draw(recovery_chart(found, session.layer() or None), "recovery", picks=Key.LAYER)
    rows = [
        {
            "Layer": name,
            "Weights": int(found.weights[at]),
            "Moved": 100 * found.moved[at],
            "Nearest": 100 * found.before[at],
            "Method": 100 * found.after[at],
            "Gain": found.gain[at],
        }
        for at, name in enumerate(found.layers)
    ]
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        row_height=_ROW,
        height=min(_ROW * (len(rows) + 1) + 3, 460),
        column_config={
            "Layer": st.column_config.TextColumn(pinned=True),
            "Weights": number(format="%d"),
            "Moved": number(
                "Weights moved (%)",
                format="%.2f",
                help="Share whose code is not the one that rounding to nearest gives",
            ),
            "Nearest": number(
                "Error, nearest (%)",
                format="%.3g",
                help="Of the layer's output, in % of its variance, the whole network quantized",
            ),
            "Method": number(f"Error, {found.method} (%)", format="%.3g"),
            "Gain": number("Gain (dB)", format="%+.1f", help="Positive: nearer to float"),
        },
        placeholder="–",
        alt="Every layer with the weights that moved and its error before and after",
    )
    st.markdown(f":gray[{setting(found)}]")
