"""How far predictions of a score table were off where allocations were measured."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.prediction import predict
from analysis.ranks import correlations
from analysis.records import Configuration, FloatArray, ScoreTable

ENOUGH = 5  # a line and its error need more points than two


@dataclass(frozen=True, slots=True)
class PredictionError:
    r"""A power law between prediction and measured divergence, and how far points lie from it.

    .. math:: \log \mathrm{KL} \approx a + b \log \hat p

    ``intercept`` is a and ``slope`` b, by least squares; ``factor`` is exp of the median distance
    of each point from the line through all others (leave one out), at least 1; ``rho`` is
    Spearman's rank correlation, NaN where all are equal. ``low`` and ``high`` bound the predictions
    that were measured, ``n`` counts them.
    """

    slope: float
    intercept: float
    factor: float
    rho: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Predictions (P,) and measured mean KL divergences (P,) of allocations, nats.

    ``left_out`` counts the configurations that cannot be compared: their candidates are not all
    scored, or they were quantized in another way than the scores assume.
    """

    names: tuple[str, ...]
    predicted: FloatArray
    kl: FloatArray
    left_out: int


def measured_points(scores: ScoreTable, configurations: Iterable[Configuration]) -> Measured:
    """Bring predictions and measurements together, each allocation once.

    Only what was rounded to nearest under the settings of the scores is compared.
    """
    names, predicted, kl, left_out, seen = [], [], [], 0, set()
    for each in configurations:
        prediction = predict(scores, each.allocation)
        alike = each.method == "nearest" and not each.recalibrations
        if prediction.missing or not alike or each.settings != scores.settings:
            left_out += 1
        elif each.allocation not in seen:
            seen.add(each.allocation)
            names.append(each.name)
            predicted.append(prediction.value)
            kl.append(each.measured.kl)
    return Measured(tuple(names), np.array(predicted), np.array(kl), left_out)


def prediction_error(points: Measured) -> PredictionError | None:
    """Fit measured divergence to predictions, None with fewer than five usable points.

    Points without a logarithm (nothing predicted or nothing lost) say nothing of ratios and are not
    used.
    """
    usable = (points.predicted > 0) & (points.kl > 0)
    x, y = np.log(points.predicted[usable]), np.log(points.kl[usable])
    if len(x) < ENOUGH or np.ptp(x) == 0:
        return None
    slope, intercept = _line(x, y)
    rest = ~np.eye(len(x), dtype=bool)
    distances = []
    for at, others in enumerate(rest):
        if np.ptp(x[others]) == 0:
            return None
        b, a = _line(x[others], y[others])
        distances.append(abs(y[at] - a - b * x[at]))
    rho = correlations(x[None], y[None], np.ones((1, len(x))))[1, 0, -1]
    return PredictionError(
        slope=slope,
        intercept=intercept,
        factor=float(np.exp(np.median(distances))),
        rho=float(rho),
        low=float(np.exp(x.min())),
        high=float(np.exp(x.max())),
        n=len(x),
    )


def _line(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Return slope and intercept of the least squares line."""
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())
