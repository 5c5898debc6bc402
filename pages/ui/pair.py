"""Two configurations against each other: difference, flipped samples, changed layers."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from analysis.comparison import Comparison, Flip, changes, compare
from analysis.data.dataset import Dataset
from analysis.errors import AnalysisError
from analysis.records import FLOAT, Configuration, Evaluation, Paired
from pages.ui import resources, shell, words
from pages.ui.shell import Page

_SHOWN = 12
_SIDE = 140  # pixels


def pick(shown: Mapping[str, Configuration]) -> tuple[str, str] | None:
    """Let the user choose two different entries, the float network among them."""
    names = [*shown, FLOAT]
    left, right = st.columns(2)
    first = left.selectbox("First", names, 0, key="pair-first")
    second = right.selectbox("Second", names, len(names) - 1, key="pair-second")
    if first == second:
        st.info("Choose two different configurations to compare.")
        return None
    return first, second


def draw(
    page: Page,
    names: tuple[str, str],
    shown: Mapping[str, Configuration],
    reference: Evaluation,
) -> None:
    """Draw the comparison of two entries."""
    measured = [shown[name].measured if name in shown else reference for name in names]
    try:
        found = compare(*measured)
    except AnalysisError as error:
        st.error(str(error), icon=":material/error:")
        return
    st.markdown(f"#### {sentence(*names, found.paired, measured[0].n)}")
    with st.container(horizontal=True):
        if measured[0].labelled:
            shell.card("Only the first is right", f"{found.paired.only_first:,}", "samples")
            shell.card("Only the second is right", f"{found.paired.only_second:,}", "samples")
            shell.card("Both wrong, other class", f"{found.both_wrong:,}", "samples")
            shell.card("McNemar", _p(found.paired.p_value), "exact test, two-sided")
        shell.card(
            "Same prediction", f"{found.paired.agreement:.2%}", f"of {measured[0].n:,} samples"
        )
    _thumbnails(page, found)
    if all(name in shown for name in names):
        _layers(page, shown[names[0]], shown[names[1]])


def sentence(first: str, second: str, paired: Paired, n: int) -> str:
    """Say who is better, by how much, and whether that stands out of the noise."""
    if paired.difference != paired.difference:
        return f"{first} and {second} agree on {paired.agreement:.2%} of {n:,} samples"
    low, high, size = 100 * paired.low, 100 * paired.high, f"n = {n:,}"
    if not words.significant(paired):
        return (
            f"Inside the noise: {first} against {second} is {100 * paired.difference:+.2f} points "
            f"(95 % interval {low:+.1f} to {high:+.1f}, {size})"
        )
    better, worse = (first, second) if paired.difference > 0 else (second, first)
    low, high = sorted((abs(low), abs(high)))
    return (
        f"{better} is better than {worse} by {100 * abs(paired.difference):.2f} points "
        f"(95 % interval {low:.1f} to {high:.1f}, {size})"
    )


def _p(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else f"p = {value:.0e}"


def _thumbnails(page: Page, found: Comparison) -> None:
    if not found.flips:
        st.markdown("No sample flipped: every prediction is the same.")
        return
    few = found.flips[:_SHOWN]
    some = f", {len(few)} of them shown" if len(few) < len(found.flips) else ""
    st.subheader("Flipped samples", anchor=False)
    differ = (
        "1 prediction differs"
        if len(found.flips) == 1
        else f"{len(found.flips):,} predictions differ"
    )
    st.markdown(f"{differ}{some}; below each the label, then first → second prediction.")
    try:
        with st.spinner("loading the samples"):
            data = resources.workspace().live(page.study).evaluation
    except AnalysisError as error:
        st.warning(f"The samples cannot be shown: {error}", icon=":material/warning:")
        return
    with st.container(horizontal=True):
        for flip in few:
            st.image(data.thumbnail(flip.sample), width=_SIDE, caption=_caption(flip, data))


def _caption(flip: Flip, data: Dataset) -> str:
    label = "" if data.labels is None else f"label {data.label(flip.sample)}: "
    marks = [
        f"{data.class_name(number)}{' ✓' if right else ''}"
        for number, right in ((flip.first, flip.first_correct), (flip.second, flip.second_correct))
    ]
    return f"#{flip.sample} · {label}{' → '.join(marks)}"


def _layers(page: Page, first: Configuration, second: Configuration) -> None:
    st.subheader("Changed layers", anchor=False)
    changed = changes(first.allocation, second.allocation, page.table)
    if not changed:
        st.markdown("The two have the same bits in every layer; method or settings differ.")
        return
    saved = sum(each.saved_bytes for each in changed)
    st.markdown(
        f"{len(changed)} of {len(page.table.layers)} layers; the second is "
        f"{abs(saved) / 1024:.1f} KiB {'smaller' if saved >= 0 else 'larger'} in weights."
    )
    rows = [
        {
            "Layer": each.layer,
            "First": each.first.text,
            "Second": each.second.text,
            "Weights": each.num_weights,
            "Saved (KiB)": each.saved_bytes / 1024,
        }
        for each in changed
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=min(35 * (len(rows) + 1) + 3, 420),
        column_config={
            "Layer": st.column_config.TextColumn(pinned=True),
            "Weights": st.column_config.NumberColumn(format="localized"),
            "Saved (KiB)": st.column_config.NumberColumn(
                format="%+.2f", help="Weights of the second against the first"
            ),
        },
        alt="Layers with different formats",
    )
