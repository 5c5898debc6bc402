"""The form of the page of accuracy curves: what to measure, and what that takes."""

from statistics import median

import streamlit as st

from analysis import catalog, workflow
from analysis.allocation import RESOURCES, SOLVERS
from analysis.allocation.solvers import INTERACTIONS, MEASURED
from analysis.errors import AnalysisError
from analysis.ptq import PTQ_METHODS
from analysis.sensitivity import METRICS
from analysis.workflow import CurvePlan
from pages.ui import forms, resources, words
from pages.ui.shell import Page

_USUAL = ("hessian_attention", "output_kl")
_BASELINES = ("size_only", "random")
RESOURCE_WORDS = {
    "size": "Size, share of w8a8",
    "size_mib": "Size in MiB",
    "stored_mib": "Size with scales in MiB",
    "bops": "BOPs, share of w8a8",
    "avg_bits": "Average weight bits",
    "act": "Activation peak, share of w8a8",
    "act_mib": "Activation peak in MiB",
    "ace": "Arithmetic cost, share of w8a8",
}
# Limits of latency need a table of times, which the command line takes.
_NEEDS_A_TABLE = ("latency_ms",)


def ask(page: Page) -> CurvePlan | None:
    """Draw the form; None while it asks for nothing that can be measured."""
    met = [
        m.name
        for m in METRICS
        if m.name not in _BASELINES and not workflow.unmet(m.name, page.study)
    ]
    solvers = [s.name for s in SOLVERS if MEASURED not in s.needs and s.name != "uniform"]
    left, right = st.columns([3, 2])
    with left:
        metrics = st.multiselect(
            "Metrics",
            met,
            [name for name in _USUAL if name in met],
            format_func=lambda n: METRICS[n].title,
            key="curve-metrics",
            persist_state="session",
            help="Size only, uniform bits and random allocations are always measured beside them.",
        )
    with right:
        chosen = st.multiselect(
            "Solvers",
            solvers,
            ["milp"],
            format_func=lambda n: (
                SOLVERS[n].title + (" (needs clado)" if INTERACTIONS in SOLVERS[n].needs else "")
            ),
            key="curve-solvers",
            persist_state="session",
        )
    one, two, three, four, five = st.columns([3, 3, 2, 2, 2], vertical_alignment="bottom")
    with one:
        methods = st.multiselect(
            "Quantization methods",
            PTQ_METHODS.names(),
            ["nearest"],
            format_func=lambda n: PTQ_METHODS[n].title,
            key="curve-methods",
            persist_state="session",
        )
    with two:
        resource = st.selectbox(
            "Resource",
            [name for name in RESOURCES if name not in _NEEDS_A_TABLE],
            format_func=lambda n: RESOURCE_WORDS.get(n, n.replace("_", " ")),
            key="curve-resource",
            persist_state="session",
        )
    with three:
        points = st.number_input(
            "Budgets", 2, 40, 6, key="curve-points", persist_state="session",
            help="Even in the resource, from the cheapest to the dearest allocation",
        )  # fmt: skip
    with four:
        random = st.number_input(
            "Random each", 0, 200, 20, key="curve-random", persist_state="session",
            help="Random allocations within every budget that use most of it",
        )  # fmt: skip
    with five, st.popover("Options", icon=":material/tune:", width="stretch"):
        candidates = forms.candidates("curve-candidates")
        settings = forms.quantizer_settings("curve")
        memory = forms.memory("curve-memory")
    if not (metrics and chosen and methods and candidates):
        st.info("Choose at least one metric, solver, method and candidate.")
        return None
    try:
        return CurvePlan(
            metrics=tuple(metrics),
            resource=str(resource),
            points=int(points),
            solvers=tuple(chosen),
            methods=tuple(methods),
            random=int(random),
            candidates=candidates,
            settings=settings,
            memory_mib=memory,
        )
    except AnalysisError as error:
        st.error(str(error), icon=":material/error:")
        return None


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
    st.markdown(
        f"At each of {plan.points} budgets the solver chooses bits by every metric, and what it "
        f"chose is quantized and measured. Beside them: size only (the same solver, all layers "
        f"equal), every uniform width that fits, and {random}. A metric that does not beat these "
        "does not help."
    )
