"""Time of single layers on this machine, with onnxruntime on the CPU."""

from statistics import median
from time import perf_counter_ns

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

from analysis.errors import AnalysisError, DataflowError
from analysis.latency.operators import Operator, example, model_of
from analysis.latency.settings import INT8, MEASURED, TimingOptions, machine
from analysis.models.latency import shape_text
from analysis.models.network import Network
from analysis.records import Candidate, LatencyRow, LatencyTable, Layer

_ERRORS = tuple(
    value
    for value in vars(onnxruntime_pybind11_state).values()
    if isinstance(value, type) and issubclass(value, Exception)
)
_SECONDS = 1.0  # after which fewer repeats than asked for must do
_FEWEST = 5


def operator_of(network: Network, layer: Layer) -> Operator:
    """Return the first call of a layer as an operator on one sample."""
    call = network.trace.calls[layer.calls[0]]
    axis = network.axes.get(call.inputs[0]) if call.inputs[0] is not None else None
    whole = call.input_shapes[0]
    inputs = whole[1:] if axis is None else axis.without(whole)
    return Operator(layer.kind, inputs, layer.weight_shape, layer.output_shape)


def time_operator(
    operator: Operator, candidate: Candidate, options: TimingOptions
) -> tuple[int, int]:
    """Return the median time of an operator and its interquartile range, whole nanoseconds.

    Args:
        operator: One call on one sample.
        candidate: ``w8a8`` or ``float``.
        options: Repeats and threads. After a second five repeats are enough.

    Raises:
        DataflowError: If onnxruntime cannot run the operator in this form.
        AnalysisError: If the candidate is another one.
    """
    if candidate not in MEASURED:
        raise AnalysisError(
            f"Only {' and '.join(c.text for c in MEASURED)} can be measured with onnxruntime on a "
            f"CPU, got {candidate.text}. Take its time from a table of your own."
        )
    int8 = candidate == INT8
    model = model_of(operator, int8=int8)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = options.parallel, 1
    settings.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )
        feed = {"x": example(operator, int8=int8)}
        for _ in range(options.warm_up):
            session.run(None, feed)
    except (
        RuntimeError,
        ValueError,
        onnxruntime.capi.onnxruntime_pybind11_state.OrtException,
    ) as error:
        raise DataflowError(
            f"onnxruntime must be able to run {operator.kind} in {candidate.text}: {error}"
        ) from error
    times: list[int] = []
    begin = perf_counter_ns()
    while len(times) < options.repeats:
        start = perf_counter_ns()
        session.run(None, feed)
        times.append(perf_counter_ns() - start)
        if len(times) >= _FEWEST and perf_counter_ns() - begin > _SECONDS * 1e9:
            break
    low, high = np.percentile(times, [25, 75])
    return round(median(times)), round(high - low)


def measured_rows(network: Network, layer: Layer, options: TimingOptions) -> list[LatencyRow]:
    """Return the rows of one layer: all its calls, w8a8 and float as far as they can be run."""
    operator = operator_of(network, layer)
    rows = []
    for candidate in MEASURED:
        try:
            ns, spread = time_operator(operator, candidate, options)
        except DataflowError:
            continue
        rows.append(
            LatencyRow(
                layer=layer.name,
                shape=shape_text(layer),
                candidate=candidate,
                ns=ns * len(layer.calls),
                spread_ns=spread * len(layer.calls),
            )
        )
    return rows


def measured_table(
    network: Network, rows: list[LatencyRow], options: TimingOptions
) -> LatencyTable:
    """Put measured rows together and say what they are and what is missing."""
    found = {(row.layer, row.candidate) for row in rows}
    threads = f"{options.parallel} thread{'s' if options.parallel > 1 else ''}"
    notes = [
        "Every layer was timed alone, batch 1, its input in the cache, one call of onnxruntime "
        "each: their sum is not the time of the network, and what lies between the layers is not "
        "in it.",
        "Only w8a8 and float were timed, on this machine: onnxruntime has no kernels for other "
        "bits.",
    ]
    for candidate in MEASURED:
        lost = [n for n in network.table.names if (n, candidate) not in found]
        if lost:
            shown = ", ".join(f"`{name}`" for name in lost[:5])
            notes.append(
                f"{candidate.text} could not be run for {shown}"
                f"{f' and {len(lost) - 5} more layers' if len(lost) > 5 else ''}."
            )
    return LatencyTable(
        rows=tuple(rows), source=f"measured on {machine()}, {threads}", notes=tuple(notes)
    )
