"""Which tensor is a layer's post-activation: what the activation function behind it makes of it."""

from collections.abc import Collection

from analysis.models.calls import Slot
from analysis.models.dataflow import Call, Trace
from analysis.records import Layer

# Elementwise functions of one tensor that stand between layers, under torch's names; underscores
# around them, as of the functions that work in place, make no difference.
# fmt: off
ACTIVATION_FUNCTIONS = frozenset([
    "relu", "relu6", "hardtanh", "leaky_relu", "prelu", "rrelu", "threshold",
    "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardswish",
    "sigmoid", "hardsigmoid", "logsigmoid", "tanh", "softsign", "tanhshrink",
    "softshrink", "hardshrink", "clamp", "clip", "clamp_min", "clamp_max",
])
# fmt: on
_ADDITIONS = frozenset(["add", "sub", "__add__", "__radd__", "__iadd__", "__sub__", "__isub__"])
_PRODUCTS = frozenset(["mul", "multiply", "__mul__", "__rmul__", "__imul__"])


def is_activation(call: Call) -> bool:
    """Tell whether a call is an elementwise activation function."""
    return call.name.strip("_") in ACTIVATION_FUNCTIONS


def activation_after(trace: Trace, layer: Layer, skip: Collection[int]) -> tuple[Slot | None, str]:
    """Return the tensor that is a layer's post-activation, else None with the reason in words.

    Of a layer that is called several times, that of its first call.

    Args:
        trace: The network's calls.
        layer: A layer of it.
        skip: Calls that are passed over, as folded BatchNorms are.
    """
    return activation_of(trace, (layer.calls[0], 0), skip)


def activation_of(trace: Trace, slot: Slot, skip: Collection[int]) -> tuple[Slot | None, str]:
    """Return what the activation function that alone reads a tensor makes of it.

    It may read the tensor through views and calls in ``skip``. A product of the tensor with its own
    sigmoid, as SiLU is often written, is one too.
    """
    slot = preserved(trace, slot, skip)
    if slot == trace.output:
        return None, "its output is the network's"
    readers = [trace.calls[index] for index in trace.readers.get(slot, ())]
    if not readers:
        return None, "nothing reads its output"
    if len(readers) == 1:
        call = readers[0]
        if is_activation(call) and call.inputs[0] == slot:
            return (call.index, 0), ""
        if call.name.removesuffix("_") in _ADDITIONS:
            return None, "its output is added to another tensor first"
        return None, f"no activation function follows, `{call.name}` reads its output"
    gate = [call for call in readers if call.name.removesuffix("_") == "sigmoid"]
    product = [call for call in readers if call.name.removesuffix("_") in _PRODUCTS]
    if len(readers) == 2 and gate and product and (gate[0].index, 0) in product[0].inputs:
        return (product[0].index, 0), ""
    names = list(dict.fromkeys(f"`{call.name}`" for call in readers))
    return None, f"several calls read its output ({', '.join(names)})"


def preserved(trace: Trace, slot: Slot, skip: Collection[int]) -> Slot:
    """Follow a tensor to where all its values are read, through views and calls in ``skip``."""
    while (call := _only_reader(trace, slot)) is not None:
        if call.index not in skip and not (call.preserves_values and len(call.shapes) == 1):
            break
        slot = (call.index, 0)
    return slot


def folded_output(trace: Trace, call: int, skip: Collection[int]) -> Slot:
    """Return the tensor that the readers of a layer's call see, behind its folded BatchNorm."""
    slot = (call, 0)
    while (reader := _only_reader(trace, slot)) is not None and reader.index in skip:
        slot = (reader.index, 0)
    return slot


def _only_reader(trace: Trace, slot: Slot) -> Call | None:
    """Return the call that alone reads a tensor, as its first argument."""
    readers = trace.readers.get(slot, ())
    if slot == trace.output or len(readers) != 1:
        return None
    call = trace.calls[readers[0]]
    return call if call.inputs[0] == slot else None
