"""Slow, obvious interactions of pairs of layers: every pair by whole passes, one at a time."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from analysis.quant.configure import estimate_activation, estimate_weight
from analysis.records import FLOAT, Candidate
from analysis.sensitivity.task import SensitivityTask
from tests.reference.sensitivity import folded_copy, quantize_layer

Choice = dict[int, Candidate]
Logits = Callable[[SensitivityTask, Choice], Tensor]


def interactions(
    task: SensitivityTask, logits: Logits, loss: Callable[[Tensor, Tensor], list[float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean rises (L, C) and interactions (L, C, L, C); ``loss`` of float and changed logits."""
    layers, choices = len(task.network.table.layers), task.candidates
    plain = logits(task, {})

    def rise(chosen: Choice) -> float:
        return float(np.mean(loss(plain, logits(task, chosen))) - np.mean(loss(plain, plain)))

    single = np.array([[rise({i: c}) for c in choices] for i in range(layers)])
    result = np.zeros((layers, len(choices), layers, len(choices)))
    for i in range(layers):
        for j in range(i + 1, layers):
            for k, a in enumerate(choices):
                for l, b in enumerate(choices):  # noqa: E741
                    found = rise({i: a, j: b}) - single[i, k] - single[j, l]
                    result[i, k, j, l] = result[j, l, i, k] = found
    return single, result


def on_layer_inputs(task: SensitivityTask, chosen: Choice) -> Tensor:
    """Logits (N, C) of a copy of the model whose layers were quantized, inputs by hooks."""
    model = folded_copy(task.network)
    for place, candidate in chosen.items():
        layer = task.network.table.layers[place]
        quantize_layer(model, task.network, task.statistics, layer, candidate, task.settings)
    with torch.no_grad():
        return model(task.inputs(range(task.n)))


def on_tensors(task: SensitivityTask, chosen: Choice) -> Tensor:
    """Logits (N, C) of a copy of the model; every reader of a layer's input sees it quantized.

    For models whose activation tensors are the network's input or the output of a module that is
    called once. Of two layers that read one tensor the later decides its format.
    """
    network, model = task.network, folded_copy(task.network)
    x = task.inputs(range(task.n))
    modules = {call.index: call.module for call in network.trace.calls}
    formats: dict[int, str] = {}
    for place in sorted(chosen):
        layer, candidate = network.table.layers[place], chosen[place]
        if candidate.weight != FLOAT:
            q = estimate_weight(network, layer, candidate.weight, task.settings)
            module = model.get_submodule(layer.name)
            module.weight.data = q(module.weight.data)
        if candidate.activation != FLOAT:
            formats[layer.inputs[0]] = candidate.activation
    for tensor, name in formats.items():
        q = estimate_activation(task.statistics, tensor, name, task.settings)
        call = network.table.tensors[tensor].call
        if call < 0:
            x = q(x)
        else:
            model.get_submodule(modules[call]).register_forward_hook(lambda _m, _i, y, q=q: q(y))
    with torch.no_grad():
        return model(x)
