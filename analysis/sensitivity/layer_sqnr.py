"""Noise against signal at every layer's own output."""

from dataclasses import dataclass

import numpy as np

from analysis.events import Work
from analysis.records import NOISE, FloatArray, LayerErrors, ScoreTable
from analysis.sensitivity.layer_errors import layer_error_scores
from analysis.sensitivity.measured import MeasuredOptions
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class LayerSQNROptions(MeasuredOptions):
    """Options of :func:`layer_sqnr`."""


@METRICS.register(
    "layer_sqnr",
    title="Layer output SQNR",
    answers="How much noise is on the layer's own output, relative to its power?",
    needs=("candidates",),
    options=LayerSQNROptions,
    cost="K + 1 forward passes; shared by the layer metrics",
)
def layer_sqnr(task: SensitivityTask, options: LayerSQNROptions) -> Work[ScoreTable]:
    """Mean squared error of the layer's output over its mean square: a ratio of means.

    The SQNR in dB is -10 log10 of the score. A layer whose output is zero and stays zero has no
    noise; one whose zero output becomes another has no finite ratio and is skipped.

    Raises:
        QuantizationError: If there are no candidates to score.
    """

    def rows(found: LayerErrors) -> FloatArray:
        power = found.power.mean(0)[None, :, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = found.error / power
        return np.where((found.error == 0) & (power == 0), 0.0, ratio)

    return (yield from layer_error_scores(task, "layer_sqnr", options, NOISE, rows))
