"""The form that asks a solver for the best allocation within budgets, and its last answer."""

from dataclasses import dataclass

import streamlit as st

from analysis import workflow
from analysis.allocation import SOLVERS
from analysis.allocation.pins import DEFAULT_PIN
from analysis.allocation.solvers import MEASURED, OPTIMAL
from analysis.errors import AnalysisError, InfeasibleBudgetError
from analysis.events import result
from analysis.options import describe
from analysis.records import Allocation, Budget, Candidate, ScoreTable, Solution
from analysis.steps import Step
from cache.errors import StoreError
from pages.ui import drafting, forms, resources, session, uploads
from pages.ui.shell import Page

_USUAL = "milp"  # certified, with any number of budgets
# Label, low, high, start, step of the limit.
_LIMITS = {
    "size": ("Size, share of w8a8", 0.05, 4.0, 0.6, 0.05),
    "size_mib": ("Size in MiB", 0.0001, 1e6, 0.1, 0.01),
    "bops": ("BOPs, share of w8a8", 0.05, 16.0, 0.6, 0.05),
    "avg_bits": ("Average weight bits", 1.0, 32.0, 4.5, 0.5),
    "act": ("Peak activation memory, share of w8a8", 0.05, 4.0, 0.8, 0.05),
    "act_mib": ("Peak activation memory in MiB per sample", 0.0001, 1e6, 0.1, 0.01),
    "ace": ("Arithmetic effort with element-wise work, share of w8a8", 0.05, 16.0, 0.6, 0.05),
}


@dataclass(frozen=True, slots=True)
class Held:
    """Pins as a solver takes them: candidates of layers, and whether the usual two are held."""

    candidates: dict[str, Candidate]
    first_last: bool


def held(page: Page, draft: Allocation) -> Held:
    """Return the pins of the draft; a pin holds the candidate that the layer has."""
    names, chosen = drafting.pins(page.study, page.table), draft.as_dict()
    usual = {layer.name for layer in page.table.layers if layer.pinned}
    first_last = usual <= set(names)
    return Held(
        {
            name: chosen[name]
            for name in names
            if not (first_last and name in usual and chosen[name] == DEFAULT_PIN)
        },
        first_last,
    )


def form(page: Page, draft: Allocation, step: Step[ScoreTable]) -> None:
    """Draw the form; a solution becomes the draft."""
    # Those that measure take minutes and run as jobs elsewhere.
    names = [method.name for method in SOLVERS if MEASURED not in method.needs]
    solver = st.selectbox(
        "Solver",
        names,
        names.index(_USUAL),
        format_func=lambda n: SOLVERS[n].title,
        key="solver",
    )
    forms.about(SOLVERS[solver])
    options = SOLVERS[solver].options()
    if describe(SOLVERS[solver].options):
        with st.expander("Options", icon=":material/tune:"):
            options = forms.edit(SOLVERS[solver].options, f"solver-{solver}")
    used = st.multiselect(
        "Budgets", list(_LIMITS), ["size"], format_func=lambda n: _LIMITS[n][0], key="budgets"
    )
    limits = {}
    for name in used:
        label, low, high, start, step_size = _LIMITS[name]
        limits[name] = st.number_input(label, low, high, start, step_size, key=f"limit-{name}")
    pinned = held(page, draft)
    count = len(drafting.pins(page.study, page.table))
    st.markdown(
        f":gray[{count} pinned {'layer keeps its' if count == 1 else 'layers keep their'} formats.]"
    )
    said = st.empty()  # above the button: below it a popover's end may be out of sight
    if not st.button("Solve", type="primary", icon=":material/bolt:", key="solve"):
        return
    if not used:
        said.error("A solver needs at least one budget: choose one, such as size.")
        return
    work = workflow.allocate(
        resources.workspace(),
        page.study,
        step,
        [Budget(resource=name, limit=float(limits[name])) for name in used],
        solver,
        options=options,
        pins=pinned.candidates,
        pin_first_last=pinned.first_last,
    )
    try:
        solution = result(work.events(resources.store()))
    except InfeasibleBudgetError as error:
        said.error(str(error), icon=":material/block:")
        return
    except (AnalysisError, StoreError) as error:
        said.error(uploads.readable(str(error), resources.store().root), icon=":material/error:")
        return
    st.session_state[session.Key.SOLUTION] = work.key
    st.session_state[session.Key.SOLVE_COMMAND] = f"{work.command} --out allocation.json"
    drafting.replace_draft(page, solution.allocation)
    st.rerun()


def last(page: Page) -> Solution | None:
    """Return the solution that was asked for last in this session, for this model."""
    key = st.session_state.get(session.Key.SOLUTION)
    found = resources.store().get(key, Solution) if key else None
    return found if found is not None and found.allocation.layers == page.table.names else None


def remark(solution: Solution) -> str:
    """Say in a few words how good a solution is known to be."""
    if solution.status == OPTIMAL:
        return "optimum certified"
    gap = "no bound" if solution.gap is None else f"gap {solution.gap:.2g}"
    return f"{solution.status}, {gap}"


def command(solution: Solution | None, allocation: Allocation) -> str:
    """Return the command that gives this allocation, empty if it was not solved for."""
    if solution is None or solution.allocation != allocation:
        return ""
    return str(st.session_state.get(session.Key.SOLVE_COMMAND, ""))
