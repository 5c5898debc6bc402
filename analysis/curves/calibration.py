"""How far a metric's predictions tell what allocations measure.

Predictions are held against the measured KL divergence from the float outputs, which every network
has, with labels or without. Across budgets any count of bits predicts well, so the ranking of
random allocations within one budget is given beside that of all.
"""

from dataclasses import dataclass

import numpy as np

from analysis.ranks import correlations, estimate
from analysis.records import Curve, CurvePoint, Estimate, FloatArray
from analysis.records.curve import RANDOM

_RESAMPLES = 500
_FEWEST = 5  # fewer points agree by chance


@dataclass(frozen=True, slots=True)
class Calibration:
    """Predictions of one metric against measurements, both over different allocations.

    ``rho`` is Spearman's correlation over all ``n`` allocations, ``within`` Kendall's tau-b among
    random allocations of one limit (``random`` allocations in all), with
    95 % intervals over resampled allocations; None for the ``reason`` that is given. ``factor`` is
    the median of measured over predicted, ``spread`` the factor around it within which half of the
    allocations lie; None where a prediction or measurement is not positive.
    """

    metric: str
    unit: str
    n: int
    rho: Estimate | None
    random: int
    within: Estimate | None
    factor: float | None
    spread: float | None
    reason: str = ""


def calibrations(curve: Curve) -> tuple[Calibration, ...]:
    """Return the calibration of every metric of a curve."""
    return tuple(_calibration(curve, place) for place in range(len(curve.metrics)))


def calibration_points(curve: Curve, metric: int) -> tuple[CurvePoint, ...]:
    """Return the points that calibrate a metric, each measured allocation once."""
    known = {p.configuration: p for p in reversed(curve.points)}
    points = sorted(known.values(), key=lambda p: p.used)
    return tuple(p for p in points if np.isfinite(p.predicted[metric]))


def _calibration(curve: Curve, metric: int) -> Calibration:
    points = calibration_points(curve, metric)
    predicted = np.array([p.predicted[metric] for p in points])
    measured = np.array([p.measured.kl for p in points])
    rng = np.random.default_rng(0)
    rho = None
    reason = ""
    if len(points) < _FEWEST:
        reason = f"{len(points)} allocations are measured, a calibration needs {_FEWEST}"
    else:
        rho = _correlation(predicted[None], measured[None], rng, spearman=True)
        if rho is None:
            reason = "nearly all predictions are equal"
    x, y = _random(curve, metric)
    within = _correlation(x, y, rng, spearman=False) if x.shape[1] >= _FEWEST else None
    factor, spread = _ratio(predicted, measured)
    return Calibration(
        metric=curve.metrics[metric],
        unit=curve.units[metric],
        n=len(points),
        rho=rho,
        random=x.size,
        within=within,
        factor=factor,
        spread=spread,
        reason=reason,
    )


def _random(curve: Curve, metric: int) -> tuple[FloatArray, FloatArray]:
    """Return predictions and measurements (K, R) of the random allocations of each limit.

    Limits with fewer different allocations than the others, as the narrowest has, are left out.
    """
    rows = []
    for series in (i for i, each in enumerate(curve.series) if each.kind == RANDOM):
        for place in range(len(curve.limits)):
            here = [p for p in curve.points if (p.series, p.place) == (series, place)]
            known = {p.configuration: p for p in here if np.isfinite(p.predicted[metric])}
            rows.append([(float(p.predicted[metric]), p.measured.kl) for p in known.values()])
    width = max((len(row) for row in rows), default=0)
    if not width:
        return np.zeros((0, 0)), np.zeros((0, 0))
    full = np.array([row for row in rows if len(row) == width])
    return full[..., 0], full[..., 1]


def _correlation(
    x: FloatArray, y: FloatArray, rng: np.random.Generator, *, spearman: bool
) -> Estimate | None:
    count = x.shape[1]
    draws = rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
    found = correlations(x, y, np.vstack([np.ones(count), draws]))[int(spearman), :, -1]
    return estimate(float(found[0]), found[1:])


def _ratio(predicted: FloatArray, measured: FloatArray) -> tuple[float | None, float | None]:
    """Return the median of measured over predicted and the factor that holds half of them."""
    if not len(predicted) or (predicted <= 0).any() or (measured <= 0).any():
        return None, None
    logs = np.log(measured / predicted)
    middle = float(np.median(logs))
    return float(np.exp(middle)), float(np.exp(np.median(np.abs(logs - middle))))
