"""From scores to an allocation within budgets."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.allocation import build_problem, solve_work
from analysis.allocation.solvers import SOLVERS
from analysis.commands import budget_text, changed_options, changed_settings, command_line
from analysis.events import Work
from analysis.options import Options, as_dict, build
from analysis.records import Budget, Candidate, QuantSettings, ScoreTable, Solution, Study
from analysis.sensitivity import METRICS
from analysis.steps import Step, StoredParts
from analysis.workflow.opening import layers
from analysis.workspace import Workspace


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
) -> Step[Solution]:
    """Find an allocation within the budgets.

    Args:
        workspace: Where to work.
        study: The study.
        scores: The step that scores the candidates; it is run if need be.
        budgets: Limits on resources.
        solver: A registered solver.
        options: The solver's options; None for its defaults.
        pins: Layers that must take a given candidate.
        pin_first_last: Whether the first and last layer are held at w8a8.

    Raises:
        UnknownNameError: If there is no such solver.
    """
    method = SOLVERS[solver]
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
        problem = build_problem(table, scored, tuple(budgets), held)
        return (yield from solve_work(problem, solver, options))

    scoring = build(METRICS[scores.options["metric"]].options, scores.options["options"])
    flags: dict[str, Any] = {
        "metric": scores.options["metric"],
        "candidates": ",".join(scores.options["candidates"]),
        "budget": [budget_text(b) for b in budgets],
        "solver": solver,
        "pin": [f"{name}={c.text}" for name, c in pins.items()],
        "release-first-last": not pin_first_last,
    }
    return Step(
        name="allocate",
        version=method.version,
        title=f"{method.title}: {', '.join(f'{b.resource} ≤ {b.limit:g}' for b in budgets)}",
        command=command_line(
            "allocate",
            study.spec,
            flags
            | changed_options(metric=scoring, solver=options)
            | changed_settings(QuantSettings(**scores.options["settings"])),
        ),
        record=Solution,
        inputs={"scores": scores.key},
        options={
            "budgets": {b.resource: b.limit for b in budgets},
            "solver": solver,
            "options": as_dict(options),
            "pins": {name: c.text for name, c in pins.items()},
            "pin_first_last": pin_first_last,
        },
        work=work,
    )
