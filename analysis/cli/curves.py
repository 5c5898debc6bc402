"""The step ``curve``: what is measured over a whole resource."""

from pathlib import Path
from typing import Any

from analysis import workflow
from analysis.allocation import SOLVERS
from analysis.cli.method_flags import chosen
from analysis.cli.output import show, table, to_json, write
from analysis.cli.parser import Call
from analysis.cli.session import opened, read_pins, read_ties, read_times, settings, usage
from analysis.cli.sweeps import further_budgets, sweep_candidates
from analysis.curves.trust import trust
from analysis.curves.verdict import at_limit, verdict
from analysis.curves.words import (
    fewer_limits,
    held_text,
    kept,
    point_text,
    series_text,
    versus_text,
)
from analysis.prediction_error import curve_calibrations
from analysis.ptq import PTQ_METHODS
from analysis.records import Curve, CurvePoint, Measured
from analysis.records.curve import RANDOM
from analysis.sensitivity import METRICS


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
            fixed=further_budgets(call),
            candidates=sweep_candidates(call),
            settings=settings(call),
            memory_mib=args.memory_mib,
            latency=latency,
            latency_file=args.latency or "",
            ties=read_ties(call),
            pins=read_pins(call),
        )
    with opened(call) as session:
        found, cached = session.run(workflow.curve(session.workspace, session.study, plan))
    if args.out is not None:
        write(Path(args.out), to_json(found, indent=1).encode())
    show(args.json, _curve_data(found) | {"cached": cached}, _curve_text(found, args.points))


def _curve_data(found: Curve) -> dict[str, Any]:
    return {
        "resource": found.resource,
        "limits": found.limits,
        "fixed": {b.resource: b.limit for b in found.fixed},
        "pins": found.pins,
        "ties": found.ties,
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


def _curve_text(found: Curve, asked: int) -> str:
    rows = []
    for place, limit in enumerate(found.limits):
        for own in _together(found, place):
            first = own[0]
            alone = len(own) == 1
            rows.append(
                (
                    f"{limit:.4g}",
                    point_text(found, first) + ("" if alone else f" ({len(own)})"),
                    f"{first.used:.4g}" if alone else "",
                    kept(first) if alone else _spread(own),
                    _best_kl(own),
                    versus_text(found, first) if alone else "",
                )
            )
    head = ("limit", "bits by", "used", "measured", "KL (nats)", "against size-only, paired")
    lines = [table(head, rows, "><><>>"), ""]
    lines += [fewer_limits(len(found.limits), asked), *verdict(found)]
    for each in curve_calibrations(found):
        lines += trust(each, each.metric)
    held = held_text(found.pins, found.ties, first_last=found.settings.pin_first_last)
    lines.append(f"In every allocation: {held}." if held else "")
    lines.append(f"float: {100 * found.float_.top1:.2f} %" if found.float_.labelled else "")
    return "\n".join(filter(None, lines)) + f"\n{found.seconds:.1f} s"


def _together(found: Curve, place: int) -> list[list[CurvePoint]]:
    """Return what makes one row each within a limit: a point, or all random allocations."""
    groups = []
    for i, series in enumerate(found.series):
        own = [p for p in found.points if (p.series, p.place) == (i, place)]
        groups += [own] if series.kind == RANDOM else [[point] for point in own]
    return [group for group in groups if group]


def _spread(points: list[CurvePoint]) -> str:
    if not points[0].measured.labelled:
        return f"n = {points[0].measured.n:,}, no labels"
    values = [100 * p.measured.top1 for p in points]
    return f"{min(values):.1f} to {max(values):.1f} %"


def _best_kl(points: list[CurvePoint]) -> str:
    values = sorted({f"{p.measured.kl:.3g}" for p in points}, key=float)
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"
