r"""How far two rankings agree, and how far that may be trusted.

Kendall's tau-b counts pairs, Spearman's rho correlates midranks:

.. math::
    \tau_b = \frac{\sum_{ij} a_{ij} b_{ij}}{\sqrt{\sum_{ij} a_{ij}^2 \sum_{ij} b_{ij}^2}}, \quad
    a_{ij} = \mathrm{sign}(x_i - x_j), \quad b_{ij} = \mathrm{sign}(y_i - y_j)

See Kendall 1945, Biometrika 33:239.
"""

import numpy as np

from analysis.records import Estimate, FloatArray

LEVEL = 0.95
# Why a metric has no ranking, as a record says it.
SAME_SCORES = "its scores are the same for all layers"


def correlations(x: FloatArray, y: FloatArray, weights: FloatArray) -> FloatArray:
    """Return tau-b and rho of weighted layers, at every candidate and over all candidates.

    Over all candidates the sums run over those at which both rank the layers: only layers at the
    same candidate are compared. A layer that counts several times is no pair with itself.

    Args:
        x: Scores (C, L).
        y: Scores (C, L).
        weights: How often each layer counts, (R, L).

    Returns:
        Correlations (2, R, C + 1), NaN where one of the two is the same for all layers that count.
    """
    sums = np.zeros((2, 3, len(weights), len(x) + 1))
    for c, (one, other) in enumerate(zip(x, y, strict=True)):
        a, b = (np.sign(each[:, None] - each) for each in (one, other))
        # Twice the midrank in the resample, centred.
        p, q = weights @ a.T, weights @ b.T
        for place, (signs, ranks) in enumerate(((a * b, p * q), (a * a, p * p), (b * b, q * q))):
            sums[0, place, :, c] = ((weights @ signs) * weights).sum(1)
            sums[1, place, :, c] = (weights * ranks).sum(1)
    ranked = (sums[:, 1] > 0) & (sums[:, 2] > 0)
    sums[..., -1] = (sums * ranked[:, None]).sum(-1)
    xy, xx, yy = sums[:, 0], sums[:, 1], sums[:, 2]
    result = np.full(xy.shape, np.nan)
    np.divide(xy, np.sqrt(xx * yy), out=result, where=(xx > 0) & (yy > 0))
    return np.asarray(np.clip(result, -1.0, 1.0))


def overlap(x: FloatArray, y: FloatArray, k: int) -> float:
    """Return the share of the ``k`` largest scores (L,) that both have in common.

    Ties at the border are broken at random; the expectation is returned.
    """
    return float((_membership(x, k) * _membership(y, k)).sum() / k)


def _membership(x: FloatArray, k: int) -> FloatArray:
    border = np.sort(x)[-k]
    above, tied = x > border, x == border
    return np.asarray(above + tied * (k - above.sum()) / tied.sum())


def halves(rows: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Return tau-b between the sums over random halves of the samples.

    Args:
        rows: Scores (N, L) of every sample.
        count: Number of halvings R.
        rng: Draws the halves.

    Returns:
        Correlations (R,), NaN where a half has the same sum for all layers.
    """
    taus = np.full(count, np.nan)
    for place in range(count):
        first = rng.permutation(len(rows)) < len(rows) // 2
        a, b = (np.sign(s[:, None] - s) for s in (rows[first].sum(0), rows[~first].sum(0)))
        pairs = float((a * a).sum() * (b * b).sum())
        if pairs:
            taus[place] = (a * b).sum() / np.sqrt(pairs)
    return taus


def estimate(value: float, resampled: FloatArray) -> Estimate | None:
    """Return a value with the interval of the resampled ones; None if most are not defined."""
    defined = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or len(defined) < len(resampled) / 2:
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value=float(value), low=float(low), high=float(high))
