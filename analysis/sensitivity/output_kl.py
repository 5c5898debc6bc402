"""Output divergence: how far the class probabilities move."""

from dataclasses import dataclass

import numpy as np

from analysis.events import Work
from analysis.records import ScoreTable
from analysis.sensitivity.measured import MeasuredOptions
from analysis.sensitivity.outputs import increments, output_scores
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class OutputKLOptions(MeasuredOptions):
    """Options of :func:`output_kl`."""


@METRICS.register(
    "output_kl",
    title="Output divergence",
    answers="How far do the class probabilities move when this layer is quantized?",
    reference="Cai et al. 2020 (ZeroQ), arXiv:2001.00281",
    needs=("candidates",),
    options=OutputKLOptions,
    cost="1 forward pass and L × K suffixes of one; shared by the output metrics",
    version=2,
)
def output_kl(task: SensitivityTask, options: OutputKLOptions) -> Work[ScoreTable]:
    """Mean KL divergence KL(float || quantized) of the softmax outputs, in nats.

    Forward only and label-free. Activations before the quantized layer are computed once per batch;
    each candidate costs the rest of the network.

    Raises:
        QuantizationError: If there are no candidates to score.
    """
    return (
        yield from output_scores(
            task,
            "output_kl",
            options,
            "nats",
            lambda found: increments(found.divergence, np.zeros(task.n), options.protocol),
        )
    )
