"""Slow, obvious logits and layer outputs with several layers quantized on their own inputs."""

import numpy as np
import torch
from torch import Tensor

from analysis.records import Candidate
from analysis.sensitivity.task import SensitivityTask
from tests.reference.sensitivity import folded_copy, quantize_layer


def logits_with(task: SensitivityTask, layers: list[int], candidate: Candidate) -> Tensor:
    """Logits (N, C) with the layers at these places quantized, by a full forward."""
    return _model(task, layers, candidate)(task.inputs(range(task.n))).detach()


def outputs_with(task: SensitivityTask, candidate: Candidate | None) -> list[Tensor]:
    """Output (N, ...) of every layer with all layers quantized, or none."""
    places = [] if candidate is None else list(range(len(task.network.table.layers)))
    model = _model(task, places, candidate or Candidate("float", "float"))
    seen: dict[str, Tensor] = {}
    for layer in task.network.table.layers:
        model.get_submodule(layer.name).register_forward_hook(
            lambda _m, _i, output, name=layer.name: seen.update({name: output.detach().clone()})
        )
    model(task.inputs(range(task.n)))
    return [seen[name] for name in task.network.table.names]


def measured(logits: Tensor, labels: np.ndarray) -> dict[str, list[float]]:
    """Cross-entropy and rightness of every sample, one at a time."""
    losses, right = [], []
    for row, label in zip(logits.double(), labels, strict=True):
        losses.append(float(torch.logsumexp(row, 0) - row[label]))
        right.append(float(int(row.argmax()) == label))
    return {"loss": losses, "correct": right}


def _model(task: SensitivityTask, layers: list[int], candidate: Candidate) -> torch.nn.Module:
    model = folded_copy(task.network)
    for place in layers:
        layer = task.network.table.layers[place]
        quantize_layer(model, task.network, task.statistics, layer, candidate, task.settings)
    return model
