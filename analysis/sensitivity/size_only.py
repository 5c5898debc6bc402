"""Baseline: all layers count the same, so that a solver saves bits where they are most."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from analysis.events import Progress, Work
from analysis.options import Options
from analysis.quant.formats import bits_of
from analysis.records import ScoreTable
from analysis.sensitivity.tables import need_candidates, score_table
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class SizeOnlyOptions(Options):
    """Options of :func:`size_only`: none."""


@METRICS.register(
    "size_only",
    title="Size only (baseline)",
    answers="What does a solver do when all layers are equally sensitive?",
    needs=("candidates",),
    options=SizeOnlyOptions,
    cost="none",
)
def size_only(task: SensitivityTask, options: SizeOnlyOptions) -> Work[ScoreTable]:
    """Score every layer by the weight bits that a candidate lacks to the widest one.

    The same in every layer: a solver takes bits from the largest layers first. ``float`` counts
    32 bits; activation formats do not enter. Neither weights nor samples are read.

    Raises:
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    need_candidates(task, "size_only")
    bits = np.array([bits_of(c.weight) for c in task.candidates], dtype=np.float64)
    layers = len(task.network.table.layers)
    yield Progress(layers, layers)
    return score_table(
        task,
        "size_only",
        options,
        unit="bits",
        begin=begin,
        passes=(0, 0),
        values=np.tile(bits.max() - bits, (layers, 1)),
        n=0,
        notes=("A baseline: no weight and no sample is read, all layers score the same.",),
    )
