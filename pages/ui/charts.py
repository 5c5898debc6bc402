"""What the sensitivity page shows around its figures."""

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from analysis.options import Options
from analysis.outliers import totals
from analysis.plots.theme import alt_text
from analysis.records import ScoreTable
from analysis.registry import Method
from pages.ui import session
from pages.ui.gallery import SHOWN, gallery
from pages.ui.shell import Page


def draw(figure: go.Figure, key: str, picks: str = "") -> None:
    """Draw a figure with its alternative text and without the toolbar.

    Args:
        figure: The figure.
        key: Of the widget.
        picks: What a click selects on all pages: a key of the session whose value the points'
            custom data begin with; empty for figures that are only looked at.
    """
    config = {"displayModeBar": False}
    if not picks:
        st.plotly_chart(figure, key=key, config=config, alt=alt_text(figure))
        return
    st.plotly_chart(
        figure,
        key=key,
        config=config,
        alt=alt_text(figure),
        selection_mode="points",
        on_select=lambda: session.pick(picks, st.session_state[key]),
    )


def score_estimate(page: Page, method: Method, options: Options, candidates: int) -> str:  # type: ignore[type-arg]
    """Say what the metric will cost before it starts."""
    layers, n = len(page.table.layers), page.study.calibration.n
    said = f"{n:,} calibration samples, C = {page.study.model.num_classes} classes, L = {layers}"
    if method.passes is None:
        return f"{said} layers; seconds for most metrics on the demo"
    passes = method.passes(page.table, candidates, options)
    return f"{said} layers: **{passes:,} forward passes per batch**; tens of seconds for the demo"


def hardest_samples(page: Page, scores: ScoreTable) -> None:
    """Show the samples with the largest scores, over all layers or the selected one."""
    assert scores.per_sample is not None
    layer = session.layer()
    if layer in scores.layers:
        column = scores.per_sample[:, scores.layers.index(layer)]
        where = f"in `{layer}`"
    else:
        column = totals(scores.per_sample)
        where = "over all layers, each relative to its mean"
    st.subheader("Most sensitive samples", anchor=False)
    st.markdown(f"Largest scores {where}. Select a layer in the sidebar to rank by it.")
    order = np.argsort(-column)[:SHOWN]
    gallery(page, order.tolist(), column, "sensitive", scores.data)


def provenance(scores: ScoreTable) -> None:
    """Say where the numbers come from."""
    passes = f"{scores.forward_passes:,} forward and {scores.backward_passes:,} backward passes"
    exact = "exact" if scores.exact else "estimated from random signs"
    read = f"n = {scores.n:,} {scores.data} samples" if scores.n else "no samples read"
    st.markdown(
        f":gray[{scores.title}, {exact}, {scores.protocol}, {read}, seed {scores.seed}, {passes}, "
        f"{scores.seconds:.1f} s, {scores.data} set {scores.calibration[:8]}.]"
    )
    for skipped in scores.skipped:
        st.warning(f"`{skipped.name}` has no score: {skipped.reason}")
