"""Editing bits: the table, the live readout, the form that solves for a budget."""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from analysis import workflow
from analysis.allocation import SOLVERS, allocation_costs
from analysis.allocation.edit import from_formats, settle
from analysis.errors import AnalysisError, InfeasibleBudgetError
from analysis.events import result
from analysis.prediction import predict
from analysis.quant.formats import FORMATS
from analysis.records import (
    FLOAT,
    Allocation,
    Budget,
    Configuration,
    Costs,
    Evaluation,
    ScoreTable,
    Solution,
)
from analysis.steps import Step
from cache.errors import StoreError
from pages.ui import forms, resources, session, shell, uploads, words
from pages.ui.shell import Page

_FORMATS = [*FORMATS, FLOAT]
_LIMITS = {
    "size": ("Size, share of w8a8", 0.05, 4.0, 0.6, 0.05),
    "size_mib": ("Size in MiB", 0.0001, 1e6, 0.1, 0.01),
    "bops": ("BOPs, share of w8a8", 0.05, 16.0, 0.6, 0.05),
    "avg_bits": ("Average weight bits", 1.0, 32.0, 4.5, 0.5),
}


@dataclass(frozen=True, slots=True)
class Readout:
    """What the page shows of the draft."""

    allocation: Allocation
    costs: Costs
    scores: ScoreTable | None
    measured: Configuration | None
    solution: Solution | None


def editor(page: Page, draft: Allocation, scores: ScoreTable | None, pin: bool) -> Allocation:
    """Draw the editable table and return the allocation it holds, pins and groups respected.

    The table is built from the draft of its first run and keeps its own edits; it is built anew
    only when something else changes the draft.
    """
    key = f"bits-{session.version()}"
    base_key = f"{key}-base"
    base: Allocation = st.session_state.setdefault(base_key, draft)
    edited = st.data_editor(
        _frame(page, base, scores),
        key=key,
        hide_index=True,
        height=min(36 * (len(page.table.layers) + 1) + 3, 640),
        row_height=36,
        disabled=["Layer", "Pin", "Group", "Weights", "MACs", "Share of size", "Score"],
        column_config={
            "Layer": st.column_config.TextColumn(pinned=True, width="medium"),
            "Weight": st.column_config.SelectboxColumn(
                options=_FORMATS, required=True, width="small", help="Format of the weights"
            ),
            "Activation": st.column_config.SelectboxColumn(
                options=_FORMATS,
                required=True,
                width="small",
                help="Format of the tensor that the layer reads; shared within a group",
            ),
            "Pin": st.column_config.TextColumn(width="small", help="First and last layer"),
            "Group": st.column_config.NumberColumn(
                width="small", help="Layers of one group read a common tensor"
            ),
            "Weights": st.column_config.NumberColumn(format="localized", width="small"),
            "MACs": st.column_config.NumberColumn(format="compact", width="small"),
            "Share of size": st.column_config.ProgressColumn(
                format="percent", min_value=0.0, max_value=1.0, width="small"
            ),
            "Score": st.column_config.NumberColumn(
                f"Score ({scores.unit})" if scores else "Score",
                format="scientific",
                help="Predicted harm of the chosen candidate, as of the last rebuild of the table",
            ),
        },
        alt="Editable table of the format of every layer",
    )
    wanted = from_formats(page.table, list(edited["Weight"]), list(edited["Activation"]))
    settled = settle(page.table, draft, wanted, pin_first_last=pin)
    if settled != wanted:
        session.set_draft(page.study, settled, rebuild=True)
        st.toast("Pinned layers stay at w8a8, and layers that read one tensor share its format.")
        st.rerun()
    if settled != draft:
        session.set_draft(page.study, settled, rebuild=False)
    return settled


def apply(page: Page, before: Allocation, after: Allocation, pin: bool) -> None:
    """Make ``after`` the draft, pins and groups respected, and run the page again."""
    settled = settle(page.table, before, after, pin_first_last=pin)
    session.set_draft(page.study, settled, rebuild=True)
    st.rerun()


def _frame(page: Page, allocation: Allocation, scores: ScoreTable | None) -> pd.DataFrame:
    chosen = allocation.as_dict()
    total = sum(layer.num_weights for layer in page.table.layers)
    rows = []
    for layer in page.table.layers:
        candidate = chosen[layer.name]
        score = None
        if scores is not None and candidate in scores.candidates:
            row, column = scores.layers.index(layer.name), scores.candidates.index(candidate)
            score = float(scores.values[row, column])
        rows.append(
            {
                "Layer": layer.name,
                "Weight": candidate.weight,
                "Activation": candidate.activation,
                "Score": score,
                "Share of size": layer.num_weights / total,
                "Weights": layer.num_weights,
                "MACs": layer.macs,
                "Group": layer.activation_group,
                "Pin": "pinned" if layer.pinned else "",
            }
        )
    return pd.DataFrame(rows)


def readout(shown: Readout) -> None:
    """Draw the cards of size, BOPs, bits, predicted and measured loss, and budget."""
    costs, measured = shown.costs, shown.measured
    first, second = st.columns(3), st.columns(3)
    with first[0]:
        shell.card("Size", f"{costs.size_mib:.4g} MiB", words.size(costs))
    with first[1]:
        shell.card("BOPs", words.count(costs.bops), f"{costs.bops_ratio:.1%} of w8a8, per sample")
    with first[2]:
        shell.card(
            "Average weight bits",
            f"{costs.avg_weight_bits:.2f}",
            f"activations {costs.avg_activation_bits:.2f}, by MACs",
        )
    with second[0]:
        _prediction(shown)
    with second[1]:
        _measured(None if measured is None else measured.measured)
    with second[2]:
        _budget(shown)
    paired = None if measured is None else measured.measured.versus_float
    if paired is not None and measured is not None and measured.measured.labelled:
        st.markdown(f"Measured against float, same samples: **{words.difference(paired)}**.")


def _measured(measured: Evaluation | None) -> None:
    if measured is None:
        shell.card("Measured accuracy", "not measured", "of exactly this allocation")
        return
    if not measured.labelled:
        agreement = measured.versus_float.agreement if measured.versus_float else 1.0
        shell.card(
            "Measured agreement", f"{agreement:.2%}", f"with float, n = {measured.n:,}, no labels"
        )
        return
    shell.card("Measured accuracy", f"{measured.top1:.2%}", words.interval(measured))


def _budget(shown: Readout) -> None:
    solution = shown.solution
    if solution is None or solution.allocation != shown.allocation or not solution.budgets:
        shell.card("Budget", "none", "solve for a budget, or edit the bits by hand")
        return
    gap = "" if solution.gap is None else f", gap {solution.gap:.2g}"
    rest = " · ".join(f"{u.resource} {u.slack:.3g} left" for u in solution.budgets[1:])
    use = solution.budgets[0]
    shell.card(
        f"Budget: {use.resource} ≤ {use.limit:g}",
        f"{use.slack:.3g} left",
        f"{solution.status}{gap}" + (f" · {rest}" if rest else ""),
    )


def _prediction(shown: Readout) -> None:
    if shown.scores is None or not shown.scores.candidates:
        shell.card("Predicted loss increase", "no scores", "score the layers first")
        return
    prediction = predict(shown.scores, shown.allocation)
    missing = f" · {len(prediction.missing)} layers not scored" if prediction.missing else ""
    shell.card(
        "Predicted loss increase",
        f"{prediction.value:.3g} {prediction.unit}",
        f"from {shown.scores.title.lower()}, n = {shown.scores.n}{missing}",
    )


def costs(page: Page, allocation: Allocation) -> Costs:
    """Return what an allocation costs."""
    return allocation_costs(page.table, allocation)


def solve_form(page: Page, step: Step[ScoreTable], pin: bool) -> None:
    """Draw what asks a solver for the best allocation within budgets."""
    solver = st.selectbox(
        "Solver", SOLVERS.names(), format_func=lambda n: SOLVERS[n].title, key="solver"
    )
    forms.about(SOLVERS[solver])
    used = st.multiselect(
        "Budgets", list(_LIMITS), ["size"], format_func=lambda n: _LIMITS[n][0], key="budgets"
    )
    limits = {}
    for name in used:
        label, low, high, start, step_size = _LIMITS[name]
        limits[name] = st.number_input(label, low, high, start, step_size, key=f"limit-{name}")
    said = st.empty()  # above the button: below it a popover's end may be out of sight
    if not st.button("Solve", type="primary", icon=":material/bolt:", key="solve"):
        return
    if not used:
        said.error("A solver needs at least one budget: choose one, such as size.")
        return
    budgets = [Budget(resource=name, limit=float(limits[name])) for name in used]
    work = workflow.allocate(
        resources.workspace(), page.study, step, budgets, solver, pin_first_last=pin
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
    session.set_draft(page.study, solution.allocation, rebuild=True)
    st.rerun()


def solve_command(solution: Solution | None, allocation: Allocation) -> str:
    """Return the command that gives this allocation, empty if it was not solved for."""
    if solution is None or solution.allocation != allocation:
        return ""
    return str(st.session_state.get(session.Key.SOLVE_COMMAND, ""))


def last_solution() -> Solution | None:
    """Return the solution that was asked for last in this session."""
    key = st.session_state.get(session.Key.SOLUTION)
    return resources.store().get(key, Solution) if key else None
