"""Noise against signal at the network's outputs."""

from dataclasses import dataclass

import numpy as np

from analysis.events import Work
from analysis.records import NOISE, ScoreTable
from analysis.sensitivity.measured import MeasuredOptions
from analysis.sensitivity.outputs import increments, output_scores
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class OutputSQNROptions(MeasuredOptions):
    """Options of :func:`output_sqnr`."""


@METRICS.register(
    "output_sqnr",
    title="Output SQNR",
    answers="How much noise does this layer put on the logits, relative to their power?",
    reference="Pandey et al. 2023 (practical mixed precision), arXiv:2302.05397",
    needs=("candidates",),
    options=OutputSQNROptions,
    cost="1 forward pass and L × K suffixes of one; shared by the output metrics",
)
def output_sqnr(task: SensitivityTask, options: OutputSQNROptions) -> Work[ScoreTable]:
    """Mean squared error of the logits over their mean square: a ratio of means.

    The score is the noise-to-signal ratio, larger is worse; the SQNR in dB is -10 log10 of it. A
    ratio of means does not depend on the batch size and needs no floor in its denominator.

    Raises:
        QuantizationError: If there are no candidates to score.
    """
    return (
        yield from output_scores(
            task,
            "output_sqnr",
            options,
            NOISE,
            lambda found: (
                increments(found.error, np.zeros(task.n), options.protocol) / found.power.mean()
            ),
        )
    )
