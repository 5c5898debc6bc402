"""The steps ``pareto`` and ``curve``: what is predicted and measured over a whole resource."""

from pathlib import Path
from typing import Any

from analysis import workflow
from analysis.allocation import SOLVERS, parse_budget
from analysis.cli.method_flags import chosen, read_options
from analysis.cli.output import show, table, to_json, write
from analysis.cli.parser import Call
from analysis.cli.session import opened, read_candidates, read_ties, read_times, settings, usage
from analysis.curves.trust import trust
from analysis.curves.verdict import at_limit, verdict
from analysis.curves.words import kept, series_text, versus_text
from analysis.prediction_error import curve_calibrations
from analysis.ptq import PTQ_METHODS
from analysis.records import (
    Budget,
    Candidate,
    Curve,
    CurvePoint,
    Front,
    FrontPoint,
    Measured,
)
from analysis.sensitivity import METRICS


def pareto(call: Call) -> None:
    """Solve within several limits of one resource."""
    args = call.args
    metric, solver = chosen(call, METRICS, args.metric), chosen(call, SOLVERS, args.solver)
    options = read_options(call, metric=metric, solver=solver)
    candidates, fixed = _candidates(call), _fixed(call)
    quantizers, latency, ties = settings(call), read_times(call), read_ties(call)
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
        )
        found, cached = session.run(step)
    if args.out is not None:
        write(Path(args.out), to_json(found, indent=1).encode())
    show(args.json, _front_data(found) | {"cached": cached}, _front_text(found))


def curve(call: Call) -> None:
    """Measure what several metrics, solvers and methods keep, with all baselines."""
    args = call.args
    for name in args.metric:
        chosen(call, METRICS, name)
    for name in args.solver or ():
        chosen(call, SOLVERS, name)
    for name in args.method or ():
        chosen(call, PTQ_METHODS, name)
    latency = read_times(call)
    with usage(call):
        plan = workflow.CurvePlan(
            metrics=tuple(args.metric),
            resource=args.resource,
            points=args.points,
            solvers=tuple(args.solver or ("milp",)),
            methods=tuple(args.method or ("nearest",)),
            random=args.random,
            seed=args.draw_seed,
            fixed=_fixed(call),
            candidates=_candidates(call),
            settings=settings(call),
            memory_mib=args.memory_mib,
            latency=latency,
            latency_file=args.latency or "",
            ties=read_ties(call),
        )
    with opened(call) as session:
        found, cached = session.run(workflow.curve(session.workspace, session.study, plan))
    if args.out is not None:
        write(Path(args.out), to_json(found, indent=1).encode())
    show(args.json, _curve_data(found) | {"cached": cached}, _curve_text(found))


def _candidates(call: Call) -> tuple[Candidate, ...]:
    if call.args.candidates is None:
        return workflow.DEFAULT_CANDIDATES
    with usage(call):
        return read_candidates(call.args.candidates)


def _fixed(call: Call) -> tuple[Budget, ...]:
    with usage(call):
        # The swept resource is named the way a budget is, so it is refused the same way.
        parse_budget(f"{call.args.resource}=1")
        return tuple(parse_budget(text) for text in call.args.budget)


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


def _front_text(found: Front) -> str:
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
    return "\n".join(
        (
            table(head, rows, ">>>><>><"),
            *absent,
            f"{len(found.front)} of {len(found.points)} points on the front over "
            f"{found.resource}; predicted in {found.unit} ({found.metric}), solver "
            f"{found.solver}, {found.seconds:.1f} s",
        )
    )


def _curve_data(found: Curve) -> dict[str, Any]:
    return {
        "resource": found.resource,
        "limits": found.limits,
        "fixed": {b.resource: b.limit for b in found.fixed},
        "metrics": dict(zip(found.metrics, found.units, strict=True)),
        "float": _measured(found.float_),
        "points": [_curve_point(found, p) for p in found.points],
        "absent": [
            {"series": series_text(found, a.series), "limit": _limit(found, a.place)}
            | {"reason": a.reason}
            for a in found.absent
        ],
        "calibrations": curve_calibrations(found),
        "verdict": verdict(found),
        "at_limits": [at_limit(found, place) for place in range(len(found.limits))],
        "seconds": found.seconds,
    }


def _curve_point(found: Curve, point: CurvePoint) -> dict[str, Any]:
    series = found.series[point.series]
    return {
        "kind": series.kind,
        "metric": series.metric or None,
        "solver": series.solver or None,
        "method": series.method,
        "limit": found.limits[point.place],
        "used": point.used,
        "costs": point.costs,
        "predicted": dict(zip(found.metrics, point.predicted.tolist(), strict=True)),
        "status": point.status,
        "gap": point.gap,
        "measured": _measured(point.measured),
        "versus_size_only": point.versus_size_only,
        "versus_best": point.versus_best,
        "allocation": {n: c.text for n, c in point.allocation.as_dict().items()},
    }


def _measured(measured: Measured) -> dict[str, Any]:
    return {
        "n": measured.n,
        "labelled": measured.labelled,
        "top1": measured.top1,
        "low": measured.low,
        "high": measured.high,
        "kl": measured.kl,
        "agreement": measured.agreement,
    }


def _limit(found: Curve, place: int) -> float | None:
    return None if place < 0 else found.limits[place]


def _curve_text(found: Curve) -> str:
    rows = []
    for place, limit in enumerate(found.limits):
        for i in range(len(found.series)):
            own = [p for p in found.points if (p.series, p.place) == (i, place)]
            if not own:
                continue
            first = own[0]
            rows.append(
                (
                    f"{limit:.4g}",
                    series_text(found, i) + (f" ({len(own)})" if len(own) > 1 else ""),
                    f"{first.used:.4g}" if len(own) == 1 else "",
                    kept(first) if len(own) == 1 else _spread(own),
                    _best_kl(own),
                    versus_text(found, first) if len(own) == 1 else "",
                )
            )
    head = ("limit", "bits by", "used", "measured", "KL (nats)", "against size-only, paired")
    lines = [table(head, rows, "><><>>"), ""]
    lines += verdict(found)
    for each in curve_calibrations(found):
        lines += trust(each, each.metric)
    lines.append(f"float: {100 * found.float_.top1:.2f} %" if found.float_.labelled else "")
    return "\n".join(filter(None, lines)) + f"\n{found.seconds:.1f} s"


def _spread(points: list[CurvePoint]) -> str:
    if not points[0].measured.labelled:
        return f"n = {points[0].measured.n:,}, no labels"
    values = [100 * p.measured.top1 for p in points]
    return f"{min(values):.1f} to {max(values):.1f} %"


def _best_kl(points: list[CurvePoint]) -> str:
    values = sorted({f"{p.measured.kl:.3g}" for p in points}, key=float)
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"
