"""Which formats a backend can keep: one rule each, of what was run and compared with arithmetic.

A backend that was not run has no rule. The versions that were are the rule's reference.
"""

from collections.abc import Callable
from dataclasses import dataclass

from analysis.quant.formats import FLOAT_BITS, get_format
from analysis.records import FLOAT, Candidate, Layer, Stored
from analysis.records.storage import COARSER, UNQUANTIZED, WIDER
from analysis.registry import Registry


@dataclass(frozen=True, slots=True)
class Kept:
    """A layer's weight and the activation that it reads, as a backend keeps them.

    Every row of the weight, one per output, fills whole units of ``row`` bits; 0 where only the
    weight as a whole fills bytes.
    """

    weight: Stored
    activation: Stored
    row: int = 0


BackendRule = Callable[[Layer, Candidate], Kept]
BACKENDS: Registry[BackendRule] = Registry("backend")


@BACKENDS.register(
    "onnx",
    title="ONNX QDQ (opset 21)",
    answers="What does an ONNX file hold that onnxruntime loads?",
    reference="run with onnx 1.23.2 and onnxruntime 1.31.1 on a CPU",
)
def onnx(layer: Layer, candidate: Candidate) -> Kept:
    """Keep int4, int8, int16 weights and uint4, uint8, uint16 activations."""
    del layer
    return _qdq(candidate, (4, 8, 16), "opset 21 has")


@BACKENDS.register(
    "onnx_25",
    title="ONNX QDQ (opset 25)",
    answers="What does an ONNX file hold whose codes may have 2 bits?",
    reference="run with onnx 1.23.2 and onnxruntime 1.31.1 on a CPU",
)
def onnx_25(layer: Layer, candidate: Candidate) -> Kept:
    """Keep what opset 21 keeps, and int2 weights and uint2 activations."""
    del layer
    return _qdq(candidate, (2, 4, 8, 16), "opset 25 has")


@BACKENDS.register(
    "openvino",
    title="OpenVINO",
    answers="What does OpenVINO keep of an ONNX QDQ file?",
    reference="run with openvino 2026.4.1 on a CPU",
)
def openvino(layer: Layer, candidate: Candidate) -> Kept:
    """Keep what it reads from ONNX; files with int2 or uint2 it refuses."""
    del layer
    return _qdq(candidate, (4, 8, 16), "it reads")


@BACKENDS.register(
    "litert",
    title="LiteRT (TFLite)",
    answers="What do the kernels of LiteRT compute with?",
    reference="run with ai-edge-litert 2.3.0 on a CPU",
)
def litert(layer: Layer, candidate: Candidate) -> Kept:
    """Keep int4 and int8 weights, int2 ones of linear layers, and int8 and int16 activations."""
    weight, activation = candidate.weight, candidate.activation
    if layer.kind not in ("linear", "conv2d"):
        why = f"only linear layers and convolutions of images were run, no {layer.kind}"
        return Kept(_unquantized(weight, why), _unquantized(activation, why))
    widths: tuple[int, ...]
    if layer.kind == "linear":
        widths = (2, 4, 8, 16) if activation == "int16" else (2, 4, 8)
        why = "linear layers read weights of 2, 4 and 8 bits, of 16 beside activations of 16"
    elif layer.weight_shape[1] == 1 and activation in ("int16", FLOAT):
        widths = (8,)
        why = "where a filter reads one channel, int4 weights compute only beside int8 activations"
    else:
        widths, why = (4, 8), "convolutions read weights of 4 and 8 bits"
    kept = _integer(weight, "int", widths, why)
    return Kept(kept, _litert_activation(activation, beside_integers=kept.bits < FLOAT_BITS))


@BACKENDS.register(
    "compressed_tensors",
    title="compressed-tensors",
    answers="What does a checkpoint in the format pack-quantized hold?",
    reference="run with compressed-tensors 0.20.0, the format named in every group",
)
def compressed_tensors(layer: Layer, candidate: Candidate) -> Kept:
    """Keep linear layers as asked, wider weights than 8 bits in int16, and nothing else."""
    if layer.kind != "linear":
        why = "only linear layers are compressed"
        return Kept(_unquantized(candidate.weight, why), _unquantized(candidate.activation, why))
    weight = _integer(candidate.weight, "int", (*range(2, 9), 16), "")
    activation = _integer(candidate.activation, "int", (*range(2, 9), 16), "")
    return Kept(weight, activation, row=32 if weight.bits <= 8 else 0)


@BACKENDS.register(
    "torchao",
    title="torchao IntxWeightOnlyConfig",
    answers="What does this configuration make of the weights?",
    reference="run with torchao 0.18.0",
)
def torchao(layer: Layer, candidate: Candidate) -> Kept:
    """Keep the weights of linear layers in int8, whatever their width, and no activation."""
    activation = _unquantized(candidate.activation, "only weights are quantized")
    if layer.kind != "linear":
        why = "only linear layers get one scale per output channel"
        return Kept(_unquantized(candidate.weight, why), activation)
    return Kept(_integer(candidate.weight, "int", (8,), "all codes lie in int8"), activation)


def _qdq(candidate: Candidate, widths: tuple[int, ...], has: str) -> Kept:
    *most, last = map(str, widths)
    why = f"{has} integers of {', '.join(most)} and {last} bits"
    clip = f"{why}; a Clip before QuantizeLinear must hold the range that was asked for"
    weight = _integer(candidate.weight, "int", widths, why)
    return Kept(weight, _integer(candidate.activation, "uint", widths, clip))


def _litert_activation(asked: str, *, beside_integers: bool) -> Stored:
    if asked == FLOAT and beside_integers:
        why = "beside integer weights, float activations are rounded to int8 as they come"
        return Stored(asked=asked, stored="int8", bits=8, how=COARSER, reason=why)
    if asked == "int16":
        why = "its zero point must be 0, so that a range of one sign has half the steps"
        return Stored(asked=asked, stored="int16", bits=16, how=COARSER, reason=why)
    why = "activations are int8 or int16, whose codes reach beyond the range of fewer bits"
    return _integer(asked, "int", (8,), why)


def _integer(asked: str, prefix: str, widths: tuple[int, ...], why: str) -> Stored:
    """Keep a format in the narrowest integer that holds it, in float if none does."""
    if asked == FLOAT:
        return _unquantized(asked, "")
    bits = get_format(asked).bits
    fitting = [width for width in widths if width >= bits]
    if not fitting:
        return _unquantized(asked, why)
    least = min(fitting)
    if least == bits:
        return Stored(asked=asked, stored=f"{prefix}{bits}", bits=bits)
    return Stored(asked=asked, stored=f"{prefix}{least}", bits=least, how=WIDER, reason=why)


def _unquantized(asked: str, why: str) -> Stored:
    if asked == FLOAT:
        return Stored(asked=asked, stored="float32", bits=FLOAT_BITS)
    return Stored(asked=asked, stored="float32", bits=FLOAT_BITS, how=UNQUANTIZED, reason=why)
