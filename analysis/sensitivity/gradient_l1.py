r"""First-order worst case of rounding: how far the loss can rise inside the box of rounding errors.

Rounding moves every weight by at most half a step :math:`s/2`, and to first order

.. math:: \max_{|\delta_j| \le s_j/2} \langle \nabla_w L, \delta \rangle
    = \sum_j \Big| \frac{\partial L}{\partial w_j} \Big| \frac{s_j}{2} ,

likewise for the activation a layer reads, sample by sample and then in the mean. The bound holds
for values inside the quantizer's range; what is clipped moves further. See Alizadeh et al. 2020,
arXiv:2002.07520.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

from analysis.curvature.gradients import loss_graph
from analysis.events import Progress, Work
from analysis.options import Options, option
from analysis.quant.configure import estimate_activation
from analysis.records import FLOAT, FloatArray, Layer, ScoreTable
from analysis.sensitivity.tables import need_candidates, score_table
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class GradientL1Options(Options):
    """Options of :func:`gradient_l1`."""

    batch_size: int = option(64, low=1, high=4096, help="Samples per pass; bounds the memory.")


@METRICS.register(
    "gradient_l1",
    title="Gradient L1",
    answers="How far can rounding raise the loss, to first order, if every error points uphill?",
    reference="Alizadeh et al. 2020, arXiv:2002.07520",
    needs=("labels", "backward", "candidates"),
    options=GradientL1Options,
    cost="1 forward and 1 backward pass",
)
def gradient_l1(task: SensitivityTask, options: GradientL1Options) -> Work[ScoreTable]:
    """Sum of absolute gradients of the mean loss times half a step, of weight and activation.

    In nats. Only what the layer's own calls read counts as its activation; each of several calls
    counts. Float parts of a candidate contribute nothing.

    Raises:
        DataError: If the samples have no labels.
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    need_candidates(task, "gradient_l1")
    sums = yield from _gradient_sums(task, options.batch_size)
    layers = task.network.table.layers
    weight_formats = {c.weight for c in task.candidates}
    activation_formats = {c.activation for c in task.candidates}
    values = np.zeros((len(layers), len(task.candidates)))
    for i, layer in enumerate(layers):
        channels = np.abs(np.moveaxis(sums[f"weight-{i}"], layer.channel_axis, 0) / task.n)
        channels = channels.reshape(len(channels), -1).sum(1)
        inputs = sums[f"inputs-{i}"] / task.n
        weight = {f: _weight_part(task, layer, f, channels) for f in weight_formats}
        activation = {f: _activation_part(task, layer, f, inputs) for f in activation_formats}
        values[i] = [weight[c.weight] + activation[c.activation] for c in task.candidates]
    return score_table(
        task,
        "gradient_l1",
        options,
        unit="nats",
        begin=begin,
        passes=(1, 1),
        values=values,
    )


def _weight_part(task: SensitivityTask, layer: Layer, name: str, channels: FloatArray) -> float:
    """Sum of the channels' absolute gradients (O,), each times half its own step."""
    if name == FLOAT:
        return 0.0
    scale = task.weight_quantizer(layer, name).scale
    return float((channels * (scale.double().cpu().numpy() / 2)).sum())


def _activation_part(task: SensitivityTask, layer: Layer, name: str, calls: FloatArray) -> float:
    """Sum of the calls' absolute gradients (K,), each times half the step of its tensor."""
    if name == FLOAT:
        return 0.0
    scales = [
        float(estimate_activation(task.statistics, tensor, name, task.settings).scale)
        for tensor in layer.inputs
    ]
    return float((calls * (np.array(scales) / 2)).sum())


def _gradient_sums(task: SensitivityTask, batch_size: int) -> Work[Mapping[str, FloatArray]]:
    """Sum over all samples what the bound is made of.

    Returns:
        ``weight-i``: gradient of layer i's weight, in its shape, of the loss summed over samples.
        ``inputs-i``: sums over samples and elements of the absolute gradients of what its K calls
        read (K,).
    """
    labels, layers = task.labels("gradient_l1"), task.network.table.layers
    batches = list(task.batches(batch_size))
    # The sums over the batches so far are one part: a sum for each batch would fill the disk.
    kept = task.parts.load("sums")
    sums = dict(kept) if kept is not None else {"batches": np.zeros(1)}
    for number in range(int(sums["batches"][0]), len(batches)):
        batch = batches[number]
        yield Progress(number, len(batches), f"samples {batch.start + 1} to {batch.stop}")
        x = task.inputs(batch)
        y = torch.tensor(labels[batch.start : batch.stop], device=x.device)
        graph = loss_graph(task.network, layers, x, y, inputs=True)
        calls = list(graph.inputs)
        found = graph.gradients([*graph.weights, *graph.inputs.values()])
        read = {
            call: float(g.abs().sum(dtype=torch.float64))
            for call, g in zip(calls, found[len(layers) :], strict=True)
        }
        for i, layer in enumerate(layers):
            weight = found[i].double().cpu().numpy()
            inputs = np.array([read[call] for call in layer.calls])
            for name, value in ((f"weight-{i}", weight), (f"inputs-{i}", inputs)):
                sums[name] = sums[name] + value if name in sums else value
        sums["batches"] = np.array([number + 1.0])
        task.parts.save("sums", sums)
    yield Progress(len(batches), len(batches), f"{task.n} samples")
    return sums
