"""The step ``latency``: how long every layer takes on this machine."""

from pathlib import Path

from analysis import workflow
from analysis.cli.output import show, table, write
from analysis.cli.parser import Call
from analysis.cli.session import opened, usage
from analysis.latency.settings import TimingOptions
from analysis.latency.table_file import latency_csv
from analysis.models.latency import NS_PER_MS
from analysis.records import LatencyTable


def latency(call: Call) -> None:
    """Time every layer alone, in w8a8 and in float."""
    args = call.args
    with usage(call):
        options = TimingOptions(repeats=args.repeats, warm_up=args.warm_up, parallel=args.parallel)
    with opened(call) as session:
        found, cached = session.run(workflow.latency(session.workspace, session.study, options))
    if args.out is not None:
        write(Path(args.out), latency_csv(found).encode())
    data = {
        "source": found.source,
        "rows": [
            {
                "layer": row.layer,
                "shape": row.shape,
                "candidate": row.candidate.text,
                "ms": row.ns / NS_PER_MS,
                "spread_ms": row.spread_ns / NS_PER_MS,
            }
            for row in found.rows
        ],
        "notes": found.notes,
        "cached": cached,
    }
    show(args.json, data, _text(found))


def _text(found: LatencyTable) -> str:
    rows = [
        (
            row.layer,
            row.candidate.text,
            f"{row.ns / NS_PER_MS:.4f}",
            f"{row.spread_ns / NS_PER_MS:.4f}",
        )
        for row in found.rows
    ]
    head = ("layer", "candidate", "ms", "spread")
    lines = [table(head, rows, "<<>>"), "", *found.notes, f"Medians, {found.source}."]
    return "\n".join(lines)
