"""How far predictions of a metric were off where allocations were measured.

Predictions are held against the measured KL divergence from the float outputs, which every network
has, with labels or without. Across budgets any count of bits predicts well, so the ranking of
random allocations within one budget is given beside that of all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.curves.words import limit_text, point_text
from analysis.prediction import predict
from analysis.ranks import correlations, estimate
from analysis.records import Configuration, Curve, Estimate, FloatArray, ScoreTable
from analysis.records.curve import RANDOM

ENOUGH = 5  # fewer points agree by chance
_RESAMPLES = 500
# What scores assume of how an allocation was quantized.
_METHOD = "nearest"


@dataclass(frozen=True, slots=True)
class Point:
    """A measured allocation with what a metric sums up to for it.

    ``kl`` is its measured mean divergence from float in nats. ``group`` is the same for random
    allocations that were drawn within one limit, and -1 for all others.
    """

    name: str
    predicted: float
    kl: float
    size_mib: float
    group: int = -1


@dataclass(frozen=True, slots=True)
class PredictionError:
    r"""A power law between prediction and measured divergence, and how far points lie from it.

    .. math:: \log \mathrm{KL} \approx a + b \log \hat p

    ``intercept`` is a and ``slope`` b, by least squares; ``factor`` is exp of the median distance
    of each point from the line through all others (leave one out), at least 1. ``low`` and ``high``
    bound the predictions that were measured, ``n`` counts them.
    """

    slope: float
    intercept: float
    factor: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """Predictions of one metric against measurements, each allocation once.

    ``left_out`` counts the measured allocations that cannot be compared: their candidates are not
    all scored, or they were quantized in another way than the scores assume. ``law`` is the fitted
    power law, None where fewer than five points have logarithms that differ. ``rho`` is Spearman's
    correlation over all points, ``within`` Kendall's tau-b over the pairs of random allocations of
    one limit, with 95 % intervals over resampled points; ``rho`` is None for the ``reason`` given.
    ``ratio`` is the median of measured over predicted, ``spread`` the factor around it within which
    half of the points lie; None where one is not positive.
    """

    metric: str
    unit: str
    points: tuple[Point, ...]
    left_out: int
    law: PredictionError | None
    rho: Estimate | None
    within: Estimate | None
    ratio: float | None
    spread: float | None
    reason: str = ""

    @property
    def drawn(self) -> tuple[Point, ...]:
        """The random allocations."""
        return tuple(point for point in self.points if point.group >= 0)


def configuration_calibration(
    scores: ScoreTable, configurations: Iterable[Configuration]
) -> Calibration:
    """Compare what scores predict for configurations with what these measured.

    Only what was rounded to nearest under the settings of the scores is compared.
    """
    points, seen, left_out = [], set(), 0
    for each in configurations:
        prediction = predict(scores, each.allocation)
        # Which layers are held says nothing of how a format is quantized.
        settings = replace(each.settings, pin_first_last=scores.settings.pin_first_last)
        alike = each.method == _METHOD and not each.recalibrations and settings == scores.settings
        if prediction.missing or not alike:
            left_out += 1
        elif each.allocation not in seen:
            seen.add(each.allocation)
            value, kl = prediction.value, each.measured.kl
            points.append(Point(each.name, value, kl, each.costs.size_mib))
    return calibrate(scores.metric, scores.unit, points, left_out)


def curve_calibrations(curve: Curve) -> tuple[Calibration, ...]:
    """Compare what each metric of a curve predicted with what was measured."""
    return tuple(
        calibrate(metric, curve.units[place], *_curve_points(curve, place))
        for place, metric in enumerate(curve.metrics)
    )


def calibrate(metric: str, unit: str, points: Sequence[Point], left_out: int = 0) -> Calibration:
    """Fit and correlate predictions and measurements.

    Args:
        metric: What predicts.
        unit: Of the predictions.
        points: Different allocations, predictions finite.
        left_out: How many others cannot be compared.
    """
    predicted = np.array([point.predicted for point in points])
    kl = np.array([point.kl for point in points])
    rng = np.random.default_rng(0)
    rho, reason = None, ""
    if len(points) < ENOUGH:
        are = "allocation is" if len(points) == 1 else "allocations are"
        reason = f"{len(points) or 'no'} {are} measured and predicted, {ENOUGH} are needed"
    else:
        weights = np.vstack([np.ones(len(kl)), _draws(rng, len(kl))])
        found = correlations(predicted[None], kl[None], weights)[1, :, -1]
        rho = estimate(float(found[0]), found[1:])
        reason = "" if rho else "nearly all predictions or measurements are equal"
    ratio, spread = _ratio(predicted, kl)
    return Calibration(
        metric=metric,
        unit=unit,
        points=tuple(points),
        left_out=left_out,
        law=_law(predicted, kl),
        rho=rho,
        within=_within(points, rng),
        ratio=ratio,
        spread=spread,
        reason=reason,
    )


def _curve_points(curve: Curve, metric: int) -> tuple[list[Point], int]:
    """Return each measured allocation once, and how many cannot be compared."""
    points: dict[str, Point] = {}
    left_out = set()
    for each in sorted(curve.points, key=lambda p: p.used):
        series = curve.series[each.series]
        value = float(each.predicted[metric])
        if series.method != _METHOD or not np.isfinite(value):
            left_out.add(each.configuration)
            continue
        drawn = series.kind == RANDOM
        known = points.get(each.configuration)
        if known is None or (drawn and known.group < 0):
            name = f"{point_text(curve, each)} at {limit_text(curve, each.place)}"
            group = each.place if drawn else -1
            points[each.configuration] = Point(
                name, value, each.measured.kl, each.costs.size_mib, group
            )
    return list(points.values()), len(left_out)


def _law(predicted: FloatArray, kl: FloatArray) -> PredictionError | None:
    """Fit the power law to the points that have logarithms."""
    usable = (predicted > 0) & (kl > 0)
    x, y = np.log(predicted[usable]), np.log(kl[usable])
    if len(x) < ENOUGH or np.ptp(x) == 0:
        return None
    slope, intercept = _line(x, y)
    distances = []
    for at, others in enumerate(~np.eye(len(x), dtype=bool)):
        if np.ptp(x[others]) == 0:
            return None
        b, a = _line(x[others], y[others])
        distances.append(abs(y[at] - a - b * x[at]))
    return PredictionError(
        slope=slope,
        intercept=intercept,
        factor=float(np.exp(np.median(distances))),
        low=float(np.exp(x.min())),
        high=float(np.exp(x.max())),
        n=len(x),
    )


def _line(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Return slope and intercept of the least squares line."""
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())


def _within(points: Sequence[Point], rng: np.random.Generator) -> Estimate | None:
    """Return tau-b over all pairs of one group, each group resampled for itself."""
    groups: dict[int, list[Point]] = {}
    for point in points:
        if point.group >= 0:
            groups.setdefault(point.group, []).append(point)
    groups = {name: own for name, own in groups.items() if len(own) > 1}
    if sum(map(len, groups.values())) < ENOUGH:
        return None
    sums = np.zeros((3, 1 + _RESAMPLES))
    for own in groups.values():
        weights = np.vstack([np.ones(len(own)), _draws(rng, len(own))])
        x, y = (np.array(v) for v in zip(*((p.predicted, p.kl) for p in own), strict=True))
        a, b = (np.sign(v[:, None] - v) for v in (x, y))
        for place, signs in enumerate((a * b, a * a, b * b)):
            sums[place] += ((weights @ signs) * weights).sum(1)
    both, x_pairs, y_pairs = sums
    tau = np.full(len(both), np.nan)
    some = (x_pairs > 0) & (y_pairs > 0)
    np.divide(both, np.sqrt(x_pairs * y_pairs), out=tau, where=some)
    return estimate(float(tau[0]), tau[1:])


def _draws(rng: np.random.Generator, count: int) -> FloatArray:
    """Return how often each of ``count`` points is drawn in each resample."""
    return rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES).astype(np.float64)


def _ratio(predicted: FloatArray, measured: FloatArray) -> tuple[float | None, float | None]:
    """Return the median of measured over predicted and the factor that holds half of them."""
    if not len(predicted) or (predicted <= 0).any() or (measured <= 0).any():
        return None, None
    logs = np.log(measured / predicted)
    middle = float(np.median(logs))
    return float(np.exp(middle)), float(np.exp(np.median(np.abs(logs - middle))))
