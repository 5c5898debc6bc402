"""The form that asks a solver for the best allocation within budgets, and its last answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import streamlit as st

from analysis import catalog, workflow
from analysis.allocation import SOLVERS
from analysis.allocation.budgets import TIMED
from analysis.allocation.pins import DEFAULT_PIN
from analysis.allocation.solvers import INTERACTIONS, MEASURED, OPTIMAL, TIMEOUT
from analysis.errors import AnalysisError, InfeasibleBudgetError
from analysis.events import result
from analysis.models.peak import find_peak, peak_words
from analysis.options import describe
from analysis.prediction import beside
from analysis.quant.formats import bits_of
from analysis.records import Allocation, Budget, Candidate, ScoreTable, Solution
from analysis.sensitivity import METRICS
from analysis.steps import Step
from cache.errors import StoreError
from pages.ui import drafting, forms, measured, resources, session, timing, uploads, work
from pages.ui.limits import ask as ask_limits
from pages.ui.limits import title as limits_title
from pages.ui.shell import Page

PEAKS = ("act", "act_mib")  # budgets of what is in memory at once
FORM = "solve-form"  # key of the popover
_USUAL = "milp"  # certified, with any number of budgets


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
    limits = ask_limits("Budgets", default=("size",), key="budgets", prefix="limit")
    timed = any(budget.resource in TIMED for budget in limits)
    free_bits = st.toggle(
        "Raise bits where that costs no time", key="free-bits", help="Needs times of the layers"
    )
    times = timing.choose(page, "solve-times") if free_bits or timed else None
    pinned = held(page, draft)
    ties = drafting.ties(page.study)
    st.markdown(f":gray[{_kept(len(drafting.pins(page.study, page.table)), ties)}]")
    if any(budget.resource in PEAKS for budget in limits):
        peak_note(page, draft)
    asked = workflow.allocate(
        resources.workspace(),
        page.study,
        step,
        limits,
        solver,
        options=options,
        pins=pinned.candidates,
        pin_first_last=pinned.first_last,
        latency=times.table if times else None,
        latency_file=times.file if times else "",
        free_bits=free_bits,
        ties=ties,
    )
    needs_times = (free_bits or timed) and times is None
    if MEASURED in method.needs:
        solution = None if needs_times else _searched(page, asked)
    else:
        solution = _solved(asked, limits, needs_times)
    if solution is None:
        return
    found = {"key": asked.key, "command": f"{asked.command} --out allocation.json"}
    _answers()[catalog.study_id(page.study)] = found
    st.session_state[session.Key.SOLVED] = True
    drafting.replace_draft(page, solution.allocation)
    st.rerun()


def peak_note(page: Page, draft: Allocation) -> None:
    """Say what holds the peak of activation memory where bits hardly change it."""
    peak = find_peak(page.table, [bits_of(each.activation) for each in draft.candidates])
    said = "" if peak is None else peak_words(peak)
    if said:
        st.markdown(f":material/info: {said}")


def _kept(pinned: int, ties: Sequence[Sequence[str]]) -> str:
    """Say how many layers the solver leaves as they are, and how many it moves together."""
    held = f"{pinned} pinned {'layer keeps its' if pinned == 1 else 'layers keep their'} formats."
    if not ties:
        return held
    shared = "one format" if len(ties) == 1 else f"{len(ties)} formats, one for each tie"
    return f"{held} {sum(map(len, ties))} tied layers take {shared}."


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


def _solved(
    asked: Step[Solution], limits: tuple[Budget, ...], needs_times: bool
) -> Solution | None:
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
        said.error(f"{error}{_nearest(error)}", icon=":material/block:")
    except (AnalysisError, StoreError) as error:
        said.error(uploads.readable(str(error), resources.store().root), icon=":material/error:")
    return None


def _nearest(error: InfeasibleBudgetError) -> str:
    """Say the nearest limit that can be met as the form names it, empty if there is none."""
    if not isfinite(error.nearest):
        return ""
    return f" In this form: **{limits_title(error.resource)}** from {error.nearest:g} on."


def last(page: Page) -> Solution | None:
    """Return the solution that was asked for last in this session, for this study."""
    key = _answers().get(catalog.study_id(page.study), {}).get("key")
    found = resources.store().get(key, Solution) if key else None
    return found if found is not None and found.allocation.layers == page.table.names else None


def _answers() -> dict[str, dict[str, str]]:
    """Return the key and the command of the last solution, by study."""
    found: dict[str, dict[str, str]] = st.session_state.setdefault(session.Key.SOLUTIONS, {})
    return found


def close_after_solving() -> None:
    """Close the form when it has found something: it would cover what it changed."""
    if st.session_state.pop(session.Key.SOLVED, False):
        st.session_state[FORM] = False


def remark(solution: Solution, tables: Mapping[str, ScoreTable]) -> str:
    """Say in a few words how good a solution is known to be, and by which scores.

    Args:
        solution: What was found.
        tables: The stored scores by metric: their interactions may have been left out.
    """
    method, scores = SOLVERS[solution.solver], tables.get(solution.metric)
    by = METRICS[solution.metric].title
    if scores is not None and scores.interactions is not None and INTERACTIONS not in method.needs:
        by += " without interactions"
    if solution.status == OPTIMAL:
        # Without a bound on the sum it is something else that the solver minimised.
        what = "optimum" if solution.lower_bound is not None else method.title.lower()
        return f"{what} certified for {by}"
    stopped = "stopped by its time limit, " if solution.status == TIMEOUT else ""
    if solution.lower_bound is None:
        return f"{stopped}not proven for {by}"
    return f"{stopped}not proven for {by}: at best {solution.lower_bound:.3g} {solution.unit}"


def said(page: Page, draft: Allocation, solution: Solution) -> None:
    """Draw what the solver said of its answer, as long as that is the draft, and its baselines."""
    if any(use.resource in PEAKS for use in solution.budgets):
        peak_note(page, draft)
    if solution.allocation != draft:
        return
    for note in solution.notes:
        st.markdown(f":material/info: {note}")
    if solution.baselines:
        value = f"{solution.objective:.3g} {solution.unit}"
        st.markdown(f":gray[Predicted, not measured: {value}. {beside(solution)}]")


def command(page: Page, solution: Solution | None, allocation: Allocation) -> str:
    """Return the command that gives this allocation, empty if it was not solved for."""
    if solution is None or solution.allocation != allocation:
        return ""
    return _answers()[catalog.study_id(page.study)]["command"]
