"""From scores to an allocation within budgets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from analysis.allocation import build_problem, solve_work
from analysis.allocation.baselines import baselines
from analysis.allocation.budgets import check_budgets
from analysis.allocation.solvers import INTERACTIONS, SOLVERS
from analysis.allocation.tying import Ties
from analysis.commands import budget_text, changed_options, changed_settings, command_line
from analysis.events import Work
from analysis.options import Options, as_dict, build
from analysis.records import (
    Allocation,
    Budget,
    Candidate,
    Evaluation,
    LatencyTable,
    QuantSettings,
    ScoreTable,
    Solution,
    Study,
)
from analysis.records.curve import SIZE_ONLY
from analysis.sensitivity import METRICS
from analysis.steps import Step, StoredParts
from analysis.workflow.measuring import quantize
from analysis.workflow.opening import layers
from analysis.workflow.recipe import Recipe
from analysis.workflow.scoring import score
from analysis.workspace import Workspace
from cache.keys import digest


def allocate(
    workspace: Workspace,
    study: Study,
    scores: Step[ScoreTable],
    budgets: Sequence[Budget],
    solver: str,
    *,
    options: Options | None = None,
    pins: Mapping[str, Candidate] | None = None,
    pin_first_last: bool = True,
    latency: LatencyTable | None = None,
    latency_file: str = "latency.csv",
    free_bits: bool = False,
    ties: Ties = (),
) -> Step[Solution]:
    """Find an allocation within the budgets.

    Beside it stand the summed scores of uniform bits, of the size-only allocation and of random
    ones within the same budgets. A solver that needs measured accuracy gets it on the evaluation
    set, rounded to nearest under the scores' settings; whatever it measures is stored.

    Args:
        workspace: Where to work.
        study: The study.
        scores: The step that scores the candidates; it is run if need be.
        budgets: Limits on resources.
        solver: A registered solver.
        options: The solver's options; None for its defaults.
        pins: Layers that must take a given candidate.
        pin_first_last: Whether the first and last layer are held at w8a8.
        latency: Times of the layers, which a budget of ``latency_ms`` and free bits need.
        latency_file: CSV file with them that the equal command line names.
        free_bits: Whether to raise bits afterwards where that costs no time.
        ties: Names of layers that must take the same candidate; no layer is in two ties.

    Raises:
        UnknownNameError: If there is no such solver or resource.
        AllocationError: If two budgets are of one resource, or a limit is not positive.
    """
    method = SOLVERS[solver]
    check_budgets(budgets)
    options = method.options() if options is None else options
    pins = dict(pins or {})

    def work(parts: StoredParts) -> Work[Solution]:
        del parts
        table = yield from layers(workspace, study).need(workspace.store)
        scored = yield from scores.need(workspace.store)
        held: dict[str, Candidate | tuple[Candidate, ...]] = {**pins}
        if not pin_first_last:
            free = {layer.name: scored.candidates for layer in table.layers if layer.pinned}
            held = {**free, **held}
        problem = build_problem(table, scored, tuple(budgets), held, latency, ties)
        measure = partial(_measured, workspace, study, scored.settings)
        found = yield from solve_work(problem, solver, options, measure, free_bits=free_bits)
        equal = score(
            workspace, study, SIZE_ONLY, candidates=scored.candidates, settings=scored.settings
        )
        sizes = yield from equal.need(workspace.store)
        size_only = build_problem(table, sizes, tuple(budgets), held, latency, ties)
        solved = problem if INTERACTIONS in method.needs else problem.separable()
        return replace(found, baselines=baselines(solved, size_only))

    scoring = build(METRICS[scores.options["metric"]].options, scores.options["options"])
    flags: dict[str, Any] = {
        "metric": scores.options["metric"],
        "candidates": ",".join(scores.options["candidates"]),
        "budget": [budget_text(b) for b in budgets],
        "solver": solver,
        "pin": pin_texts(pins),
        "tie": tie_texts(ties),
        "release-first-last": not pin_first_last,
        "latency": "" if latency is None else latency_file,
        "free-bits": free_bits,
    }
    chosen: dict[str, Any] = {
        "budgets": {b.resource: b.limit for b in budgets},
        "solver": solver,
        "options": as_dict(options),
        "pins": {name: c.text for name, c in pins.items()},
        "pin_first_last": pin_first_last,
    }
    if free_bits:
        chosen["free_bits"] = True
    chosen |= tie_options(ties)
    inputs = {"scores": scores.key}
    if latency is not None:
        inputs["latency"] = latency_digest(latency)
    return Step(
        name="allocate",
        version=method.version + 1,  # 2: baselines
        title=f"{method.title}: {', '.join(f'{b.resource} ≤ {b.limit:g}' for b in budgets)}",
        command=command_line(
            "allocate",
            study.spec,
            flags
            | changed_options(metric=scoring, solver=options)
            | changed_settings(QuantSettings(**scores.options["settings"])),
        ),
        record=Solution,
        inputs=inputs,
        options=chosen,
        work=work,
    )


def _measured(
    workspace: Workspace, study: Study, settings: QuantSettings, allocation: Allocation
) -> Work[Evaluation]:
    """Measure an allocation, or look up what it measured; it enters no list of configurations."""
    step = quantize(workspace, study, Recipe(allocation, settings=settings))
    found = yield from replace(step, names=()).need(workspace.store)
    return found.measured


def pin_texts(pins: Mapping[str, Candidate]) -> list[str]:
    """Return pins as the command line reads them."""
    return [f"{name}={candidate.text}" for name, candidate in pins.items()]


def tie_texts(ties: Ties) -> list[str]:
    """Return ties as the command line reads them."""
    return [",".join(own) for own in ties]


def tie_options(ties: Ties) -> dict[str, list[list[str]]]:
    """Return what identifies ties in a key, nothing for none; their order does not matter."""
    return {"ties": sorted(sorted(own) for own in ties)} if ties else {}


def latency_digest(latency: LatencyTable) -> str:
    """Return what identifies the times in a latency table, whatever the file is called."""
    rows = [[row.layer, row.shape, row.candidate.text, row.ns] for row in latency.rows]
    return digest(sorted(rows))
