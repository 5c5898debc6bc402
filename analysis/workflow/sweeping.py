"""From scores to the whole front of allocations over one resource."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.allocation import Problem, build_problem
from analysis.allocation.budgets import check_budgets
from analysis.allocation.front import Make, even_limits, sweep
from analysis.allocation.solvers import SOLVERS
from analysis.allocation.tying import Ties
from analysis.allocation.whole import sweepable
from analysis.commands import budget_text, changed_options, changed_settings, command_line
from analysis.errors import AllocationError
from analysis.events import Work
from analysis.options import Options, as_dict, build
from analysis.records import (
    Allocation,
    Budget,
    Candidate,
    Front,
    LatencyTable,
    LayerTable,
    QuantSettings,
    ScoreTable,
    Study,
)
from analysis.sensitivity import METRICS
from analysis.steps import Step, StoredParts
from analysis.workflow.allocating import latency_digest, pin_texts, tie_options, tie_texts
from analysis.workflow.opening import layers
from analysis.workspace import Workspace


def pareto(
    workspace: Workspace,
    study: Study,
    scores: Step[ScoreTable],
    resource: str,
    solver: str = "milp",
    *,
    points: int = 20,
    limits: Sequence[float] = (),
    fixed: Sequence[Budget] = (),
    options: Options | None = None,
    pin_first_last: bool = True,
    latency: LatencyTable | None = None,
    latency_file: str = "latency.csv",
    ties: Ties = (),
    pins: Mapping[str, Candidate] | None = None,
) -> Step[Front]:
    """Solve within several limits of one resource, all other budgets kept.

    Args:
        workspace: Where to work.
        study: The study.
        scores: The step that scores the candidates; it is run if need be.
        resource: What is limited.
        solver: A registered solver; see :func:`check_sweepable`.
        points: How many limits, even in the resource from the cheapest to the dearest allocation.
        limits: The limits themselves, in the resource's unit, instead of ``points``.
        fixed: Other budgets, kept at every limit.
        options: The solver's options; None for its defaults.
        pin_first_last: Whether the first and last layer are held at w8a8.
        latency: Times of the layers, which limits of ``latency_ms`` need.
        latency_file: CSV file with them that the equal command line names.
        ties: Names of layers that must take the same candidate; no layer is in two ties.
        pins: Layers that must take a given candidate, besides the first and the last.

    Raises:
        UnknownNameError: If there is no such solver or resource.
        AllocationError: If the solver chooses by measured accuracy, two budgets are of one
            resource, or a limit is not positive.
    """
    method = SOLVERS[solver]
    check_sweepable(solver)
    check_budgets(fixed)
    pins = dict(pins or {})
    options = method.options() if options is None else options

    def work(parts: StoredParts) -> Work[Front]:
        del parts
        table = yield from layers(workspace, study).need(workspace.store)
        scored = yield from scores.need(workspace.store)
        make = problems(table, scored, latency, pin_first_last=pin_first_last, ties=ties, pins=pins)
        chosen = tuple(limits) or even_limits(make, resource, points, fixed)
        return (yield from sweep(make, resource, chosen, solver, fixed=fixed, options=options))

    scoring = build(METRICS[scores.options["metric"]].options, scores.options["options"])
    flags: dict[str, Any] = {
        "metric": scores.options["metric"],
        "candidates": ",".join(scores.options["candidates"]),
        "resource": resource,
        "points": points,
        "budget": [budget_text(b) for b in fixed],
        "solver": solver,
        "pin": pin_texts(pins),
        "tie": tie_texts(ties),
        "release-first-last": not pin_first_last,
        "latency": "" if latency is None else latency_file,
    }
    return Step(
        name="pareto",
        version=method.version,
        title=f"{method.title}: {len(limits) or points} limits of {resource}",
        command=command_line(
            "pareto",
            study.spec,
            flags
            | changed_options(metric=scoring, solver=options)
            | changed_settings(QuantSettings(**scores.options["settings"])),
        ),
        record=Front,
        inputs={"scores": scores.key} | latency_inputs(latency),
        options={
            "resource": resource,
            "limits": list(limits) if limits else points,
            "fixed": {b.resource: b.limit for b in fixed},
            "solver": solver,
            "options": as_dict(options),
            "pin_first_last": pin_first_last,
        }
        | tie_options(ties)
        | pin_options(pins),
        work=work,
    )


def check_sweepable(solver: str) -> None:
    """Check that a solver can be asked for many limits.

    The sorted list of ``prefix`` is walked without measuring: its states are what a curve measures.
    Evolution is refused, because it takes the best of many by the very samples that a curve is
    measured on: its points would look better than they are, and no interval would say so.

    Raises:
        UnknownNameError: If there is no such solver.
        AllocationError: If it chooses by measured accuracy.
    """
    if not sweepable(solver):
        raise AllocationError(
            f"A sweep must use a solver that does not look at measured accuracy; `{solver}` takes "
            f"the best of many allocations by the samples that measure it, which makes its points "
            f"look better than they are. Use it for one budget, or sweep with milp."
        )


def pin_options(pins: Mapping[str, Candidate]) -> dict[str, dict[str, str]]:
    """Return what identifies pins in a key, nothing for none."""
    return {"pins": {name: c.text for name, c in pins.items()}} if pins else {}


def latency_inputs(latency: LatencyTable | None) -> dict[str, str]:
    """Return what identifies a latency table in a key, nothing for none."""
    return {} if latency is None else {"latency": latency_digest(latency)}


def problems(
    table: LayerTable,
    scores: ScoreTable,
    latency: LatencyTable | None = None,
    *,
    pin_first_last: bool,
    ties: Ties = (),
    pins: Mapping[str, Candidate] | None = None,
) -> Make:
    """Return the function that makes the problem of these scores for given budgets."""
    held = ({} if pin_first_last else _released(table, scores)) | dict(pins or {})
    return lambda budgets: build_problem(table, scores, tuple(budgets), held, latency, ties)


def fixed_problem(
    table: LayerTable,
    scores: ScoreTable,
    allocation: Allocation,
    budgets: Sequence[Budget],
    latency: LatencyTable | None = None,
) -> Problem:
    """Return the problem in which every layer is held at what an allocation gives it.

    Raises:
        AllocationError: If the allocation splits an activation group, or a time is not known.
    """
    return build_problem(table, scores, tuple(budgets), allocation.as_dict(), latency)


def _released(
    table: LayerTable, scores: ScoreTable
) -> dict[str, Candidate | tuple[Candidate, ...]]:
    return {layer.name: scores.candidates for layer in table.layers if layer.pinned}
