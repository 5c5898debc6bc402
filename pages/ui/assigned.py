"""What was measured of exactly the allocation at hand."""

import streamlit as st

from analysis.records import Configuration
from pages.ui import shell, words


def result(found: Configuration | None, *, predicted: bool) -> None:
    """Draw the measured cards; measured values only, with n and interval.

    Args:
        found: What was measured, None for nothing.
        predicted: Whether there are scores that predict.
    """
    if found is None:
        rest = "; what is predicted above comes from scores" if predicted else ""
        st.markdown(f":material/straighten: This allocation is **not measured**{rest}.")
        return
    measured, paired = found.measured, found.measured.versus_float
    with st.container(horizontal=True):
        if measured.labelled:
            shell.card("Measured accuracy", f"{measured.top1:.2%}", words.interval(measured))
        if paired is not None and measured.labelled:
            rest = words.difference(paired).split(" points ", 1)[1]
            shell.card("Against float, paired", f"{100 * paired.difference:+.2f} points", rest)
        if paired is not None:
            shell.card(
                "Same prediction as float",
                f"{paired.agreement:.2%}",
                f"of {measured.n:,} evaluation samples",
            )
        shell.card("Measured KL from float", f"{measured.kl:.3g} nats", f"n = {measured.n:,}")
