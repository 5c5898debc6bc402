"""One QDQ operator as an ONNX model, and what arithmetic says that it computes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

IR_VERSIONS = {13: 7, 19: 9, 21: 10, 25: 13}
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A model, its input and the output that it must have."""

    model: ModelProto
    x: NDArray[np.float32]
    y: Array


def packed(codes: NDArray[np.int64], bits: int) -> bytes:
    """Write codes of 2, 4, 8 or 16 bits one after the other, the first in the lowest bits."""
    stream = "".join(f"{code & ((1 << bits) - 1):0{bits}b}"[::-1] for code in codes.ravel())
    stream += "0" * (-len(stream) % 8)
    return bytes(int(stream[i : i + 8][::-1], 2) for i in range(0, len(stream), 8))


def integers(name: str, codes: NDArray[np.int64], kind: str) -> TensorProto:
    """Return an initializer of ``kind``, ``int4`` for one."""
    tensor = TensorProto(name=name, dims=codes.shape)
    tensor.data_type = getattr(TensorProto, kind.upper())
    tensor.raw_data = packed(codes, int(kind.lstrip("uint")))
    return tensor


def limits(bits: int, signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def weight_case(kind: str, bits: int, opset: int, *, operator: str) -> Case:
    """Dequantize weights whose codes have ``bits`` bits and lie in integers of ``kind``."""
    random = np.random.default_rng(bits)
    shape, reads = ((5, 3, 3, 3), (1, 3, 6, 6)) if operator == "Conv" else ((5, 13), (2, 13))
    low, high = limits(bits, signed=True)
    codes = random.integers(low, high + 1, shape)
    codes.ravel()[:2] = low, high
    scales = random.uniform(0.5, 1.5, 5).astype(np.float32) / high
    x = random.uniform(-1, 1, reads).astype(np.float32)
    weight = codes * scales.astype(np.float64).reshape(5, *[1] * (len(shape) - 1))
    constants = [
        integers("codes", codes, kind),
        numpy_helper.from_array(scales, "scales"),
        integers("zeros", np.zeros(5, np.int64), kind),
    ]
    more: dict[str, Any] = {} if operator == "Conv" else {"transB": 1}
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scales", "zeros"], ["w"], axis=0),
        helper.make_node(operator, ["x", "w"], ["y"], **more),
    ]
    y = _convolved(x, weight) if operator == "Conv" else x.astype(np.float64) @ weight.T
    return Case(_model(nodes, constants, x.shape, y.shape, opset), x, y)


def activation_case(kind: str, bits: int, opset: int, *, clip: bool) -> Case:
    """Quantize to ``bits`` bits in integers of ``kind``, with or without a Clip before."""
    high = 2**bits - 1
    scale, zero = np.float32(2 / high), round(high / 3)
    # Drawn, so that none lies in the middle of two steps, where float32 decides.
    x = np.random.default_rng(bits).uniform(-3, 3, 241).astype(np.float32)
    codes = np.clip(np.round(x / scale) + zero, 0, high)
    constants = [
        numpy_helper.from_array(np.array(scale), "scale"),
        integers("zero", np.array(zero), kind),
    ]
    nodes, read = [], "x"
    if clip:
        ends = [np.array(np.float32(end - zero) * scale) for end in (0, high)]
        constants += [numpy_helper.from_array(end, n) for end, n in zip(ends, "lh", strict=True)]
        nodes.append(helper.make_node("Clip", ["x", "l", "h"], ["clipped"]))
        read = "clipped"
    nodes += [
        helper.make_node("QuantizeLinear", [read, "scale", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y"]),
    ]
    y = (codes - zero) * np.float64(scale)
    return Case(_model(nodes, constants, x.shape, y.shape, opset), x, y)


def _model(
    nodes: list[Any],
    constants: list[TensorProto],
    reads: tuple[int, ...],
    makes: tuple[int, ...],
    opset: int,
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, reads)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, makes)],
        constants,
    )
    ids = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=ids, ir_version=IR_VERSIONS[opset])


def _convolved(x: NDArray[np.float32], weight: Array) -> Array:
    """Convolve without padding, in double precision and plain loops."""
    n, _, h, w = x.shape
    out, _, kh, kw = weight.shape
    y = np.zeros((n, out, h - kh + 1, w - kw + 1))
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            patch = x[:, :, i : i + kh, j : j + kw].astype(np.float64)
            y[:, :, i, j] = np.einsum("nchw,ochw->no", patch, weight)
    return y
