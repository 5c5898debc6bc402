"""What the distributions page shows: all layers, one layer with its grid, what stands out."""

from dataclasses import dataclass
from functools import partial

import pandas as pd
import streamlit as st

from analysis import catalog, workflow
from analysis.distributions.finding import Finding
from analysis.distributions.findings import findings as findings_of
from analysis.distributions.summary import layer_summary
from analysis.plots.ranges_strip import layer_strip
from analysis.plots.ridgeline import layer_ridgeline
from analysis.quant.formats import FORMATS, bits_of
from analysis.quant.ranges import RANGE_ESTIMATORS
from analysis.records import Distributions, Study
from analysis.records.distributions import INPUT, POST_ACTIVATION, PRE_ACTIVATION, WEIGHT
from analysis.steps import Step
from analysis.workflow import Recipe
from pages.ui import allocations, charts, forms, resources, session, shell, work
from pages.ui.session import Key
from pages.ui.shell import Page

ROLES = {
    WEIGHT: "Weights",
    INPUT: "Inputs",
    PRE_ACTIVATION: "Before activation",
    POST_ACTIVATION: "After activation",
}
_NOTHING, _DRAFT = "Nothing", "The draft, quantized"
_RECALIBRATED = "The float network, recalibrated"
_ROW = 36
_NAMED = 5


@dataclass(frozen=True, slots=True)
class View:
    """What is looked at: tensors of one role, beside those of another network."""

    role: str
    step: Step[Distributions]
    other: Step[Distributions] | None
    beside: str
    format: str
    estimator: str
    per_channel: bool
    recalibrations: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        """Bits of the chosen format."""
        return bits_of(self.format)


def ask(page: Page) -> View:
    """Draw the choice of tensors, of what stands beside them, and of the grid."""
    role = str(
        st.segmented_control(
            "Tensors",
            list(ROLES),
            default=WEIGHT,
            required=True,
            format_func=lambda r: ROLES[r],
            key="distributions-role",
            persist_state="session",
        )
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        beside, other = _beside(page)
        grid, estimator, channel = _grid(role)
    names: tuple[str, ...] = ()
    if beside == _RECALIBRATED:
        names = forms.recalibrations("distributions")
        if names:
            other = workflow.distributions(resources.workspace(), page.study, recalibrations=names)
    step = workflow.distributions(resources.workspace(), page.study)
    return View(role, step, other, beside, grid, estimator, channel, names)


def _beside(page: Page) -> tuple[str, Step[Distributions] | None]:
    """Draw what to compare with: the network changed or quantized, or another study's."""
    space, study = resources.workspace(), page.study
    saved = catalog.configurations(resources.store(), study)
    others = {
        f"Study: {name}": other
        for name, other in session.studies().items()
        if other != study and _alike(page, other)
    }
    beside = str(
        st.selectbox(
            "Beside them, those of",
            [_NOTHING, _RECALIBRATED, _DRAFT, *saved, *others],
            key="distributions-beside",
            persist_state="session",
            width=300,
        )
    )
    if beside == _DRAFT:
        return beside, workflow.distributions(
            space, study, Recipe(session.draft(study, page.table))
        )
    if beside in saved:
        recipe = allocations.of_configuration(page, saved[beside]).recipe
        return beside, workflow.distributions(space, study, recipe)
    if beside in others:
        return beside, workflow.distributions(space, others[beside])
    return beside, None


def _alike(page: Page, other: Study) -> bool:
    """Tell whether another study's model has layers of the same names."""
    table = session.table(other)
    return table is not None and bool(set(table.names) & set(page.table.names))


def _grid(role: str) -> tuple[str, str, bool]:
    """Draw the choice of format and range estimator."""
    names, estimators = list(FORMATS), RANGE_ESTIMATORS.names()
    grid = st.selectbox(
        "Grid",
        names,
        names.index("int8"),
        key="distributions-format",
        persist_state="session",
        width=120,
    )
    estimator = st.selectbox(
        "Range",
        estimators,
        estimators.index("mse"),
        format_func=lambda n: RANGE_ESTIMATORS[n].title,
        key="distributions-estimator",
        persist_state="session",
        width=220,
    )
    channel = role == WEIGHT and st.toggle(
        "A range for every output channel",
        True,
        key="distributions-channel",
        persist_state="session",
    )
    return grid, estimator, bool(channel)


def obtain(page: Page, view: View) -> tuple[Distributions | None, Distributions | None]:
    """Return the distributions and those beside them, or offer to compute them."""
    n = page.study.calibration.n
    estimate = f"{n:,} calibration samples, once; seconds for the demo"
    found = work.obtain(view.step, "Describe the distributions", estimate)
    if found is None or view.other is None:
        return found, None
    other = work.obtain(view.other, f"Describe {view.beside.lower()}", estimate, primary=False)
    if other is not None and other.notes:
        with st.expander(f"What was noted on the way: {len(other.notes)}", icon=":material/info:"):
            for note in other.notes:
                st.markdown(f"- {note}")
    return found, other


def findings(found: Distributions, view: View) -> None:
    """Say what stands out, worst first, each with what may help."""
    every = _of_role(found, view)
    if not every:
        st.markdown(
            f":material/check: Nothing stands out among the {ROLES[view.role].lower()} of the "
            f"{len(found.layers)} layers."
        )
        return
    for one in every[:_NAMED]:
        _finding(one)
    if len(every) > _NAMED:
        with st.expander(f"{len(every) - _NAMED} more"):
            for one in every[_NAMED:]:
                _finding(one)


def _of_role(found: Distributions, view: View) -> list[Finding]:
    """Return the findings on tensors of the role; a tensor may stand under another one."""
    shown = {place.tensor for place in found.places if place.role == view.role}
    return [
        finding
        for finding in findings_of(found, view.bits)
        if found.place(finding.layer, finding.role).tensor in shown
    ]


def _finding(one: Finding) -> None:
    st.markdown(f":material/flag: {one.text} :gray[{one.remedy}]")


def all_layers(found: Distributions, other: Distributions | None, view: View) -> str:
    """Draw every layer in network order; return the one to look at."""
    standing_out = {found.place(f.layer, f.role).tensor for f in _of_role(found, view)}
    flagged = {
        place.layer
        for place in found.places
        if place.role == view.role and place.tensor in standing_out
    }
    described = [name for name in found.layers if found.of(name, view.role) is not None]
    for reason in sorted({found.place(n, view.role).reason for n in found.layers} - {""}):
        names = [n for n in found.layers if found.place(n, view.role).reason == reason]
        st.markdown(f":gray[Not described: {_few(names)}: {reason}.]")
    if not described:
        st.info("No layer has such a tensor.")
        st.stop()
    selected = session.layer()
    layer = (
        selected
        if selected in described
        else next((n for n in described if n in flagged), described[0])
    )
    shape = st.segmented_control(
        "All layers",
        ("Ranges", "Shapes"),
        default="Ranges",
        required=True,
        key="distributions-shape",
        persist_state="session",
    )
    if shape == "Ranges":
        figure = layer_strip(found, view.role, layer, flagged)
        charts.draw(figure, key="layer-strip", picks=Key.LAYER)
    else:
        figure = layer_ridgeline(found, view.role, layer)
        charts.draw(figure, key="layer-ridgeline", picks=Key.LAYER)
    return layer


def _few(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def table(found: Distributions, view: View) -> None:
    """Draw the statistics of every layer as a row."""
    frame = pd.DataFrame(layer_summary(found, view.role, view.bits))
    if not frame["reason"].any():
        frame = frame.drop(columns="reason")
    number = partial(st.column_config.NumberColumn, format="%.3g")
    st.subheader("All layers in numbers", anchor=False)
    st.dataframe(
        frame,
        hide_index=True,
        row_height=_ROW,
        height=min(_ROW * (len(frame) + 1) + 3, 560),
        column_config={
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
            "bits_worst": number("Worst"),
            "dead": st.column_config.NumberColumn("Dead"),
            "channels": st.column_config.NumberColumn("Channels"),
            "zeros": st.column_config.NumberColumn("Zeros", format="percent"),
            "outlier_ratio": number("Range / 98 %", help="Range over that of 98 % of the values"),
            "reason": st.column_config.TextColumn("Not described"),
        },
        alt=f"Statistics of the {ROLES[view.role].lower()} of every layer",
    )


def commands(page: Page, view: View) -> None:
    """Show the equal command lines."""
    lines = [view.step.command, view.other.command if view.other else ""]
    if session.layer():
        space = resources.workspace()
        role = view.role if view.role in (WEIGHT, INPUT) else INPUT
        lines.append(
            workflow.ranges(
                space,
                page.study,
                session.layer(),
                role,
                view.format,
                per_channel=view.per_channel or role == INPUT,
            ).command
        )
    shell.command(*lines)
