"""The calibration samples that each layer's rounding hurts most."""

import numpy as np

from analysis.records import ScoreTable


def hardest_samples(scores: ScoreTable, count: int = 3) -> dict[str, tuple[int, ...]]:
    """Return numbers of the samples with the highest scores of each layer, the hardest first.

    Args:
        scores: Scores of layers; empty is returned where they are not per sample (N, L) of the
            calibration set, one layer at a time.
        count: Samples of each layer at most; ties keep the order of the set.
    """
    values = scores.per_sample
    if values is None or scores.data != "calibration" or scores.protocol != "isolated":
        return {}
    order = np.argsort(-values, axis=0, kind="stable")[:count]  # (count, L)
    return {name: tuple(map(int, order[:, at])) for at, name in enumerate(scores.layers)}
