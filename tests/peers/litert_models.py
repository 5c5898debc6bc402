"""One operator as a LiteRT model, built by its schema, and what arithmetic says it computes."""

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from torch.nn import functional as F

from tests.reference.qdq import limits, packed

# Operator: weight, input and output shape, channels last; axis of the output channels; version.
SHAPES = {
    "FULLY_CONNECTED": ((4, 16), (2, 16), (2, 4), 0, 12),
    "CONV_2D": ((4, 3, 3, 8), (1, 6, 6, 8), (1, 4, 4, 4), 0, 8),
    "DEPTHWISE_CONV_2D": ((1, 3, 3, 8), (1, 6, 6, 8), (1, 4, 4, 8), 3, 7),
}


@dataclass(frozen=True)
class Case:
    """A model, its input, and output codes: ``y = scale * codes``; floats have scale 1."""

    content: bytes
    x: NDArray[np.generic]
    y: NDArray[np.float64]
    scale: float


def case(operator: str, weight: str, activation: str, *, zero_point: int | None = None) -> Case:
    """Build an operator with weights and activations of integers such as ``int4``, or ``float``.

    Activations of 16 bits have zero point 0 unless told otherwise.
    """
    shape, reads, makes, axis, version = SHAPES[operator]
    random = np.random.default_rng(0)
    bits = int(weight.removeprefix("int"))
    low, high = limits(bits, signed=True)
    codes = random.integers(low, high + 1, shape)
    scales = (random.uniform(0.5, 1.5, shape[axis]) / high).astype(np.float32)
    spread = [1] * len(shape)
    spread[axis] = -1
    weights = codes * scales.astype(np.float64).reshape(spread)
    x = random.uniform(0, 1, reads).astype(np.float32)
    graph = _Graph()
    if activation == "float":
        step, read = np.float32(1), x
        y = _computed(operator, x, weights)
        ends: list[tuple[Any, ...]] = [("float32", None), ("float32", None)]
    else:
        least, most = limits(int(activation.removeprefix("int")), signed=True)
        zero = (0 if activation == "int16" else least) if zero_point is None else zero_point
        step = np.float32(1 / (most - zero))
        whole = np.clip(np.round(x / step) + zero, least, most)
        read = whole.astype(activation)
        y = _computed(operator, (whole - zero) * np.float64(step), weights)
        made = np.abs(y).max() / most
        ends = [(activation, ([step], [zero])), (activation, ([made], [0]))]
    bias = {"float": "float32", "int16": "int64"}.get(activation, "int32")
    quantized = None if activation == "float" else (step * scales, [0] * len(scales))
    places = [
        graph.tensor("x", reads, *ends[0]),
        graph.tensor("w", shape, weight, (scales, [0] * len(scales)), packed(codes, bits), axis),
        graph.tensor("b", scales.shape, bias, quantized, np.zeros(len(scales), bias).tobytes()),
    ]
    graph.operator(operator, version, places, graph.tensor("y", makes, *ends[1]))
    return Case(graph.content(), read, y, 1.0 if activation == "float" else float(made))


class _Graph:
    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.buffers = 3, [schema.BufferT()]
        self.model.subgraphs, self.model.operatorCodes = [self.graph], []
        self.graph.tensors, self.graph.operators = [], []

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: str,
        scales: tuple[Any, Any] | None,
        data: bytes | None = None,
        axis: int = 0,
    ) -> int:
        buffer, made = schema.BufferT(), schema.TensorT()
        if data is not None:
            buffer.data = np.frombuffer(data, np.uint8)
        self.model.buffers.append(buffer)
        made.name, made.shape, made.hasRank = name.encode(), list(shape), True
        made.type = getattr(schema.TensorType, kind.upper())
        made.buffer = len(self.model.buffers) - 1
        if scales is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.asarray(scales[0], np.float32)
            made.quantization.zeroPoint = np.asarray(scales[1], np.int64)
            made.quantization.quantizedDimension = axis
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def operator(self, name: str, version: int, reads: list[int], makes: int) -> None:
        code, node = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = version
        self.model.operatorCodes.append(code)
        if name == "FULLY_CONNECTED":
            options, kind = schema.FullyConnectedOptionsT(), "FullyConnectedOptions"
        else:
            options, kind = schema.Conv2DOptionsT(), "Conv2DOptions"
            if name == "DEPTHWISE_CONV_2D":
                options, kind = schema.DepthwiseConv2DOptionsT(), "DepthwiseConv2DOptions"
                options.depthMultiplier = 1
            options.padding = schema.Padding.VALID
            options.strideW = options.strideH = 1
            options.dilationWFactor = options.dilationHFactor = 1
        node.builtinOptions, node.builtinOptionsType = options, getattr(schema.BuiltinOptions, kind)
        node.inputs, node.outputs, node.opcodeIndex = reads, [makes], 0
        self.graph.operators.append(node)
        self.graph.inputs, self.graph.outputs = reads[:1], [makes]

    def content(self) -> bytes:
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _computed(operator: str, x: NDArray[Any], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    left, right = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(weight)
    if operator == "FULLY_CONNECTED":
        return (left @ right.T).numpy()
    order = (0, 3, 1, 2) if operator == "CONV_2D" else (3, 0, 1, 2)
    groups = 1 if operator == "CONV_2D" else right.shape[3]
    y = F.conv2d(left.permute(0, 3, 1, 2), right.permute(order), groups=groups)
    return y.permute(0, 2, 3, 1).numpy()
