"""The steps ``score`` and ``allocate``: which layers can give up bits, and how many."""

from pathlib import Path
from typing import Any

from analysis import workflow
from analysis.allocation import SOLVERS, parse_budget
from analysis.allocation.budgets import TIMED, check_budgets
from analysis.allocation_file import allocation_json
from analysis.cli.method_flags import chosen, read_options
from analysis.cli.output import plain, show, table, to_json, write
from analysis.cli.parser import Call
from analysis.cli.session import (
    opened,
    read_candidates,
    read_pins,
    read_ties,
    read_times,
    settings,
    usage,
)
from analysis.cli.storing import check_backend, storage_notes
from analysis.prediction import beside
from analysis.records import Candidate, Costs, ScoreTable, Solution
from analysis.registry import Method
from analysis.sensitivity import METRICS


def score(call: Call) -> None:
    """Score the layers, and the candidates of each if there are any."""
    metric = chosen(call, METRICS, call.args.metric)
    options = read_options(call, metric=metric)["metric"]
    candidates = _candidates(call, metric, layers_alone=True)
    quantizers = settings(call)
    with opened(call) as session:
        step = workflow.score(
            session.workspace,
            session.study,
            metric.name,
            options=options,
            candidates=candidates,
            settings=quantizers,
            memory_mib=call.args.memory_mib,
        )
        scores, cached = session.run(step)
    if call.args.out is not None:
        write(Path(call.args.out), to_json(scores, indent=1).encode())
    data = {
        "metric": scores.metric,
        "unit": scores.unit,
        "layers": scores.layers,
        "candidates": [c.text for c in scores.candidates] or None,
        "values": scores.values,
        "per_sample": scores.per_sample,
        "per_sample_unit": scores.per_sample_unit,
        "stderr": scores.stderr,
        "exact": scores.exact,
        "protocol": scores.protocol,
        "data": scores.data,
        "n": scores.n,
        "passes": {"forward": scores.forward_passes, "backward": scores.backward_passes},
        "skipped": scores.skipped,
        "notes": scores.notes,
        "seconds": scores.seconds,
        "cached": cached,
    }
    show(call.args.json, data, _score_text(scores))


def allocate(call: Call) -> None:
    """Find bits within the budgets by the scores of a metric."""
    args = call.args
    metric, solver = chosen(call, METRICS, args.metric), chosen(call, SOLVERS, args.solver)
    options = read_options(call, metric=metric, solver=solver)
    candidates = _candidates(call, metric, layers_alone=False)
    with usage(call):
        budgets = [parse_budget(text) for text in args.budget]
        check_budgets(budgets)
    pins, ties = read_pins(call), read_ties(call)
    check_backend(call)
    quantizers = settings(call)
    if args.latency is None and (args.free_bits or any(b.resource in TIMED for b in budgets)):
        call.refuse("`--free-bits` and budgets of latency_ms must come with `--latency FILE`.")
    latency = read_times(call)
    with opened(call) as session:
        scores = session.scores(metric.name, options["metric"], candidates, quantizers)
        step = workflow.allocate(
            session.workspace,
            session.study,
            scores,
            budgets,
            solver.name,
            options=options["solver"],
            pins=pins,
            pin_first_last=not args.release_first_last,
            latency=latency,
            latency_file=args.latency or "",
            free_bits=args.free_bits,
            ties=ties,
        )
        solution, cached = session.run(step)
        study = session.study
        storage = storage_notes(call, session.table, solution.allocation)
    if args.out is not None:
        text = allocation_json(
            solution.allocation,
            study=study.spec.name or study.model.source,
            made_by=plain(_about(solution)),
        )
        write(Path(args.out), text.encode())
    formats = {n: c.text for n, c in solution.allocation.as_dict().items()}
    data = {
        "allocation": formats,
        **_about(solution),
        "storage": storage.data,
        "cached": cached,
    }
    show(args.json, data, "\n".join((_solution_text(solution), *storage.lines)))


def costs_text(costs: Costs) -> str:
    """Say in one line what an allocation costs."""
    size = f"{costs.size_mib:.3f}" if costs.size_mib >= 0.01 else f"{costs.size_mib:.3g}"
    return (
        f"{size} MiB and {costs.scales_mib:.3g} of scales "
        f"({costs.size_ratio:.1%} of w8a8, {costs.compression:.2f} x smaller than float), "
        f"BOPs {costs.bops_ratio:.1%} of w8a8, on average "
        f"{costs.avg_weight_bits:.2f} bits per weight, {costs.avg_activation_bits:.2f} per "
        f"activation, at most {costs.peak_activation_mib:.3g} MiB of activations at once"
        + ("" if costs.latency_ms is None else f", layers {costs.latency_ms:.4g} ms by the table")
    )


def _candidates(call: Call, metric: Method[Any], *, layers_alone: bool) -> tuple[Candidate, ...]:
    if call.args.candidates is not None:
        with usage(call):
            return read_candidates(call.args.candidates)
    if layers_alone and "candidates" not in metric.needs:
        return ()
    return workflow.DEFAULT_CANDIDATES


def _about(solution: Solution) -> dict[str, Any]:
    return {
        "metric": solution.metric,
        "unit": solution.unit,
        "solver": solution.solver,
        "objective": solution.objective,
        "lower_bound": solution.lower_bound,
        "gap": solution.gap,
        "status": solution.status,
        "budgets": [
            {"resource": b.resource, "limit": b.limit, "used": b.used, "slack": b.slack}
            for b in solution.budgets
        ],
        "costs": solution.costs,
        "baselines": {
            b.name: {"objectives": b.objectives, "reason": b.reason} for b in solution.baselines
        },
        "notes": solution.notes,
        "seconds": solution.seconds,
    }


def _score_text(scores: ScoreTable) -> str:
    columns = [c.text for c in scores.candidates] or ["score"]
    values = scores.values.reshape(len(scores.layers), len(columns))
    rows = [
        (name, *(f"{v:.4g}" for v in row)) for name, row in zip(scores.layers, values, strict=True)
    ]
    lines = [table(("layer", *columns), rows, "<" + ">" * len(columns)), ""]
    lines += [f"skipped {s.name}: {s.reason}" for s in scores.skipped]
    lines += scores.notes
    lines.append(
        f"{scores.title} in {scores.unit}, larger is worse, {scores.protocol}, "
        f"{'exact' if scores.exact else 'estimated'}, mean over n = {scores.n} {scores.data} "
        f"samples, {scores.seconds:.1f} s"
    )
    return "\n".join(lines)


def _solution_text(solution: Solution) -> str:
    allocation = solution.allocation
    rows = [
        (name, c.text) for name, c in zip(allocation.layers, allocation.candidates, strict=True)
    ]
    lines = [table(("layer", "candidate"), rows, "<<"), "", *solution.notes]
    lines.append(
        f"predicted: {solution.objective:.4g} {solution.unit} ({solution.metric}), "
        f"{solution.status}" + (f", gap {solution.gap:.2%}" if solution.gap is not None else "")
    )
    lines += [
        f"budget {b.resource}: {b.used:.4g} of {b.limit:g}, {b.slack:.4g} left"
        for b in solution.budgets
    ]
    lines.append(costs_text(solution.costs))
    lines.append(beside(solution))
    return "\n".join(lines)
