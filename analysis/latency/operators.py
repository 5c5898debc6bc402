"""One layer as an ONNX model of one operator, in float and in int8."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from analysis.errors import DataflowError

OPSET = 17
IR_VERSION = 8
_SEED = 0


@dataclass(frozen=True, slots=True)
class Operator:
    """A call of a layer on one sample: kind and shapes, without the batch axis.

    ``inputs`` is the shape of what it reads, ``weight`` of its weight, ``outputs`` of its result.
    """

    kind: str
    inputs: tuple[int, ...]
    weight: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Vectors that a linear layer is applied to."""
        return max(1, prod(self.outputs[:-1]))


def model_of(operator: Operator, *, int8: bool) -> ModelProto:
    """Return a model of one operator with random weights and no bias, batch 1.

    Float: ``Conv``, ``ConvTranspose`` or ``MatMul``. Int8: ``QLinearConv`` or ``QLinearMatMul``,
    uint8 in, int8 weights with one scale per output channel of a convolution and one in all of a
    linear layer, uint8 out.

    Stride and padding follow from the shapes: the stride is the whole number of times that the
    output goes into the input, the padding what is missing. A dilated kernel is taken as a plain
    one of the same number of weights: multiply-accumulates and tensors are those of the layer.

    Raises:
        DataflowError: If the operator has no such form, or the shapes do not fit one.
    """
    random = np.random.default_rng(_SEED)
    linear = operator.kind == "linear"
    if linear:
        shape: tuple[int, ...] = (operator.weight[1], operator.weight[0])
        reads: tuple[int, ...] = (operator.rows, shape[0])
        makes: tuple[int, ...] = (operator.rows, shape[1])
        attributes: dict[str, Any] = {}
    else:
        shape = operator.weight
        reads, makes = (1, *operator.inputs), (1, *operator.outputs)
        attributes = _geometry(operator)
    if int8 and operator.kind.startswith("conv_transpose"):
        raise DataflowError(
            "A transposed convolution must run in float, ONNX has no int8 form of it."
        )
    if int8:
        # Of all 8 bits, pairs of products overflow 16 bits on processors without VNNI.
        weight: NDArray[np.generic] = random.integers(-64, 64, shape, dtype=np.int8)
        channels = 1 if linear else shape[0]
        constants = _int8_constants(weight, channels)
        names = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero"]
        operation, kind = ("QLinearMatMul" if linear else "QLinearConv"), TensorProto.UINT8
    else:
        weight = (random.standard_normal(shape) / np.sqrt(prod(shape[1:]))).astype(np.float32)
        constants, names, kind = {"w": weight}, ["x", "w"], TensorProto.FLOAT
        transposed = operator.kind.startswith("conv_transpose")
        operation = "MatMul" if linear else "ConvTranspose" if transposed else "Conv"
    graph = helper.make_graph(
        [helper.make_node(operation, names, ["y"], **attributes)],
        "layer",
        [helper.make_tensor_value_info("x", kind, reads)],
        [helper.make_tensor_value_info("y", kind, makes)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    checker.check_model(model, full_check=True)
    return model


def example(operator: Operator, *, int8: bool) -> NDArray[np.generic]:
    """Return a random input of the model, batch 1."""
    random = np.random.default_rng(_SEED + 1)
    if operator.kind == "linear":
        shape: tuple[int, ...] = (operator.rows, operator.weight[1])
    else:
        shape = (1, *operator.inputs)
    if int8:
        return random.integers(0, 256, shape, dtype=np.uint8)
    return random.standard_normal(shape).astype(np.float32)


def _int8_constants(weight: NDArray[np.generic], channels: int) -> dict[str, NDArray[np.generic]]:
    one = np.float32
    scales = np.full(channels, 0.01, one) if channels > 1 else np.array(0.01, one)
    zeros = np.zeros(channels, np.int8) if channels > 1 else np.array(0, np.int8)
    return {
        "x_scale": np.array(0.02, one),
        "x_zero": np.array(128, np.uint8),
        "w": weight,
        "w_scale": scales,
        "w_zero": zeros,
        "y_scale": np.array(0.05, one),
        "y_zero": np.array(128, np.uint8),
    }


def _geometry(operator: Operator) -> dict[str, Any]:
    """Return stride, padding and groups of a convolution with these shapes."""
    kernel = operator.weight[2:]
    transposed = operator.kind.startswith("conv_transpose")
    wide, narrow = operator.inputs[1:], operator.outputs[1:]
    if transposed:
        wide, narrow = narrow, wide
    channels = operator.outputs[0] if transposed else operator.inputs[0]
    if not len(kernel) == len(wide) == len(narrow) or channels % operator.weight[1]:
        raise DataflowError(
            f"A {operator.kind} must read and make one vector per pixel, got {operator.inputs} "
            f"to {operator.outputs} with a weight of {operator.weight}."
        )
    strides, begins, ends, added = [], [], [], []
    for size, made, k in zip(wide, narrow, kernel, strict=True):
        # One of the two always leads there: the larger one never makes too many values.
        for stride in (max(1, size // made), -(-size // made)):
            padding = max(0, (made - 1) * stride + k - size)
            if (size + padding - k) // stride + 1 == made:
                break
        strides.append(stride)
        begins.append(padding // 2)
        ends.append(padding - padding // 2)
        added.append(size + padding - k - (made - 1) * stride)
    found: dict[str, Any] = {
        "kernel_shape": list(kernel),
        "strides": strides,
        "pads": begins + ends,
        "group": channels // operator.weight[1],
    }
    return found | ({"output_padding": added} if transposed else {})
