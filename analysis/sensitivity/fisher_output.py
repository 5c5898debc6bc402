r"""Gradient times output error, squared element by element: the diagonal empirical Fisher.

.. math:: s_{nl} = \tfrac12 \sum_i \Big( \frac{\partial L_n}{\partial z_{nli}} \, \Delta z_{nli}
    \Big)^2

with the gradient of the sample's own loss and the error that the quantized layer makes on its
float input. For a log-likelihood the expected outer product of gradients is the expected Hessian,
which makes this, like any second-order term with its factor 1/2, nats; elements are taken to err
independently. It is the gradient score of NVIDIA's Model Optimizer but for that factor and the mean
over samples in place of their sum.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from analysis.curvature.gradients import output_gradients
from analysis.curvature.jacobian import squares_per_sample
from analysis.events import Progress, Work
from analysis.options import Options, option
from analysis.records import FloatArray, ScoreTable
from analysis.sensitivity.isolated import IsolatedPlans, local_outputs
from analysis.sensitivity.tables import need_candidates, score_table
from analysis.sensitivity.task import METRICS, SensitivityTask, in_batches


@dataclass(frozen=True, slots=True)
class FisherOutputOptions(Options):
    """Options of :func:`fisher_output`."""

    batch_size: int = option(
        64, low=1, high=4096, help="Samples per pass; their activations are held in memory."
    )


@METRICS.register(
    "fisher_output",
    title="Output Fisher",
    answers="How much does the loss react to the error that a quantized layer makes?",
    reference="NVIDIA Model Optimizer, `auto_quantize`",
    needs=("labels", "backward", "candidates"),
    options=FisherOutputOptions,
    cost="1 forward and 1 backward pass, K + 1 forward passes for K candidates",
)
def fisher_output(task: SensitivityTask, options: FisherOutputOptions) -> Work[ScoreTable]:
    """Half the sum of squared products of loss gradient and output error, in nats.

    One backward pass per batch serves all layers and candidates. A layer that is called several
    times sums over its calls.

    Raises:
        DataError: If the samples have no labels.
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    sums = yield from gradient_error_sums(
        task, "fisher_output", options.batch_size, squares_per_sample
    )
    return score_table(
        task,
        "fisher_output",
        options,
        unit="nats",
        begin=begin,
        passes=(2 + len(task.candidates), 1),
        rows=0.5 * sums,
    )


def gradient_error_sums(
    task: SensitivityTask, metric: str, batch_size: int, reduce: Callable[[Tensor], Tensor]
) -> Work[FloatArray]:
    """Return what remains of gradient times output error, summed over a layer's calls.

    Args:
        task: The samples, labelled, and the candidates.
        metric: The metric's registered name.
        batch_size: Samples per pass.
        reduce: Products (B, ...) of the gradient of each sample's loss with respect to a call's
            output and that output's error -> (B,).

    Returns:
        Array (N, L, C).

    Raises:
        DataError: If the samples have no labels.
        QuantizationError: If there are no candidates to score.
    """
    need_candidates(task, metric)
    labels, network = task.labels(metric), task.network
    layers = network.table.layers
    calls = [call for layer in layers for call in layer.calls]
    plans = IsolatedPlans.of(task)

    def batch_of(batch: range) -> Work[Mapping[str, FloatArray]]:
        x = task.inputs(batch)
        y = torch.tensor(labels[batch.start : batch.stop], device=x.device)
        gradients = output_gradients(network, calls, x, y)
        sums = np.zeros((len(batch), len(layers), len(task.candidates)))
        for local, g in zip(local_outputs(network, plans, x), gradients, strict=True):
            for c, candidate in enumerate(task.candidates):
                products = g * local.error(candidate)
                sums[:, local.layer, c] += reduce(products).double().cpu().numpy()
            yield Progress(local.layer, 0, f"errors of `{layers[local.layer].name}`")
        return {"sums": sums}

    arrays = yield from in_batches(task, batch_size, len(layers), batch_of)
    return arrays["sums"]
