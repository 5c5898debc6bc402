"""Isolated output divergence: quantize one layer, run the rest in float, compare the outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.events import Note, Progress, Work
from analysis.options import Options, option
from analysis.records import FloatArray, ScoreTable
from analysis.sensitivity.isolated import IsolatedPlans
from analysis.sensitivity.tables import need_candidates, score_table
from analysis.sensitivity.task import METRICS, SensitivityTask, in_batches


@dataclass(frozen=True, slots=True)
class OutputKLOptions(Options):
    """Options of :func:`output_kl`."""

    batch_size: int = option(
        64, low=1, high=4096, help="Samples per pass; their activations are held in memory."
    )


@METRICS.register(
    "output_kl",
    title="Output divergence",
    answers="How far do the class probabilities move when only this layer is quantized?",
    reference="Cai et al. 2020 (ZeroQ), arXiv:2001.00281",
    needs=("candidates",),
    options=OutputKLOptions,
)
def output_kl(task: SensitivityTask, options: OutputKLOptions) -> Work[ScoreTable]:
    """Mean KL divergence KL(float || quantized) of the softmax outputs, in nats.

    Forward only and label-free. Activations before the quantized layer are computed once per batch;
    each candidate costs the rest of the network.

    Raises:
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    network, candidates = task.network, task.candidates
    need_candidates(task, "output_kl")
    layers = network.table.layers
    notes: list[str] = []
    if not network.can_resume:
        notes.append(
            f"The model's code reads tensor values (`{network.trace.reads_values}`): every pass "
            "runs the whole network."
        )
        yield Note(notes[0])
    plans = IsolatedPlans(network, candidates, task.statistics, task.settings)

    def batch_of(batch: range) -> Work[Mapping[str, FloatArray]]:
        x = task.inputs(batch)
        divergence = np.zeros((len(batch), len(layers), len(candidates)))
        with torch.no_grad():
            logits, prefix = network.capture(x)
        for i, layer in enumerate(layers):
            for c, candidate in enumerate(candidates):
                with torch.no_grad():
                    quantized = network.resume(x, prefix, plans.plan(layer, candidate))
                divergence[:, i, c] = kl_divergence(logits, quantized).cpu().numpy()
                yield Progress(i, 0, f"`{layer.name}`")
        return {"divergence": divergence}

    arrays = yield from in_batches(task, options.batch_size, len(layers), batch_of)
    joined = arrays["divergence"]
    shared = sum(len(t.readers) > 1 for t in network.table.tensors)
    if shared and task.settings.scope == "tensor":
        notes.append(
            f"{shared} tensors have several layers as readers; the error of such a tensor is "
            "counted with each of them."
        )
    return score_table(
        task,
        "output_kl",
        options,
        unit="nats",
        begin=begin,
        passes=(1 + len(layers) * len(candidates), 0),
        rows=joined,
        notes=notes,
    )


def kl_divergence(logits: Tensor, other: Tensor) -> Tensor:
    """Return KL(softmax(logits) || softmax(other)) per sample (N,), in nats and float64."""
    p = F.log_softmax(logits.double(), dim=1)
    q = F.log_softmax(other.double(), dim=1)
    return (p.exp() * (p - q)).sum(1)
