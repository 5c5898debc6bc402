"""The steps ``study`` and ``layers``: what is looked at."""

from pathlib import Path

from analysis import workflow
from analysis.cli.output import number, show, table, to_json, write
from analysis.cli.parser import Call
from analysis.cli.session import opened
from analysis.models.cost import costs
from analysis.quant.formats import FLOAT_BITS
from analysis.records import DataRef
from analysis.study import study_toml


def study(call: Call) -> None:
    """Load model and data, check that they fit, write a study file if asked to."""
    path = None if call.args.out is None else Path(call.args.out)
    with opened(call) as session:
        loaded = session.study
    if path is not None:
        write(path, study_toml(loaded.spec).encode())
    model = loaded.model
    data = {
        "model": model.source,
        "weights_digest": model.digest,
        "params": model.num_params,
        "input_shape": model.input_shape,
        "classes": model.num_classes,
        "calibration": _data(loaded.calibration),
        "evaluation": _data(loaded.evaluation),
        "normalize": {"mean": loaded.mean, "std": loaded.std},
        "notes": loaded.notes,
        "path": None if path is None else str(path.absolute()),
    }
    rows = [
        ("model", f"{model.source}, {model.num_params:,} parameters, {model.num_classes} classes"),
        ("weights", f"sha256 {model.digest[:16]}"),
        ("input", " x ".join(map(str, model.input_shape))),
        ("calibration", _data_text(loaded.calibration)),
        ("evaluation", _data_text(loaded.evaluation)),
    ]
    if path is not None:
        rows.append(("study file", str(path)))
    show(call.args.json, data, "\n".join(f"{name:<12} {text}" for name, text in rows))


def layers(call: Call) -> None:
    """List the layers with their costs."""
    with opened(call) as session:
        found, _ = session.run(workflow.layers(session.workspace, session.study))
    if call.args.out is not None:
        write(Path(call.args.out), to_json(found, indent=1).encode())
    total = costs(found, [FLOAT_BITS] * len(found.layers), [FLOAT_BITS] * len(found.layers))
    eight = costs(found, [8] * len(found.layers), [8] * len(found.layers))
    macs = sum(layer.macs for layer in found.layers)
    entries = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "weight_shape": layer.weight_shape,
            "params": layer.num_params,
            "macs": layer.macs,
            "activation_group": layer.activation_group,
            "pinned": layer.pinned,
            "reads": layer.reads,
            "block": layer.block,
            "skipped_reason": None,
        }
        for layer in found.layers
    ] + [
        {
            "name": skipped.name,
            "kind": skipped.kind,
            "weight_shape": None,
            "params": skipped.num_params,
            "macs": None,
            "activation_group": None,
            "pinned": False,
            "skipped_reason": skipped.reason,
        }
        for skipped in found.skipped
    ]
    totals = {
        "layers": len(found.layers),
        "params": found.params_after_folding,
        "params_before_folding": found.params_before_folding,
        "macs": macs,
        "size_mib": total.size_mib,
        "bops": total.bops,
        "size_mib_w8a8": eight.size_mib,
        "bops_w8a8": eight.bops,
    }
    rows = [
        (
            layer.name,
            layer.kind,
            "x".join(map(str, layer.weight_shape)),
            f"{layer.num_params:,}",
            number(layer.macs),
            str(layer.activation_group),
            "w8a8" if layer.pinned else "",
        )
        for layer in found.layers
    ]
    head = ("layer", "kind", "weight", "parameters", "MACs", "group", "pinned")
    lines = [table(head, rows, "<<<>>><"), ""]
    lines += [f"skipped {s.name} ({s.kind}): {s.reason}" for s in found.skipped]
    lines.append(
        f"{len(found.layers)} layers, {found.params_after_folding:,} parameters "
        f"({found.params_before_folding:,} before folding), {number(macs)} MACs; "
        f"float: {total.size_mib:.3f} MiB, {number(total.bops)} BOPs; "
        f"w8a8: {eight.size_mib:.3f} MiB, {number(eight.bops)} BOPs"
    )
    show(call.args.json, {"layers": entries, "totals": totals}, "\n".join(lines))


def _data(data: DataRef) -> dict[str, object]:
    return {
        "source": data.source,
        "n": data.n,
        "digest": data.digest,
        "labelled": data.labelled,
        "notes": data.notes,
    }


def _data_text(data: DataRef) -> str:
    labels = "labelled" if data.labelled else "without labels"
    return f"{data.source}, n = {data.n}, {labels}, sha256 {data.digest[:16]}"
