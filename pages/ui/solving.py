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
from pages.ui import drafting, forms, measured, resources, session, timing, uploads, work
from pages.ui.shell import Page

_USUAL = "milp"  # certified, with any number of budgets
# Label, low, high, start, step of the limit.
_LIMITS = {
    "size": ("Size, share of w8a8", 0.05, 4.0, 0.6, 0.05),
    "size_mib": ("Size in MiB", 0.0001, 1e6, 0.1, 0.01),
    "stored_mib": ("Size with scales in MiB", 0.0001, 1e6, 0.1, 0.01),
    "bops": ("BOPs, share of w8a8", 0.05, 16.0, 0.6, 0.05),
    "avg_bits": ("Average weight bits", 1.0, 32.0, 4.5, 0.5),
    "act": ("Peak activation memory, share of w8a8", 0.05, 4.0, 0.8, 0.05),
    "act_mib": ("Peak activation memory in MiB per sample", 0.0001, 1e6, 0.1, 0.01),
    "ace": ("Arithmetic effort with element-wise work, share of w8a8", 0.05, 16.0, 0.6, 0.05),
    "latency_ms": ("Summed time of the layers in ms", 0.0001, 1e6, 1.0, 0.1),
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
    names = list(SOLVERS.names())
    solver = st.selectbox(
        "Solver",
        names,
        names.index(_USUAL),
        format_func=lambda n: SOLVERS[n].title,
        key="solver",
    )
    method = SOLVERS[solver]
    forms.about(method)
    options = method.options()
    if describe(method.options):
        with st.expander("Options", icon=":material/tune:"):
            options = forms.edit(method.options, f"solver-{solver}")
    limits = _limits()
    free_bits = st.toggle(
        "Raise bits where that costs no time", key="free-bits", help="Needs times of the layers"
    )
    times = timing.choose(page, "solve-times") if free_bits or "latency_ms" in limits else None
    pinned = held(page, draft)
    count = len(drafting.pins(page.study, page.table))
    st.markdown(
        f":gray[{count} pinned {'layer keeps its' if count == 1 else 'layers keep their'} formats.]"
    )
    asked = workflow.allocate(
        resources.workspace(),
        page.study,
        step,
        [Budget(resource=name, limit=limit) for name, limit in limits.items()],
        solver,
        options=options,
        pins=pinned.candidates,
        pin_first_last=pinned.first_last,
        latency=times.table if times else None,
        latency_file=times.file if times else "",
        free_bits=free_bits,
    )
    needs_times = (free_bits or "latency_ms" in limits) and times is None
    if MEASURED in method.needs:
        solution = None if needs_times else _searched(page, asked)
    else:
        solution = _solved(asked, limits, needs_times)
    if solution is None:
        return
    st.session_state[session.Key.SOLUTION] = asked.key
    st.session_state[session.Key.SOLVE_COMMAND] = f"{asked.command} --out allocation.json"
    drafting.replace_draft(page, solution.allocation)
    st.rerun()


def _limits() -> dict[str, float]:
    used = st.multiselect(
        "Budgets", list(_LIMITS), ["size"], format_func=lambda n: _LIMITS[n][0], key="budgets"
    )
    found = {}
    for name in used:
        label, low, high, start, step_size = _LIMITS[name]
        found[name] = float(
            st.number_input(label, low, high, start, step_size, key=f"limit-{name}")
        )
    return found


def _searched(page: Page, asked: Step[Solution]) -> Solution | None:
    """Offer a search by measured accuracy, which is a job, and then what it found."""
    each = measured.estimate(page, "nearest")
    found = work.obtain(asked, "Search", f"each allocation that is measured: {each}")
    if found is None:
        return None
    for note in found.notes:
        st.markdown(f":material/info: {note}")
    taken = st.button("Use this allocation", type="primary", icon=":material/check:", key="use")
    return found if taken else None


def _solved(asked: Step[Solution], limits: dict[str, float], needs_times: bool) -> Solution | None:
    said = st.empty()  # above the button: below it a popover's end may be out of sight
    if not st.button("Solve", type="primary", icon=":material/bolt:", key="solve"):
        return None
    if not limits:
        said.error("A solver needs at least one budget: choose one, such as size.")
        return None
    if needs_times:
        said.error("A budget in ms and free bits need times of the layers: give or measure them.")
        return None
    try:
        return result(asked.events(resources.store()))
    except InfeasibleBudgetError as error:
        said.error(str(error), icon=":material/block:")
    except (AnalysisError, StoreError) as error:
        said.error(uploads.readable(str(error), resources.store().root), icon=":material/error:")
    return None


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
