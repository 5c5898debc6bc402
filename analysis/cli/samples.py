"""The step ``inspect``: what quantization does to single samples."""

from pathlib import Path

from analysis import workflow
from analysis.cli.method_flags import chosen, read_options
from analysis.cli.output import show, table, to_json, write
from analysis.cli.parser import Call
from analysis.cli.session import opened, read_recalibrations, settings, usage
from analysis.errors import DataError
from analysis.ptq import PTQ_METHODS
from analysis.records import Attributions, Inspection

_SHOWN = 20


def inspect(call: Call) -> None:
    """Predict every sample with both networks, or attribute the classes of some to pixels."""
    args = call.args
    method = chosen(call, PTQ_METHODS, args.method)
    options = read_options(call, method=method)["method"]
    quantizers, recalibrations = settings(call), read_recalibrations(call)
    with usage(call):
        numbers = _numbers(args.numbers)
    with opened(call) as session:
        allocation = session.allocation(args.allocation)
        recipe = workflow.Recipe(
            allocation, method.name, options, quantizers, recalibrations, args.allocation
        )
        if numbers:
            maps, cached = session.run(
                workflow.attributions(
                    session.workspace,
                    session.study,
                    recipe,
                    numbers,
                    args.attribution,
                    steps=args.path_steps,
                    data=args.set,
                )
            )
            data, text = _attribution_data(maps), _attribution_text(maps)
            record: Inspection | Attributions = maps
        else:
            found, cached = session.run(
                workflow.inspect(
                    session.workspace,
                    session.study,
                    recipe,
                    data=args.set,
                )
            )
            data, text, record = _inspection_data(found), _inspection_text(found), found
    if args.out is not None:
        write(Path(args.out), to_json(record, indent=1).encode())
    show(args.json, data | {"cached": cached}, text)


def _numbers(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise DataError(
            f"`--numbers` must be sample numbers such as `3,14`, got `{text}`."
        ) from error


def _inspection_data(found: Inspection) -> dict[str, object]:
    return {
        "data": found.data,
        "n": found.n,
        "float_class": found.float_class,
        "quantized_class": found.quantized_class,
        "float_margin": found.float_margin,
        "quantized_margin": found.quantized_margin,
        "divergence": found.divergence,
        "flipped": (found.float_class != found.quantized_class).nonzero()[0],
        "seconds": found.seconds,
    }


def _inspection_text(found: Inspection) -> str:
    order = found.quantized_margin.argsort()[:_SHOWN]
    rows = [
        (
            f"{n}",
            f"{found.float_class[n]}",
            f"{found.quantized_class[n]}",
            f"{found.float_margin[n]:.3f}",
            f"{found.quantized_margin[n]:.3f}",
            f"{found.divergence[n]:.3g}",
        )
        for n in order
    ]
    head = ("sample", "float", "quantized", "float margin", "quantized margin", "KL (nats)")
    flipped = int((found.float_class != found.quantized_class).sum())
    return (
        f"{table(head, rows, '>>>>>>')}\n{flipped} of {found.n} {found.data} samples change their "
        "class; the smallest margins first."
    )


def _attribution_data(found: Attributions) -> dict[str, object]:
    return {
        "attribution": found.method,
        "steps": found.steps,
        "data": found.data,
        "samples": found.samples,
        "targets": found.targets,
        "drift": found.drift,
        "float_maps": found.float_maps,
        "quantized_maps": found.quantized_maps,
        "seconds": found.seconds,
    }


def _attribution_text(found: Attributions) -> str:
    rows = [
        (f"{n}", f"{target}", f"{drift:.3f}")
        for n, target, drift in zip(found.samples, found.targets, found.drift, strict=True)
    ]
    return (
        f"{table(('sample', 'class', 'drift'), rows, '>>>')}\n{found.method}: drift is 1 - cosine "
        "similarity of the float and the quantized network's maps."
    )
