"""The step ``agreement``: which metric to trust on this model."""

from pathlib import Path

from analysis import workflow
from analysis.allocation import parse_budget
from analysis.cli.method_flags import chosen
from analysis.cli.output import accuracy, plain, show, table, to_json, write
from analysis.cli.parser import Call
from analysis.cli.session import opened, read_candidates, settings, usage
from analysis.records import Agreement, Contest, Estimate
from analysis.sensitivity import METRICS
from analysis.verdict import verdict


def agreement(call: Call) -> None:
    """Compare metrics with a measured reference, or by the allocations they lead to."""
    args = call.args
    chosen(call, METRICS, args.reference)
    names = [name.strip() for name in args.metrics.split(",")] if args.metrics else None
    for name in names or ():
        chosen(call, METRICS, name)
    with usage(call):
        candidates = (
            read_candidates(args.candidates) if args.candidates else workflow.DEFAULT_CANDIDATES
        )
        budget = None if args.budget is None else parse_budget(args.budget)
    quantizers = settings(call)
    with opened(call) as session:
        study, where = session.study, session.workspace
        metrics = names or [
            m.name for m in METRICS if not workflow.unmet(m.name, study) and m.name != "clado"
        ]
        if budget is None:
            found, cached = session.run(
                workflow.agree(
                    where,
                    study,
                    metrics,
                    args.reference,
                    data=args.set,
                    candidates=candidates,
                    settings=quantizers,
                    memory_mib=args.memory_mib,
                )
            )
            data, text = plain(found) | {"verdict": verdict(found)}, _agreement_text(found)
            record: Agreement | Contest = found
        else:
            held, cached = session.run(
                workflow.contest(
                    where,
                    study,
                    metrics,
                    budget,
                    candidates=candidates,
                    settings=quantizers,
                    memory_mib=args.memory_mib,
                )
            )
            data, text, record = _contest_data(held), _contest_text(held), held
    if args.out is not None:
        write(Path(args.out), to_json(record, indent=1).encode())
    show(args.json, data | {"cached": cached}, text)


def _agreement_text(found: Agreement) -> str:
    rows = []
    order = sorted(
        range(len(found.metrics)),
        key=lambda i: -(found.overall(i).tau or Estimate(value=-9.0, low=0.0, high=0.0)).value,
    )
    for i in order:
        each = found.overall(i)
        rows.append(
            (
                each.metric,
                _estimate(each.tau),
                _estimate(each.rho),
                "-" if each.overlap is None else f"{each.overlap:.0%}",
                f"{each.layers}",
                each.reason,
            )
        )
    head = ("metric", "Kendall tau", "Spearman rho", "top", "layers", "")
    return "\n".join(
        (
            table(head, rows, "<>>>><"),
            f"Against {found.title} on {found.n} {found.data} samples; intervals hold "
            f"{found.level:.0%}.",
            *verdict(found),
        )
    )


def _estimate(value: Estimate | None) -> str:
    return "-" if value is None else f"{value.value:+.2f} ({value.low:+.2f} to {value.high:+.2f})"


def _contest_data(found: Contest) -> dict[str, object]:
    return {
        "budget": {found.budget.resource: found.budget.limit},
        "best": found.metrics[found.best],
        "metrics": [
            {
                "metric": name,
                "allocation": {n: c.text for n, c in each.allocation.as_dict().items()},
                "top1": each.measured.top1,
                "low": each.measured.low,
                "high": each.measured.high,
                "n": each.measured.n,
                "kl": each.measured.kl,
                "versus_best": versus,
            }
            for name, each, versus in zip(
                found.metrics, found.configurations, found.versus_best, strict=True
            )
        ],
    }


def _contest_text(found: Contest) -> str:
    rows = [
        (
            name,
            accuracy(each.measured),
            f"{each.measured.kl:.3g}",
            "best"
            if place == found.best
            else f"{100 * versus.difference:+.2f} ({100 * versus.low:+.1f} to "
            f"{100 * versus.high:+.1f})",
        )
        for place, (name, each, versus) in enumerate(
            zip(found.metrics, found.configurations, found.versus_best, strict=True)
        )
    ]
    head = ("metric", "measured", "KL (nats)", "points against the best")
    return (
        f"{table(head, rows, '<>>>')}\nAllocations within {found.budget.resource} "
        f"{found.budget.limit:g}, rounded to nearest. The best was chosen after the fact."
    )
