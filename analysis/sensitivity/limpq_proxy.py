"""A stand-in for LIMPQ's learned importance: step sizes found by calibration, not by training."""

from dataclasses import dataclass, replace
from functools import cache
from time import perf_counter

import numpy as np

from analysis.events import Progress, Work
from analysis.options import Options, option
from analysis.quant.configure import estimate_activation, estimate_weight
from analysis.records import FLOAT, Layer, ScoreTable
from analysis.sensitivity.tables import need_candidates, score_table
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class LIMPQProxyOptions(Options):
    """Options of :func:`limpq_proxy`."""

    alpha: float = option(
        2.0, low=0.0, high=100.0, help="How much the weight's step counts beside the activation's."
    )


@METRICS.register(
    "limpq_proxy",
    title="Step sizes (proxy of LIMPQ, calibration only)",
    answers="How coarse must the grids of this layer be?",
    reference="Tang et al. 2022 (LIMPQ), arXiv:2203.08368",
    needs=("candidates",),
    options=LIMPQProxyOptions,
    cost="none: reads weights and ranges",
)
def limpq_proxy(task: SensitivityTask, options: LIMPQProxyOptions) -> Work[ScoreTable]:
    """Step size of the activation plus ``alpha`` times that of the weight.

    Steps are those of least squared error. LIMPQ learns them by training the network at several
    widths; here calibration alone finds them. The steps of a weight's channels are averaged, and
    those of the inputs of a layer that is called several times. What stays float has no step.

    Raises:
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    need_candidates(task, "limpq_proxy")
    settings = replace(task.settings, weight_range="mse", activation_range="mse")

    @cache
    def weight(layer: Layer, name: str) -> float:
        if name == FLOAT:
            return 0.0
        return float(estimate_weight(task.network, layer, name, settings).scale.double().mean())

    @cache
    def activation(tensor: int, name: str) -> float:
        if name == FLOAT:
            return 0.0
        return float(estimate_activation(task.statistics, tensor, name, settings).scale)

    layers = task.network.table.layers
    values = np.zeros((len(layers), len(task.candidates)))
    for i, layer in enumerate(layers):
        for c, candidate in enumerate(task.candidates):
            steps = [activation(tensor, candidate.activation) for tensor in layer.inputs]
            values[i, c] = np.mean(steps) + options.alpha * weight(layer, candidate.weight)
        yield Progress(i + 1, len(layers), f"`{layer.name}`")
    return score_table(
        task,
        "limpq_proxy",
        options,
        unit="step size",
        begin=begin,
        passes=(0, 0),
        values=values,
        n=0,
        notes=(
            "A proxy: LIMPQ learns its step sizes by training, these come from calibration alone "
            "(ranges of least squared error, whatever the settings).",
            "Step sizes grow with the magnitude of weights and activations: compare layers with "
            "care where a network has no normalisation.",
        ),
    )
