"""The time of every layer on this machine."""

import numpy as np

from analysis.commands import command_line
from analysis.events import Note, Progress, Work
from analysis.latency.settings import MEASURED, TimingOptions, machine
from analysis.models.latency import shape_text
from analysis.options import as_dict
from analysis.records import LatencyRow, LatencyTable, Layer, Study
from analysis.steps import Step, StoredParts
from analysis.workflow.opening import model_inputs
from analysis.workspace import Workspace
from cache.keys import digest

DEFAULTS = TimingOptions()


def latency(
    workspace: Workspace, study: Study, options: TimingOptions = DEFAULTS
) -> Step[LatencyTable]:
    """Time every layer of the study's model alone, in w8a8 and in float, with onnxruntime.

    Layers that were timed are kept, so an interrupted run goes on where it stopped. Unlike other
    results this one belongs to a machine, so the machine is part of its key.

    Args:
        workspace: Where to work.
        study: The study.
        options: Repeats and threads.
    """
    flags = {
        name.replace("_", "-"): value
        for name, value in as_dict(options).items()
        if value != as_dict(DEFAULTS)[name]
    }

    def work(parts: StoredParts) -> Work[LatencyTable]:
        # onnxruntime takes a while to import, which no other step should pay for.
        from analysis.latency.timing import measured_rows, measured_table

        network = workspace.live(study).network
        layers, rows = network.table.layers, list[LatencyRow]()
        for done, layer in enumerate(layers):
            yield Progress(done, len(layers), layer.name)
            part = parts.load(layer.name)
            if part is None:
                own = measured_rows(network, layer, options)
                parts.save(layer.name, {"times": _times(own)})
            else:
                own = _rows(layer, part["times"])
            rows += own
        yield Progress(len(layers), len(layers), "timed")
        found = measured_table(network, rows, options)
        for note in found.notes:
            yield Note(note)
        return found

    return Step(
        name="latency",
        version=1,
        title="Time of every layer",
        command=command_line("latency", study.spec, flags),
        record=LatencyTable,
        inputs=model_inputs(study) | {"machine": digest(machine())},
        options=as_dict(options) | {"shape": list(study.model.input_shape)},
        work=work,
    )


def _times(rows: list[LatencyRow]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return time and spread of each measurable candidate, (C, 2), NaN where there is none."""
    found = {row.candidate: (row.ns, row.spread_ns) for row in rows}
    return np.array([found.get(c, (np.nan, np.nan)) for c in MEASURED], dtype=np.float64)


def _rows(
    layer: Layer, times: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> list[LatencyRow]:
    return [
        LatencyRow(
            layer=layer.name,
            shape=shape_text(layer),
            candidate=candidate,
            ns=round(ns),
            spread_ns=round(spread),
        )
        for candidate, (ns, spread) in zip(MEASURED, times, strict=True)
        if np.isfinite(ns)
    ]
