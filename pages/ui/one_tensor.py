"""What the distributions page shows of one layer's tensor: its values, its grid, its channels."""

from dataclasses import replace

import numpy as np
import streamlit as st

from analysis import workflow
from analysis.distributions.grids import levels_of
from analysis.plots.channels import channel_ranges
from analysis.plots.clip_curve import clip_curve
from analysis.plots.histogram import distribution_histogram
from analysis.quant.formats import get_format
from analysis.quant.ranges import Levels
from analysis.records import Distribution, Distributions, FloatArray, GridError, RangeExploration
from analysis.records.distributions import INPUT, WEIGHT
from pages.ui import charts, resources, shell, work
from pages.ui.distributing import ROLES, View
from pages.ui.shell import Page

# Trying ranges per channel takes about two seconds for a million weights.
_MANY = 300_000


def one_layer(
    page: Page, view: View, found: Distributions, other: Distributions | None, layer: str
) -> None:
    """Draw the histogram of one layer with its grid, its channels, and every range tried."""
    one = found.of(layer, view.role)
    assert one is not None
    beside = None
    if other is not None and layer in other.layers:
        beside = other.of(layer, view.role)
    if beside is not None and other is not None:
        beside = replace(beside, title=other.network)
    st.subheader(f"{ROLES[view.role]} of {layer}", anchor=False)
    acting = _acting(found, view, layer)
    explored = None if acting is None else _explored(page, view, *acting)
    chosen = _chosen(explored, view.estimator)
    _numbers(one, view, chosen)
    log = st.toggle("Logarithmic counts", key="distributions-log", persist_state="session")
    charts.draw(
        distribution_histogram(
            one, other=beside, grid=chosen, levels=_levels(explored, chosen), log=log
        ),
        key="histogram",
    )
    if acting is None:
        st.markdown(
            ":gray[No quantizer acts on this tensor: layers read it only after an addition, a "
            "normalisation or another activation function. There is no range to explore.]"
        )
    if explored is not None:
        charts.draw(clip_curve(explored), key="clip-curve")
    if one.channels.shape[1] > 1:
        charts.draw(channel_ranges(one, bits=view.bits), key="channel-ranges")


def _acting(found: Distributions, view: View, layer: str) -> tuple[str, str] | None:
    """Return the layer and role under which a quantizer acts on the tensor, None if none does."""
    if view.role in (WEIGHT, INPUT):
        return layer, view.role
    tensor = found.place(layer, view.role).tensor
    readers = (p.layer for p in found.places if p.role == INPUT and p.tensor == tensor)
    reader = next(readers, None)
    return None if reader is None else (reader, INPUT)


def _explored(page: Page, view: View, layer: str, role: str) -> RangeExploration | None:
    """Return every range of what a quantizer acts on; until it is there, draw what leads to it."""
    step = workflow.ranges(
        resources.workspace(), page.study, layer, role, view.format, per_channel=view.per_channel
    )
    stored = step.stored(resources.store())
    if stored is not None:
        return stored
    if not _quick(page, layer, role):
        estimate = "every range estimator on this tensor; needs the ranges of the calibration set"
        return work.obtain(step, "Try every range", estimate, primary=False)
    with st.spinner("Trying ranges …"):
        return work.at_once(step)


def _quick(page: Page, layer: str, role: str) -> bool:
    """Tell whether ranges are tried in a moment: of a weight of usual size, or known statistics."""
    if role == WEIGHT:
        sizes = {each.name: each.num_weights for each in page.table.layers}
        return sizes[layer] <= _MANY
    step = workflow.statistics(resources.workspace(), page.study)
    return step.stored(resources.store()) is not None


def _chosen(explored: RangeExploration | None, estimator: str) -> GridError | None:
    if explored is None:
        return None
    return next((e for e in explored.estimators if e.estimator == estimator), None)


def _levels(explored: RangeExploration | None, chosen: GridError | None) -> FloatArray | None:
    """Return the levels of the chosen grid where it is one for the whole tensor."""
    if explored is None or chosen is None or chosen.low.size != 1 or not chosen.error >= 0:
        return None
    grid = get_format(explored.format).grid(signed=explored.symmetric)
    levels = Levels(*grid, symmetric=explored.symmetric)
    return levels_of(float(chosen.low[0]), float(chosen.high[0]), levels)


def _numbers(one: Distribution, view: View, chosen: GridError | None) -> None:
    live = one.effective_bits(view.bits)[~one.dead]
    cards = [
        ("Values", f"{one.count:,}", f"{one.zeros / max(one.count, 1):.1%} exact zeros"),
        (
            "Range",
            f"{one.range:.4g}",
            f"{one.value('low'):.3g} to {one.value('high'):.3g}, std {one.value('std'):.3g}",
        ),
    ]
    if one.channels.shape[1] > 1:
        worst = f"worst {live.min():.1f}" if live.size else "all channels are dead"
        cards.append(
            (
                "Average channel precision",
                f"{one.average_channel_precision:.2f}",
                f"{int(one.dead.sum())} of {one.channels.shape[1]} channels dead",
            )
        )
        cards.append(
            (
                "Bits left per channel",
                f"{np.median(live):.1f}" if live.size else "–",
                f"of {view.bits}, {worst}, one range for all",
            )
        )
    if chosen is not None and chosen.error >= 0:
        share = chosen.clipping / chosen.error if chosen.error else 0.0
        cards.append(("SQNR", f"{chosen.sqnr:.1f} dB", f"{chosen.title}, {view.format}"))
        cards.append(
            (
                "Clipped",
                f"{100 * chosen.clipped:.2g} %",
                f"{share:.0%} of the squared error, the rest is rounding",
            )
        )
    with st.grid(3, min_column_width=230):
        for card in cards:
            shell.card(*card)
