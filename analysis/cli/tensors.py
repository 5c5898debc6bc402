"""The step ``distributions``: what weights and activations hold, and what a grid makes of them."""

from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any

from analysis import workflow
from analysis.allocation_file import uniform_allocation
from analysis.cli.method_flags import chosen, read_options
from analysis.cli.output import plain, show, table, to_json, write
from analysis.cli.parser import Call
from analysis.cli.session import Session, opened, read_recalibrations, settings, usage
from analysis.distributions.findings import findings
from analysis.errors import QuantizationError, UnknownNameError
from analysis.notes import sorted_notes
from analysis.plots.decibels import sqnr
from analysis.ptq import PTQ_METHODS
from analysis.quant.formats import bits_of, get_format
from analysis.records import Candidate, Distribution, Distributions, RangeExploration
from analysis.records.distributions import INPUT, ROLES, STATISTICS, WEIGHT


def distributions(call: Call) -> None:
    """Describe the tensors of every layer; of one layer, try every range as well."""
    args = call.args
    method = chosen(call, PTQ_METHODS, args.method)
    options = read_options(call, method=method)["method"]
    quantizers, recalibrations = settings(call), read_recalibrations(call)
    with usage(call):
        get_format(args.format)
    with opened(call) as session:
        study, where = session.study, session.workspace
        if args.layer is not None and args.layer not in session.table.names:
            raise UnknownNameError("layer", args.layer, session.table.names)
        recipe = None
        if args.allocation is not None:
            allocation = session.allocation(args.allocation)
            recipe = workflow.Recipe(
                allocation, method.name, options, quantizers, recalibrations, args.allocation
            )
        if args.layer is None or recipe is not None:
            explored = []
        else:
            explored = [
                session.run(
                    workflow.ranges(
                        where,
                        study,
                        args.layer,
                        role,
                        args.format,
                        per_channel=quantizers.per_channel,
                        percentile=quantizers.percentile,
                        recalibrations=recalibrations,
                    )
                )[0]
                for role in (WEIGHT, INPUT)
            ]
        found, cached = session.run(
            workflow.distributions(
                where, study, recipe, recalibrations=() if recipe else recalibrations
            )
        )
        clipped, unknown = _clipped(session, args.format, recalibrations)
    if args.out is not None:
        write(Path(args.out), to_json(found, indent=1).encode())
    names = found.layers if args.layer is None else (args.layer,)
    remarks = [f for f in findings(found, bits_of(args.format)) if f.layer in names]
    data = {
        "network": found.network,
        "n": found.n,
        "format": args.format,
        "layers": [
            {"name": name}
            | {role: _tensor(found, name, role, clipped.get((name, role))) for role in ROLES}
            for name in names
        ],
        "findings": [plain(f) for f in remarks],
        "ranges": [plain(e) | {"best": e.share[e.best]} for e in explored] or None,
        "notes": found.notes,
        "clipped_unknown": unknown or None,
        "seconds": found.seconds,
        "cached": cached,
    }
    lines = [_table(found, names, role, clipped) for role in ROLES]
    lines += [_ranges(e) for e in explored]
    lines += [f"{f.text} {f.remedy}" for f in remarks]
    if unknown:
        lines.append(f"clipped shares are not known: {unknown}")
    lines += ["\n".join(chain.from_iterable(sorted_notes(found.notes)))]
    lines.append(
        f"network: {found.network}; n = {found.n} calibration samples, {found.seconds:.1f} s"
    )
    show(args.json, data, "\n\n".join(filter(None, lines)))


def _clipped(
    session: Session, format_name: str, recalibrations: tuple[str, ...]
) -> tuple[dict[tuple[str, str], float], str]:
    """Return the share of values beyond the calibrated range of a format, by layer and role.

    With it comes the reason why there are none, as where a tensor holds NaN; else an empty text.
    """
    allocation = uniform_allocation(
        session.table, Candidate(format_name, format_name), pin_first_last=False
    )
    recipe = workflow.Recipe(
        allocation, settings=settings(session.call), recalibrations=recalibrations
    )
    try:
        made = session.reporter.work(workflow.quantized(session.workspace, session.study, recipe))
    except QuantizationError as error:
        return {}, str(error)
    shares: dict[tuple[str, str], float] = {}
    ranges = iter(made.quantization.ranges)
    for layer in session.table.layers:
        shares[(layer.name, WEIGHT)] = next(ranges).clipped
    for tensor, found in zip(session.table.tensors, ranges, strict=True):
        shares |= {(name, INPUT): found.clipped for name in tensor.readers}
    return shares, ""


def _tensor(found: Distributions, layer: str, role: str, clipped: float | None) -> dict[str, Any]:
    one = found.of(layer, role)
    if one is None:
        return {"reason": found.place(layer, role).reason}
    return {
        "title": one.title,
        "count": one.count,
        "zeros": one.zeros,
        **{name: one.value(name) for name in STATISTICS},
        "histogram": {"start": one.start, "width": one.width, "counts": one.counts},
        "channels": {name: one.per_channel(name) for name in STATISTICS},
        "average_channel_precision": one.average_channel_precision,
        "dead_channels": int(one.dead.sum()),
        "clipped": clipped,
    }


def _table(
    found: Distributions,
    names: tuple[str, ...],
    role: str,
    clipped: dict[tuple[str, str], float],
) -> str:
    rows = [
        _row(name, one, clipped.get((name, role)))
        for name in names
        if (one := found.of(name, role)) is not None
    ]
    if not rows:
        return ""
    head = (
        role.replace("_", "-"), "min", "max", "mean", "std", "kurtosis", "1 %", "99 %", "ACP",
        "one value", "zeros", "clipped",
    )  # fmt: skip
    left = [f"{n}: {found.place(n, role).reason}" for n in names if found.of(n, role) is None]
    return "\n".join([table(head, rows, "<>>>>>>>>>>>"), *left])


def _row(name: str, one: Distribution, clipped: float | None) -> tuple[str, ...]:
    return (
        name,
        *(_known(one.value(statistic)) for statistic in STATISTICS),
        "-" if one.dead.all() else f"{one.average_channel_precision:.3f}",
        f"{int(one.dead.sum())}",
        f"{one.zeros / one.count:.1%}" if one.count else "-",
        "-" if clipped is None else f"{clipped:.3%}",
    )


def _known(value: float) -> str:
    return f"{value:.3g}" if isfinite(value) else "-"


def _ranges(found: RangeExploration) -> str:
    rows = [
        (e.title, f"{e.clipped:.3%}", f"{e.rounding:.3g}", f"{e.clipping:.3g}", sqnr(e))
        for e in found.estimators
    ]
    head = (f"{found.title} at {found.format}", "clipped", "rounding", "clipping", "SQNR")
    if not found.signal > 0:
        return f"{table(head, rows, '<>>>>')}\nevery value is zero: no range costs anything"
    return (
        f"{table(head, rows, '<>>>>')}\nwhere all channels keep the same share, the error is least "
        f"at {found.share[found.best]:.3g} of the largest magnitude; optimal for a Gaussian "
        f"{found.gauss:.3g}, for a Laplacian {found.laplace:.3g}"
    )
