"""A clicked point of an accuracy curve: what it is, and what can be done with it."""

import streamlit as st

from analysis import catalog, workflow
from analysis.curves.words import limit_text, point_text
from analysis.records import Configuration, Curve, CurvePoint
from pages.ui import curving, drafting, pair, resources, shell, words
from pages.ui.shell import Page


def draw(page: Page, curve: Curve, picked: str) -> None:
    """Draw the selected point, or say how to select one."""
    place = curving.selection(curve, picked)
    if place is None:
        st.markdown(":gray[Click a point to see its bits, load them or compare it with another.]")
        return
    point = curve.points[place]
    with st.container(border=True):
        st.markdown(f"**{title(curve, point)}** · {workflow.summary(point.allocation)}")
        _cards(curve, point)
        _actions(page, curve, place, picked)
        _comparison(page, curve, place, picked)


def title(curve: Curve, point: CurvePoint) -> str:
    """Name a point by its series and limit."""
    return f"{point_text(curve, point)} at {limit_text(curve, point.place)}"


def _cards(curve: Curve, point: CurvePoint) -> None:
    measured, costs = point.measured, point.costs
    series = curve.series[point.series]
    with st.container(horizontal=True):
        if measured.labelled:
            shell.card(
                "Measured accuracy",
                f"{measured.top1:.2%}",
                f"95 %: {100 * measured.low:.1f}-{100 * measured.high:.1f}, n = {measured.n:,}",
            )
        if point.versus_size_only is not None and measured.labelled:
            value, detail = words.difference(point.versus_size_only).split(" points ", 1)
            shell.card("Versus size-only, paired", f"{value} points", detail)
        shell.card("KL from float", f"{measured.kl:.3g} nats", f"measured, n = {measured.n:,}")
        if series.metric in curve.metrics:
            at = curve.metrics.index(series.metric)
            shell.card("Predicted", f"{point.predicted[at]:.3g} {curve.units[at]}", series.metric)
        shell.card("Size", f"{costs.size_mib:.4g} MiB", words.size(costs))
        left = 1 - point.used / curve.limits[point.place]
        shell.card("Left of the budget", f"{left:.1%}", f"of {limit_text(curve, point.place)}")


def _actions(page: Page, curve: Curve, place: int, picked: str) -> None:
    point = curve.points[place]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if st.button("Load into the draft", icon=":material/edit:", key=f"{picked}-load"):
            changed = drafting.replace_draft(page, point.allocation)
            st.toast("The draft now holds these bits.", icon=":material/check:")
            if changed:
                st.toast(drafting.SETTLED, icon=":material/link:")
        with st.popover("Save as configuration", icon=":material/bookmark_add:"):
            name = st.text_input("Name", title(curve, point), key=f"{picked}-name-{place}")
            if st.button("Save", type="primary", key=f"{picked}-save") and name.strip():
                kind = catalog.configurations_kind(page.study)
                resources.store().name(kind, name.strip(), point.configuration)
                st.toast(f"Saved as {name.strip()}.", icon=":material/check:")
        shell.link("assignment", "Bit assignment")


def _comparison(page: Page, curve: Curve, place: int, picked: str) -> None:
    own = curve.points[place]
    others = {
        title(curve, p): p
        for p in curve.points
        if curve.series[p.series].kind != "random" and p.configuration != own.configuration
    }
    name = st.selectbox(
        "Compare with",
        list(others),
        index=None,
        placeholder="another point of the curve",
        key=f"{picked}-other",
        width=420,
    )
    if name is None:
        return
    store = resources.store()
    reference = workflow.float_outputs(resources.workspace(), page.study).stored(store)
    first = store.get(own.configuration, Configuration)
    second = store.get(others[name].configuration, Configuration)
    if first is None or second is None or reference is None:
        st.warning(
            "The measurements are no longer in the store; measure the curves again to compare.",
            icon=":material/warning:",
        )
        return
    names = (title(curve, own), name)
    shown = dict(zip(names, (first, second), strict=True))
    pair.draw(page, names, shown, reference.measured)
