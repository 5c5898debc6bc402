"""Baseline: large layers are sensitive, by the rounding noise they would hold."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from analysis.events import Progress, Work
from analysis.options import Options
from analysis.quant.formats import bits_of
from analysis.records import FLOAT, ScoreTable
from analysis.sensitivity.tables import need_candidates, score_table
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class ParameterCountOptions(Options):
    """Options of :func:`parameter_count`: none."""


@METRICS.register(
    "parameter_count",
    title="Parameter count (baseline)",
    answers="What if only the number of weights mattered?",
    needs=("candidates",),
    options=ParameterCountOptions,
    cost="none",
)
def parameter_count(task: SensitivityTask, options: ParameterCountOptions) -> Work[ScoreTable]:
    """Number of weights times 4^-bits.

    Up to a constant, the energy of the rounding noise of uniform weights of unit range in every
    layer. A weight that stays float has none; activation formats do not enter. Neither weights
    nor samples are read.

    Raises:
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    need_candidates(task, "parameter_count")
    layers = task.network.table.layers
    counts = np.array([layer.num_weights for layer in layers], dtype=np.float64)
    noise = [0.0 if c.weight == FLOAT else 4.0 ** -bits_of(c.weight) for c in task.candidates]
    yield Progress(len(layers), len(layers))
    return score_table(
        task,
        "parameter_count",
        options,
        unit="weights × 4^-bits",
        begin=begin,
        passes=(0, 0),
        values=np.outer(counts, noise),
        n=0,
        notes=("A baseline: no weight and no sample is read, only the layers' sizes.",),
    )
