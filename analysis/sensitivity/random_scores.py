"""Baseline: layers in random order of sensitivity."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from analysis.events import Progress, Work
from analysis.options import Options, option
from analysis.quant.formats import bits_of
from analysis.records import ScoreTable
from analysis.sensitivity.tables import need_candidates, score_table
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class RandomOptions(Options):
    """Options of :func:`random_scores`."""

    seed: int = option(0, low=0, high=2**31 - 1, help="Seed of the scores.")


@METRICS.register(
    "random",
    title="Random (baseline)",
    answers="How good is an allocation that knows nothing of the layers?",
    needs=("candidates",),
    options=RandomOptions,
    cost="none",
)
def random_scores(task: SensitivityTask, options: RandomOptions) -> Work[ScoreTable]:
    """A number in [0, 1) for each layer times (b_max - b) / b_max.

    ``b`` are the weight bits of a candidate, ``b_max`` the most among the candidates; ``float``
    counts 32. A layer's number depends on the seed and the layer's place alone.

    Raises:
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    need_candidates(task, "random")
    layers = len(task.network.table.layers)
    drawn = [np.random.default_rng([options.seed, i]).random() for i in range(layers)]
    bits = np.array([bits_of(c.weight) for c in task.candidates], dtype=np.float64)
    yield Progress(layers, layers)
    return score_table(
        task,
        "random",
        options,
        unit="random",
        begin=begin,
        passes=(0, 0),
        values=np.outer(drawn, 1 - bits / bits.max()),
        exact=False,
        seed=options.seed,
        n=0,
        notes=("A baseline: the scores are random numbers and mean nothing.",),
    )
