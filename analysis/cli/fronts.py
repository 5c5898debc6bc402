"""The step ``pareto``: what is predicted over a whole resource."""

from pathlib import Path
from typing import Any

from analysis import workflow
from analysis.allocation import SOLVERS
from analysis.cli.method_flags import chosen, read_options
from analysis.cli.output import show, table, to_json, write
from analysis.cli.parser import Call
from analysis.cli.session import opened, read_pins, read_ties, read_times, settings
from analysis.cli.sweeps import further_budgets, sweep_candidates
from analysis.curves.words import fewer_limits
from analysis.records import Front, FrontPoint
from analysis.sensitivity import METRICS


def pareto(call: Call) -> None:
    """Solve within several limits of one resource."""
    args = call.args
    metric, solver = chosen(call, METRICS, args.metric), chosen(call, SOLVERS, args.solver)
    options = read_options(call, metric=metric, solver=solver)
    candidates, fixed = sweep_candidates(call), further_budgets(call)
    quantizers, latency = settings(call), read_times(call)
    pins, ties = read_pins(call), read_ties(call)
    with opened(call) as session:
        scores = session.scores(metric.name, options["metric"], candidates, quantizers)
        step = workflow.pareto(
            session.workspace,
            session.study,
            scores,
            args.resource,
            solver.name,
            points=args.points,
            fixed=fixed,
            options=options["solver"],
            pin_first_last=quantizers.pin_first_last,
            latency=latency,
            latency_file=args.latency or "",
            ties=ties,
            pins=pins,
        )
        found, cached = session.run(step)
    if args.out is not None:
        write(Path(args.out), to_json(found, indent=1).encode())
    show(args.json, _front_data(found) | {"cached": cached}, _front_text(found, args.points))


def _front_data(found: Front) -> dict[str, Any]:
    return {
        "resource": found.resource,
        "metric": found.metric,
        "unit": found.unit,
        "solver": found.solver,
        "points": [_point_data(found, point) for point in found.points],
        "seconds": found.seconds,
    }


def _point_data(found: Front, point: FrontPoint) -> dict[str, Any]:
    solution = point.solution
    if solution is None:
        return {"limit": point.limit, "status": "infeasible", "reason": point.reason}
    return {
        "limit": point.limit,
        "used": point.used,
        "objective": solution.objective,
        "lower_bound": solution.lower_bound,
        "gap": solution.gap,
        "status": solution.status,
        "dominated": point.dominated,
        "allocation": {n: c.text for n, c in solution.allocation.as_dict().items()},
        "costs": solution.costs,
        "budgets": [
            {"resource": b.resource, "limit": b.limit, "used": b.used, "slack": b.slack}
            for b in solution.budgets
        ],
        "notes": solution.notes,
    }


def _front_text(found: Front, asked: int) -> str:
    rows, absent = [], []
    for point in found.points:
        solution = point.solution
        if solution is None:
            absent.append(f"{found.resource} {point.limit:g}: {point.reason}")
            continue
        rows.append(
            (
                f"{point.limit:.5g}",
                f"{point.used:.5g}",
                f"{solution.objective:.4g}",
                "-" if solution.gap is None else f"{solution.gap:.2%}",
                solution.status,
                f"{solution.costs.size_mib:.4f}",
                f"{solution.costs.avg_weight_bits:.2f}",
                "dominated" if point.dominated else "",
            )
        )
    head = ("limit", "used", "predicted", "gap", "status", "MiB", "weight bits", "")
    solutions = [point.solution for point in found.points if point.solution is not None]
    notes = dict.fromkeys(note for solution in solutions for note in solution.notes)
    return "\n".join(
        (
            table(head, rows, ">>>><>><"),
            *absent,
            *notes,
            *filter(None, [fewer_limits(len(found.points), asked)]),
            f"{len(found.front)} of {len(found.points)} points on the front over "
            f"{found.resource}; predicted in {found.unit} ({found.metric}), solver "
            f"{found.solver}, {found.seconds:.1f} s",
        )
    )
