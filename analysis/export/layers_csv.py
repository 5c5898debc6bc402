"""The layer table with bits, costs and scores, one row per layer."""

import csv
import io

from analysis.export.task import EXPORTERS, Check, Exported, ExportTask
from analysis.options import Options
from analysis.quant.formats import bits_of

_COLUMNS = (
    "layer", "kind", "weight_shape", "weights", "biases", "macs", "activation_group", "pinned",
    "weight", "activation", "weight_bits", "activation_bits", "size_bytes", "bops",
    "score", "score_unit",
)  # fmt: skip


@EXPORTERS.register(
    "layers_csv",
    title="Layer table (CSV)",
    answers="What does every layer cost and how sensitive is it, for a spreadsheet?",
)
def layers_csv(task: ExportTask, options: Options) -> Exported:
    """Write one row per layer; ``size_bytes`` counts weights at their bits and biases at 32.

    ``score`` is that of the chosen candidate where it was scored, else empty.
    """
    del options
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for layer, candidate in zip(task.table.layers, task.allocation.candidates, strict=True):
        weight_bits, activation_bits = bits_of(candidate.weight), bits_of(candidate.activation)
        score = ""
        if task.scores and candidate in task.scores.candidates:
            row = task.scores.layers.index(layer.name)
            value = task.scores.values[row, task.scores.candidates.index(candidate)]
            score = repr(float(value))
        writer.writerow(
            [
                layer.name,
                layer.kind,
                "x".join(map(str, layer.weight_shape)),
                layer.num_weights,
                layer.num_biases,
                layer.macs,
                layer.activation_group,
                "yes" if layer.pinned else "no",
                candidate.weight,
                candidate.activation,
                weight_bits,
                activation_bits,
                (layer.num_weights * weight_bits + 32 * layer.num_biases) / 8,
                layer.macs * weight_bits * activation_bits,
                score,
                task.scores.unit if score and task.scores else "",
            ]
        )
    text = out.getvalue()
    rows = list(csv.DictReader(io.StringIO(text)))
    same = [row["layer"] for row in rows] == list(task.table.names)
    return Exported({"layers.csv": text.encode()}, (Check("read back", same, f"{len(rows)} rows"),))
