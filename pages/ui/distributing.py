"""What the distributions page shows: all layers, one layer with its grid, what stands out."""

from dataclasses import dataclass, replace

import streamlit as st

from analysis import catalog, workflow
from analysis.distributions.changed import SAME, changes, most_changed
from analysis.distributions.finding import Finding
from analysis.distributions.findings import findings as findings_of
from analysis.plots.labels import count, number
from analysis.plots.ranges_strip import layer_strip
from analysis.plots.ridgeline import layer_ridgeline
from analysis.plots.roles import ROLE_WORDS
from analysis.quant.estimators import RANGE_ESTIMATORS, plain_estimators
from analysis.quant.formats import FORMATS, bits_of
from analysis.records import Distributions, Study
from analysis.records.distributions import INPUT, POST_ACTIVATION, PRE_ACTIVATION, WEIGHT
from analysis.steps import Step
from analysis.workflow import Recipe
from pages.ui import allocations, charts, forms, noted, resources, session, shell, work
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
_STUDY = "Study: "
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

    @property
    def word(self) -> str:
        """What the other network's numbers are called: another study's are not later ones."""
        return "beside" if self.beside.startswith(_STUDY) else "after"

    def title(self, other: Distributions) -> str:
        """Return what the other network is called in figures."""
        if self.beside == _RECALIBRATED:
            return other.network
        if self.beside == _DRAFT:
            return "the draft, quantized"
        named = self.beside.removeprefix(_STUDY)
        return f"{named}, {other.network}"


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
        f"{_STUDY}{name}": other
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
    names, estimators = list(FORMATS), plain_estimators()
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
    other = work.obtain(view.other, f"Describe {_sentence_case(view)}", estimate, primary=False)
    if other is None:
        return found, None
    noted.draw(other.notes)
    return found, replace(other, network=view.title(other))


def _sentence_case(view: View) -> str:
    """Return what stands beside as it reads inside a sentence; names stay as they are."""
    ours = (_DRAFT, _RECALIBRATED)
    return view.beside.lower() if view.beside in ours else f"“{view.beside}”"


def findings(found: Distributions, view: View) -> None:
    """Say what stands out, worst first, each with what may help."""
    every = _of_role(found, view)
    described = [name for name in found.layers if found.of(name, view.role) is not None]
    if not every:
        if described:
            st.markdown(
                f":material/check: Nothing stands out among the {ROLE_WORDS[view.role]} of "
                f"{count(len(described), 'layer')}."
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
    moved, selected = _moved(found, other, view), session.layer()
    usual = moved or next((n for n in described if n in flagged), described[0])
    layer = selected if selected in described else usual
    shape = st.segmented_control(
        "All layers",
        ("Ranges", "Shapes"),
        default="Ranges",
        required=True,
        key="distributions-shape",
        persist_state="session",
    )
    if shape == "Ranges":
        figure = layer_strip(found, view.role, layer, flagged, other)
        charts.draw(figure, key="layer-strip", picks=Key.LAYER)
    else:
        figure = layer_ridgeline(found, view.role, layer)
        charts.draw(figure, key="layer-ridgeline", picks=Key.LAYER)
    return layer


def _moved(found: Distributions, other: Distributions | None, view: View) -> str:
    """Say which layers another network changed; return the one that changed most."""
    if other is None:
        return ""
    every = changes(found, other, view.role)
    most = most_changed(every)
    same = sum(not value > SAME for value in every.values())
    words = f"the {ROLE_WORDS[view.role]}"
    if not most:
        st.markdown(f":material/drag_handle: No range of {words} differs between the two.")
        return ""
    st.markdown(
        f":material/swap_vert: `{most}` changed most: the ends of its channels moved by "
        f"{number(100 * every[most])} % of its range on average. "
        + (f"Of {count(len(every), 'layer')} {same} kept {words}." if same else "")
    )
    return most


def _few(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def float_modules(page: Page) -> None:
    """Name what the page does not describe because no quantizer acts on it, by reason."""
    skipped = page.table.skipped
    if not skipped:
        return
    kept = "module keeps its" if len(skipped) == 1 else "modules keep their"
    with st.expander(f"Not described: {len(skipped)} {kept} float values", icon=":material/block:"):
        for reason in dict.fromkeys(each.reason for each in skipped):
            names = ", ".join(f"`{each.name}`" for each in skipped if each.reason == reason)
            st.markdown(f"- {names}: {reason}.")


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
