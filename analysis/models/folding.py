"""BatchNorm folding by observed dataflow.

A BatchNorm in eval mode is a per-channel affine map; when it is the only reader of a convolution's
or linear layer's output, the map is moved into the weight and bias.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from analysis.models.dataflow import Call, Trace
from analysis.models.replay import Plan

# Torch calls with a weight, and the axis of that weight that holds the output channels.
WEIGHTED_CALLS = {
    "conv1d": 0,
    "conv2d": 0,
    "conv3d": 0,
    "linear": 0,
    "conv_transpose1d": 1,
    "conv_transpose2d": 1,
    "conv_transpose3d": 1,
}
_FINAL_ACTIVATIONS = ("softmax", "log_softmax")


@dataclass(slots=True)
class Folding:
    """What folding changes.

    ``plan`` substitutes weights and passes the BatchNorms over; ``folded`` maps the layer's call to
    the BatchNorm's module name, ``kept`` names the BatchNorms that stay, each with its reason.
    """

    plan: Plan = field(default_factory=Plan)
    folded: dict[int, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)


def fold_batchnorm(module: nn.Module, trace: Trace) -> Folding:
    """Find every BatchNorm that can be folded and compute the folded weights in float64."""
    weights: dict[int, Tensor] = {}
    biases: dict[int, Tensor] = {}
    skip: set[int] = set()
    folding = Folding()
    readings = _parameter_readings(trace)
    for call in trace.calls:
        if call.name != "batch_norm":
            continue
        norm = module.get_submodule(call.module)
        if not isinstance(norm, _BatchNorm):
            continue  # A function on other tensors, as in weight standardisation.
        reason = _obstacle(trace, call, norm, readings)
        if reason:
            folding.kept[call.module] = reason
            continue
        slot = call.inputs[0]
        assert slot is not None
        producer = trace.calls[slot[0]]
        weight = module.get_parameter(producer.parameters[1])
        bias = module.get_parameter(producer.parameters[2]) if 2 in producer.parameters else None
        weights[producer.index], biases[producer.index] = _fold(
            weight, bias, norm, WEIGHTED_CALLS[producer.name]
        )
        skip.add(call.index)
        folding.folded[producer.index] = call.module
    folding.plan = Plan(weights=weights, biases=biases, skip=frozenset(skip))
    return folding


def final_activation(trace: Trace) -> frozenset[int]:
    """Return the call of a softmax that makes the output, so that logits are seen instead."""
    call = trace.calls[trace.output[0]]
    if call.name not in _FINAL_ACTIVATIONS or trace.output in trace.readers:
        return frozenset()
    return frozenset([call.index])


def _parameter_readings(trace: Trace) -> dict[str, int]:
    readings: dict[str, int] = {}
    for call in trace.calls:
        for name in call.parameters.values():
            readings[name] = readings.get(name, 0) + 1
    return readings


def _obstacle(trace: Trace, call: Call, norm: nn.Module, readings: dict[str, int]) -> str:
    slot = call.inputs[0]
    if getattr(norm, "running_mean", None) is None or norm.training:
        return "uses the statistics of the batch, so it is not a fixed affine map"
    if slot is None or slot[0] < 0:
        return "reads the network's input or a tensor changed in place"
    producer = trace.calls[slot[0]]
    if producer.name not in WEIGHTED_CALLS or 1 not in producer.parameters:
        return f"follows `{producer.name}`, not a layer with a weight of its own"
    if slot in trace.mutated:
        return f"the output of `{producer.module}` is changed in place"
    if len(trace.readers[slot]) > 1:
        return f"the output of `{producer.module}` has other readers"
    if readings[producer.parameters[1]] > 1:
        return f"the weight of `{producer.module}` is used more than once"
    channels = producer.shapes[0][-1 if producer.name == "linear" else 1]
    if channels != len(norm.running_mean):  # type: ignore[arg-type]
        return f"`{producer.module}` has {channels} output channels"
    if producer.name == "linear" and len(producer.shapes[0]) != 2:
        return f"normalises another axis than the outputs of `{producer.module}`"
    weight_axis = WEIGHTED_CALLS[producer.name]
    if weight_axis == 1 and producer.input_shapes[1][1] != channels:
        return f"`{producer.module}` is a grouped transposed convolution"
    return ""


def _fold(weight: Tensor, bias: Tensor | None, norm: Any, axis: int) -> tuple[Tensor, Tensor]:
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    factor = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        factor = factor * norm.weight.double()
    shape = [1] * weight.dim()
    shape[axis] = -1
    shift = -mean if bias is None else bias.double() - mean
    shift = shift * factor
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    folded = weight.double() * factor.reshape(shape)
    return folded.to(weight.dtype).detach(), shift.to(weight.dtype).detach()
