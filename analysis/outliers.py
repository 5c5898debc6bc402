"""Samples that stand out of their set, and what the scores would be without them."""

from dataclasses import dataclass

import numpy as np

from analysis.errors import QuantizationError
from analysis.records import FloatArray, IntArray, ScoreTable

# Iglewicz and Hoaglin 1993: how far out, in robust standard deviations, a value is an outlier.
THRESHOLD = 3.5
_MAD_OF_NORMAL = 0.6745


@dataclass(frozen=True, slots=True)
class Outliers:
    """Samples whose scores stand out, and the layers' scores with and without them.

    ``totals`` (N,) are the samples' scores over all layers, each layer relative to its own mean;
    ``z`` (N,) their robust z-scores on a logarithmic scale. ``samples`` are those beyond the
    threshold, the furthest first. ``with_all`` and ``without`` are means (L,) over the samples;
    ``moved`` is the largest change of a layer's rank among the layers.
    """

    samples: IntArray
    totals: FloatArray
    z: FloatArray
    with_all: FloatArray
    without: FloatArray
    moved: int


def totals(per_sample: FloatArray) -> FloatArray:
    """Return every sample's score over all layers (N,), each layer relative to its own mean.

    Layers differ by orders of magnitude: a plain sum would be that of one or two of them. Layers
    of zeros do not count.
    """
    means = np.abs(per_sample).mean(0)
    live = means > 0
    if not live.any():
        return np.zeros(len(per_sample))
    return np.asarray((per_sample[:, live] / means[live]).mean(1))


def find_outliers(scores: ScoreTable, threshold: float = THRESHOLD) -> Outliers:
    """Find samples that stand out of a score table.

    Args:
        scores: With scores per sample (N, L).
        threshold: Robust standard deviations beyond which a sample stands out.

    Raises:
        QuantizationError: If the metric gives no scores per sample.
    """
    if scores.per_sample is None:
        raise QuantizationError(
            f"Outliers are found by scores per sample, `{scores.metric}` gives none. Choose a "
            "metric that does, such as `hessian_attention`."
        )
    per_sample = scores.per_sample
    total = totals(per_sample)
    # Totals spread over orders of magnitude; those below zero have no logarithm.
    floor = total[total > 0].min(initial=1.0)
    z = _robust_z(np.log(np.maximum(total, floor)))
    far = np.flatnonzero(np.abs(z) > threshold)
    far = far[np.argsort(-np.abs(z[far]), kind="stable")]
    rest = np.setdiff1d(np.arange(len(total)), far)
    with_all, without = per_sample.mean(0), per_sample[rest].mean(0)
    moved = np.abs(_ranks(with_all) - _ranks(without)).max(initial=0)
    return Outliers(far, total, z, with_all, without, int(moved))


def _robust_z(values: FloatArray) -> FloatArray:
    centred = values - np.median(values)
    spread = float(np.median(np.abs(centred)))
    if spread == 0:  # more than half of the samples are alike
        spread = float(np.abs(centred).mean()) * 0.845
    return np.zeros_like(values) if spread == 0 else np.asarray(_MAD_OF_NORMAL * centred / spread)


def _ranks(values: FloatArray) -> IntArray:
    return np.argsort(np.argsort(-values, kind="stable"), kind="stable")
