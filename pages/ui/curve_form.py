"""The form of the page of accuracy curves: what to measure, and what that takes."""

from dataclasses import replace
from statistics import median

import streamlit as st

from analysis import catalog, workflow
from analysis.allocation import RESOURCES, SOLVERS
from analysis.allocation.budgets import TIMED
from analysis.allocation.solvers import INTERACTIONS
from analysis.allocation.whole import sweepable
from analysis.curves.words import held_text
from analysis.errors import AnalysisError
from analysis.ptq import PTQ_METHODS
from analysis.records import Candidate
from analysis.registry import Method
from analysis.sensitivity import METRICS
from analysis.workflow import CurvePlan
from pages.ui import curve_held, forms, limits, resources, timing, words
from pages.ui.shell import Page

_USUAL = ("hessian_attention", "output_kl")
_BASELINES = ("size_only", "random")


def ask(page: Page) -> CurvePlan | None:
    """Draw the form; None while it asks for nothing that can be measured."""
    metrics, solvers, methods = _ways(page)
    one, two, three, four = st.columns([12, 7, 8, 9], vertical_alignment="bottom")
    with one:
        resource = st.selectbox(
            "Resource",
            RESOURCES,
            format_func=limits.title,
            key="curve-resource",
            persist_state="session",
        )
    with two:
        points = st.number_input(
            "Budgets", 2, 40, 6, key="curve-points", persist_state="session",
            help="Even in the resource, from the cheapest to the dearest allocation",
        )  # fmt: skip
    with three:
        random = st.number_input(
            "Random each", 0, 200, 20, key="curve-random", persist_state="session",
            help="Random allocations within every budget that use most of it",
        )  # fmt: skip
    with four, st.popover("Options", icon=":material/tune:", width="stretch"):
        fixed = limits.ask(
            "Further budgets, kept at every point",
            [name for name in RESOURCES if name != resource],
            key="curve-fixed",
            prefix="curve-fixed",
            placeholder="None",
        )
        candidates = forms.candidates("curve-candidates")
        settings = forms.quantizer_settings("curve")
        memory = forms.memory("curve-memory")
    timed = resource in TIMED or any(budget.resource in TIMED for budget in fixed)
    times = timing.choose(page, "curve-times") if timed else None
    if times is not None:
        candidates = _timed_candidates(times)
    held = curve_held.ask(page)
    if not (metrics and solvers and methods and candidates):
        st.info("Choose at least one metric, solver, method and candidate.")
        return None
    if timed and times is None:
        st.info("A latency in ms needs times of the layers: give a file or measure them.")
        return None
    try:
        return CurvePlan(
            metrics=metrics,
            resource=str(resource),
            points=int(points),
            solvers=solvers,
            methods=methods,
            random=int(random),
            fixed=fixed,
            candidates=candidates,
            settings=replace(settings, pin_first_last=held.first_last),
            memory_mib=memory,
            latency=times.table if times else None,
            latency_file=times.file if times else "",
            ties=held.ties,
            pins=held.pins,
        )
    except AnalysisError as error:
        st.error(str(error), icon=":material/error:")
        return None


def _timed_candidates(times: timing.Times) -> tuple[Candidate, ...]:
    """Draw the choice among the candidates that the times tell, which replaces the others."""
    known = {row.candidate.text: row.candidate for row in times.table.rows}
    chosen = st.multiselect(
        "Candidates whose times are known", list(known), list(known), key="curve-timed"
    )
    return tuple(known[text] for text in chosen)


def _ways(page: Page) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Draw the choice of metrics, solvers and quantization methods."""
    met = [
        m.name
        for m in METRICS
        if m.name not in _BASELINES and not workflow.unmet(m.name, page.study)
    ]
    metrics = st.multiselect(
        "Metrics",
        met,
        [name for name in _USUAL if name in met],
        format_func=lambda n: _named(METRICS[n]),
        key="curve-metrics",
        persist_state="session",
        help="Size only, uniform bits and random allocations are always measured beside them.",
    )
    left, right = st.columns(2)
    with left:
        solvers = st.multiselect(
            "Solvers",
            [s.name for s in SOLVERS if sweepable(s.name) and s.name != "uniform"],
            ["milp"],
            format_func=_solver_title,
            key="curve-solvers",
            persist_state="session",
            help="The sorted list is walked to each budget without measuring. Evolution is not "
            "here: it picks the best of many by the samples that measure the curve, so its points "
            "would look better than they are. It can be asked for one budget at a time.",
        )
    with right:
        methods = st.multiselect(
            "Quantization methods",
            PTQ_METHODS.names(),
            ["nearest"],
            format_func=lambda n: _named(PTQ_METHODS[n]),
            key="curve-methods",
            persist_state="session",
        )
    return tuple(metrics), tuple(solvers), tuple(methods)


def _named(method: Method) -> str:  # type: ignore[type-arg]
    """Return the name that series are built from, with the title."""
    return f"{method.name}: {method.title}"


def _solver_title(name: str) -> str:
    method = SOLVERS[name]
    return _named(method) + (" (needs clado)" if INTERACTIONS in method.needs else "")


def estimate(page: Page, plan: CurvePlan) -> str:
    """Say what measuring takes, from earlier measurements where there are any."""
    store, n = resources.store(), page.study.evaluation.n
    runs = [
        each.seconds
        for each in catalog.configurations(store, page.study).values()
        if each.method in plan.methods
    ]
    said = f"at most {plan.measurements:,} allocations of {n:,} samples"
    if runs:
        return f"{said}, about {words.seconds(plan.measurements * median(runs))} as before"
    return f"{said}, under 1 s each for the demo; what was measured before is not repeated"


def explain(plan: CurvePlan) -> None:
    """Say what will be measured before there is anything to draw."""
    random = (
        f"{plan.random} random allocations that fit" if plan.random else "no random allocations"
    )
    kept = _kept(plan)
    st.markdown(
        f"At each of {plan.points} budgets the solver chooses bits by every metric, and what it "
        f"chose is quantized and measured. Beside them: size only (the same solver, all layers "
        f"equal), every uniform width that fits, and {random}.{kept} A metric that does not beat "
        "these does not help."
    )


def _kept(plan: CurvePlan) -> str:
    first_last = plan.settings.pin_first_last
    held = held_text(plan.pins, plan.ties, first_last=first_last)
    said = [f"{limits.title(b.resource)} ≤ {b.limit:g}" for b in plan.fixed]
    said += [held] if held else []
    return f" All of them keep: {'; '.join(said)}." if said else ""
