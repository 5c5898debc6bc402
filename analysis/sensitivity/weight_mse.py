"""Mean squared error of the weights alone."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from analysis.events import Progress, Work
from analysis.options import Options
from analysis.records import FLOAT, ScoreTable
from analysis.sensitivity.tables import need_candidates, score_table
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class WeightMSEOptions(Options):
    """Options of :func:`weight_mse`: none."""


@METRICS.register(
    "weight_mse",
    title="Weight MSE",
    answers="How far do the layer's weights move when they are rounded?",
    needs=("candidates",),
    options=WeightMSEOptions,
    cost="none: reads the weights alone",
)
def weight_mse(task: SensitivityTask, options: WeightMSEOptions) -> Work[ScoreTable]:
    """Mean squared error of the folded weight, from the weights alone: no sample is read.

    Activation formats do not enter.

    Raises:
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    need_candidates(task, "weight_mse")
    layers = task.network.table.layers
    formats = list(dict.fromkeys(c.weight for c in task.candidates))
    values = np.zeros((len(layers), len(task.candidates)))
    for i, layer in enumerate(layers):
        weight = task.network.weight(layer)
        errors = {FLOAT: 0.0}
        for name in formats:
            if name != FLOAT:
                quantizer = task.weight_quantizer(layer, name)
                errors[name] = float((quantizer(weight) - weight).double().square().mean())
        values[i] = [errors[c.weight] for c in task.candidates]
        yield Progress(i + 1, len(layers), f"`{layer.name}`")
    return score_table(
        task,
        "weight_mse",
        options,
        unit="squared weight",
        begin=begin,
        passes=(0, 0),
        values=values,
        n=0,
        notes=("Weights alone: no sample is read, activation formats do not enter.",),
    )
