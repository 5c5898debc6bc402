"""What the distributions page shows of one layer's tensor: its values, its grid, its channels."""

from dataclasses import replace

import streamlit as st

from analysis import workflow
from analysis.distributions.changed import SAME, change
from analysis.distributions.grids import levels_of
from analysis.plots.channels import channel_ranges
from analysis.plots.clip_curve import clip_curve
from analysis.plots.histogram import distribution_histogram
from analysis.quant.formats import get_format
from analysis.quant.ranges import Levels
from analysis.records import Distributions, FloatArray, GridError, RangeExploration
from analysis.records.distributions import INPUT, WEIGHT
from pages.ui import charts, resources, tensor_cards, work
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
    if beside is not None and not change(one, beside) > SAME:
        st.markdown(f":material/drag_handle: The same in both: {beside.title} did not change it.")
    after = None
    if beside is not None and acting is not None and view.recalibrations:
        after = _chosen(_afterwards(page, view, *acting), view.estimator)
    tensor_cards.cards(one, beside, view.bits, view.format, chosen, after)
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
    if explored is not None and explored.signal > 0:
        charts.draw(clip_curve(explored), key="clip-curve")
    elif explored is not None:
        st.markdown(
            ":gray[Every value is zero: every range holds them without error, so there is no error "
            "to compare ranges by.]"
        )
    if one.channels.shape[1] > 1:
        alike = beside is not None and beside.channels.shape == one.channels.shape
        charts.draw(
            channel_ranges(one, other=beside if alike else None, bits=view.bits),
            key="channel-ranges",
        )


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


def _afterwards(page: Page, view: View, layer: str, role: str) -> RangeExploration | None:
    """Return every range of a weight of the recalibrated network, if they are tried in a moment."""
    if role != WEIGHT or not _quick(page, layer, role):
        return None
    step = workflow.ranges(
        resources.workspace(),
        page.study,
        layer,
        role,
        view.format,
        per_channel=view.per_channel,
        recalibrations=view.recalibrations,
    )
    stored = step.stored(resources.store())
    if stored is not None:
        return stored
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
    if chosen.low[0] == chosen.high[0]:  # a grid of zero alone
        return None
    grid = get_format(explored.format).grid(signed=explored.symmetric)
    levels = Levels(*grid, symmetric=explored.symmetric)
    return levels_of(float(chosen.low[0]), float(chosen.high[0]), levels)
