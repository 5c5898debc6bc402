r"""Squared directional derivative of the log-probability of the label, sample by sample.

.. math:: s_{nl} = \tfrac12 \Big( \sum_i \frac{\partial \log p_{y_n}}{\partial z_{nli}} \,
    \Delta z_{nli} \Big)^2

the Gauss-Newton term of the loss along the error that the quantized layer makes, all its elements
together; where only the weight is quantized the sum is the derivative along :math:`\Delta w`. Drawn
over the network's own labels, its mean is :math:`\tfrac12 d^T (\operatorname{diag} p - p p^T) d`
with :math:`d` the first-order change of the logits. The gradient is that of the log-probability
:math:`\log p_y`, not of the logit divided by itself, which the published code of the paper takes
and which has a pole where a logit is zero. See Chen et al. 2021 (MPQCO), arXiv:2110.06554.
"""

from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from analysis.events import Work
from analysis.options import Options, option
from analysis.records import ScoreTable
from analysis.sensitivity.fisher_output import gradient_error_sums
from analysis.sensitivity.tables import score_table
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class GaussNewtonOptions(Options):
    """Options of :func:`gauss_newton`."""

    batch_size: int = option(
        64, low=1, high=4096, help="Samples per pass; their activations are held in memory."
    )


@METRICS.register(
    "gauss_newton",
    title="Gauss-Newton",
    answers="How much does the loss curve along the very error that a quantized layer makes?",
    reference="Chen et al. 2021 (MPQCO), arXiv:2110.06554",
    needs=("labels", "backward", "candidates"),
    options=GaussNewtonOptions,
    cost="1 forward and 1 backward pass, K + 1 forward passes for K candidates",
)
def gauss_newton(task: SensitivityTask, options: GaussNewtonOptions) -> Work[ScoreTable]:
    """Half the squared derivative of log p_y along the layer's output error, in nats.

    One backward pass per batch serves all layers and candidates. A layer that is called several
    times has one direction, over all its calls.

    Raises:
        DataError: If the samples have no labels.
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    slopes = yield from gradient_error_sums(task, "gauss_newton", options.batch_size, _sum)
    return score_table(
        task,
        "gauss_newton",
        options,
        unit="nats",
        begin=begin,
        passes=(2 + len(task.candidates), 1),
        rows=0.5 * slopes**2,
    )


def _sum(products: Tensor) -> Tensor:
    return products.flatten(1).sum(1, dtype=torch.float64)
