"""The steps ``quantize``, ``evaluate`` and ``export``: what an allocation is worth."""

from pathlib import Path
from typing import Any

from analysis import workflow
from analysis.cli.choice import costs_text
from analysis.cli.method_flags import chosen, chosen_ptq, read_options
from analysis.cli.output import accuracy, show, table, to_json, write
from analysis.cli.parser import Call
from analysis.cli.recover import recovery
from analysis.cli.session import Session, opened, read_recalibrations, settings
from analysis.cli.storing import check_backend, storage_notes, with_parts
from analysis.errors import AnalysisError
from analysis.export import EXPORTERS, Exported, ExportTask
from analysis.known import known
from analysis.ptq import PTQ_METHODS
from analysis.ptq.task import TRAINED
from analysis.quant.packing import check_packable
from analysis.quantized_files import evaluate_file, quantized_file
from analysis.records import Configuration, Evaluation


def quantize(call: Call) -> None:
    """Quantize as allocated and measure."""
    args = call.args
    method, before = chosen_ptq(call, args.method)
    options = read_options(call, method=method)["method"]
    quantizers, recalibrations = settings(call), (*before, *read_recalibrations(call))
    check_backend(call)
    with opened(call) as session:
        allocation = session.allocation(args.allocation)
        if args.out_model is not None:  # refused before hours are spent on what it is to hold
            ready = workflow.recalibrated(session.workspace, session.study, recalibrations)
            check_packable(session.reporter.work(ready), recalibrations)
        storage = storage_notes(call, session.table, allocation)
        recipe = workflow.Recipe(
            allocation, method.name, options, quantizers, recalibrations, args.allocation
        )
        step = workflow.quantize(session.workspace, session.study, recipe, name=args.name.strip())
        if not args.name.strip():
            name = workflow.free_name(session.workspace.store, step)
            step = workflow.quantize(session.workspace, session.study, recipe, name=name)
        made, cached = session.run(step)
        storage = with_parts(storage, made)
        changed = recovery(session, recipe) if args.recovery else None
        trace = _trace(session, recipe)
        if args.out_model is not None:
            content = session.reporter.work(
                quantized_file(session.workspace, session.study, recipe)
            )
            write(Path(args.out_model), content)
    if args.out is not None:
        write(Path(args.out), to_json(made, indent=1).encode())
    data: dict[str, Any] = {
        "name": step.names[0][1],
        "method": made.method,
        "options": made.options,
        "recalibrations": made.recalibrations,
        "settings": made.settings,
        "seconds": made.seconds,
        "allocation": {n: c.text for n, c in made.allocation.as_dict().items()},
        "costs": made.costs,
        "measured": _measured(made.measured),
        "trace": trace,
        "storage": storage.data,
        "notes": made.notes,
        "recovery": None if changed is None else changed.data,
        "cached": cached,
    }
    lines = (*storage.lines, *(() if changed is None else changed.lines))
    show(args.json, data, "\n".join((_configuration_text(made), *lines)))


def _trace(session: Session, recipe: workflow.Recipe) -> list[dict[str, float]]:
    """Return what a training logged, look by look; nothing for methods that do not train."""
    if TRAINED not in PTQ_METHODS[recipe.method].needs:
        return []
    step = workflow.training(session.workspace, session.study, recipe)
    found = step.stored(session.workspace.store)
    if found is None:
        return []
    return [dict(zip(found.logged, row, strict=True)) for row in found.log.tolist()]


def evaluate(call: Call) -> None:
    """Measure the float network, an allocation rounded to nearest, or a model file."""
    args = call.args
    if args.allocation is not None and args.model_file is not None:
        call.refuse("`--allocation` and `--model-file` exclude each other.")
    quantizers = settings(call)
    with opened(call) as session:
        where, study = session.workspace, session.study
        if args.allocation is not None:
            allocation = session.allocation(args.allocation)
            made, cached = session.run(
                workflow.quantize(
                    where,
                    study,
                    workflow.Recipe(allocation, settings=quantizers, file=args.allocation),
                )
            )
            measured = made.measured
        elif args.model_file is not None:
            measured, cached = session.run(evaluate_file(where, study, Path(args.model_file)))
        else:
            found, cached = session.run(workflow.float_outputs(where, study))
            measured = found.measured
    if args.out is not None:
        write(Path(args.out), to_json(measured, indent=1).encode())
    show(args.json, _measured(measured) | {"cached": cached}, _measured_text(measured))


def export(call: Call) -> None:
    """Write an allocation in the format of another tool, after the exporter's checks."""
    args = call.args
    exporter = chosen(call, EXPORTERS, args.format)
    options = read_options(call, exporter=exporter)["exporter"]
    with opened(call) as session:
        study, layers = session.study, session.table
        allocation = session.allocation(args.allocation)
        about = known(session.workspace.store, study, allocation)
        task = ExportTask(
            study=study,
            table=layers,
            allocation=allocation,
            scores=about.scores,
            solution=about.solution,
            configuration=about.configuration,
        )
        exported: Exported = exporter.function(task, options)
    failed = [check for check in exported.checks if not check.passed]
    if failed:
        raise AnalysisError(
            f"An export must pass its own checks, `{exporter.name}` failed "
            f"{', '.join(f'`{c.what}` ({c.detail})' for c in failed)}; nothing was written."
        )
    paths = _paths(Path(args.out), exported)
    for name, content in exported.files.items():
        write(paths[name], content)
    files = [{"path": str(paths[n]), "bytes": len(c)} for n, c in exported.files.items()]
    checks = [{"what": c.what, "passed": c.passed, "detail": c.detail} for c in exported.checks]
    lines = [f"{f['path']}: {f['bytes']:,} bytes" for f in files]
    lines += [f"checked, {c.what}: {c.detail}" for c in exported.checks]
    data = {"format": exporter.name, "files": files, "checks": checks}
    show(args.json, data, "\n".join(lines))


def _paths(place: Path, exported: Exported) -> dict[str, Path]:
    """One file goes to the place itself unless that is a folder, several into the folder."""
    if len(exported.files) == 1 and not place.is_dir():
        return {name: place for name in exported.files}
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AnalysisError(
            f"`--out` must be a folder for {len(exported.files)} files, got `{place}`: "
            f"{error.strerror}."
        ) from error
    return {name: place / name for name in exported.files}


def _measured(measured: Evaluation) -> dict[str, Any]:
    against = measured.versus_float
    return {
        "n": measured.n,
        "labelled": measured.labelled,
        "top1": measured.top1,
        "low": measured.low,
        "high": measured.high,
        "loss": measured.loss,
        "kl": measured.kl,
        "versus_float": None
        if against is None
        else {
            "difference": against.difference,
            "low": against.low,
            "high": against.high,
            "agreement": against.agreement,
            "p_value": against.p_value,
        },
        "seconds": measured.seconds,
    }


def _configuration_text(made: Configuration) -> str:
    rows = [
        (
            r.name,
            r.role,
            r.format,
            f"{r.scale.min():.3g}",
            f"{r.scale.max():.3g}",
            f"{r.clipped:.3%}",
        )
        for r in made.ranges
    ]
    head = ("tensor", "role", "format", "least step", "largest step", "clipped")
    lines = [table(head, rows, "<<<>>>"), "", costs_text(made.costs), *made.notes]
    return "\n".join([*lines, _measured_text(made.measured)])


def _measured_text(measured: Evaluation) -> str:
    lines = [f"measured top-1: {accuracy(measured)}"]
    if measured.labelled:
        lines.append(f"loss: {measured.loss:.4f} nats")
    against = measured.versus_float
    if against is not None:
        if measured.labelled:
            low, high = 100 * against.low, 100 * against.high
            lines.append(
                f"versus float: {100 * against.difference:+.2f} points ({low:+.2f} to {high:+.2f}, "
                f"paired, p = {against.p_value:.2g})"
            )
        lines.append(
            f"same prediction as float: {100 * against.agreement:.2f} %, "
            f"KL {measured.kl:.4g} nats, n = {measured.n}"
        )
    lines.append(f"{measured.seconds:.1f} s")
    return "\n".join(lines)
