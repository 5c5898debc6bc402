"""Arithmetic outside the layers: element-wise calls and products of two activations."""

from collections.abc import Collection, Mapping
from math import prod

from analysis.models.calls import Slot
from analysis.models.dataflow import Call, Trace
from analysis.models.folding import WEIGHTED_CALLS
from analysis.models.samples import SampleAxis
from analysis.models.schedule import Schedule, elements
from analysis.records import Arithmetic

_MATRIX_PRODUCTS = frozenset(["matmul", "__matmul__", "__rmatmul__", "mm", "bmm"])
_ATTENTION = "scaled_dot_product_attention"
_UNKNOWN = frozenset(["einsum", "tensordot", "bilinear", "baddbmm", "addmm", "addbmm"])


def arithmetic(
    trace: Trace,
    plan: Schedule,
    axes: Mapping[Slot, SampleAxis],
    layer_calls: Collection[int],
) -> Arithmetic:
    """Count what calls that belong to no layer read and multiply, per sample.

    Every activation value that such a call reads (an addition, an activation function, a pooling,
    a normalisation) counts once, in the bits that it has; an activation function that is computed
    where its argument is made reads the layer's 32-bit sums. Calls that only move values and folded
    BatchNorms do nothing. Matrix products of two activations count as multiply-accumulates.

    Args:
        trace: The network's calls.
        plan: Its tensors.
        axes: Where the samples lie.
        layer_calls: Calls of the layers, which are counted there.
    """
    counts: dict[int, int] = {}
    unquantized, products = 0, 0
    uncounted: dict[str, None] = {}
    for index in plan.executed:
        call = trace.calls[index]
        if index in layer_calls:
            continue
        if call.name in _UNKNOWN:
            uncounted[trace.describe((index, 0))] = None
        elif (work := _products(call)) is not None:
            products += work // trace.batch
        else:
            for slot in call.inputs:
                if slot is None or slot not in plan.buffers:
                    continue
                group = None if index in plan.fused else plan.buffers[slot].group
                read = elements(trace, axes, slot)
                if group is None:
                    unquantized += read
                else:
                    counts[group] = counts.get(group, 0) + read
    groups = tuple(sorted(counts))
    return Arithmetic(
        groups=groups,
        elements=tuple(counts[group] for group in groups),
        unquantized=unquantized,
        products=products,
        uncounted=tuple(uncounted),
    )


def _products(call: Call) -> int | None:
    """Return the multiply-accumulates of a product of two tensors, None of another call."""
    shapes = call.input_shapes
    if call.name in _MATRIX_PRODUCTS and len(shapes) == 2:
        return prod(call.shapes[0]) * shapes[0][-1]
    if call.name == _ATTENTION:
        keys = shapes[1][-2]
        return prod(shapes[0]) * keys + prod(call.shapes[0]) * keys
    if call.name in WEIGHTED_CALLS and len(shapes) > 1:
        # A weight that is computed, as in weight standardisation, belongs to no layer.
        made = shapes[0] if call.name.startswith("conv_transpose") else call.shapes[0]
        return prod(made) * prod(shapes[1][1:])
    return None
