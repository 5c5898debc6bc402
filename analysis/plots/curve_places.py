"""Where the points of an accuracy curve lie: axes, values, and which of them count."""

from analysis.records import Curve, CurvePoint, Measured
from analysis.records.curve import METRIC, RANDOM, SIZE_ONLY

_APART = 0.011  # of the axis, between series at one limit


def axis_title(curve: Curve) -> str:
    """Name the axis of the resource with its unit."""
    return {
        "size": "size (MiB)",
        "size_mib": "size (MiB)",
        "stored_mib": "size with scales (MiB)",
        "bops": "BOPs per sample (millions)",
        "gbops": "BOPs per sample (10⁹)",
        "avg_bits": "average weight bits",
        "act": "peak activation memory (share of 8 bits)",
        "act_mib": "peak activation memory (MiB)",
        "ace": "arithmetic cost ACE (share of w8a8)",
        "latency_ms": "latency by the table (ms)",
    }.get(curve.resource, curve.resource.replace("_", " "))


def axis_value(curve: Curve, point: CurvePoint) -> float:
    """Return what a point costs in the unit of :func:`axis_title`."""
    return {
        "size": point.costs.size_mib,
        "size_mib": point.costs.size_mib,
        "bops": point.costs.bops / 1e6,
        "avg_bits": point.costs.avg_weight_bits,
    }.get(curve.resource, point.used)


def non_dominated_points(curve: Curve) -> frozenset[int]:
    """Return the places of points, random ones not among them, that no other beats.

    A point is beaten by one that costs no more and measures at least as well, and is better in one
    of the two. The intervals are not looked at.
    """
    drawn = [i for i, p in enumerate(curve.points) if curve.series[p.series].kind != RANDOM]

    def beaten(i: int) -> bool:
        one = curve.points[i].used, -merit_of(curve, curve.points[i])
        others = ((curve.points[j].used, -merit_of(curve, curve.points[j])) for j in drawn)
        return any(o[0] <= one[0] and o[1] <= one[1] and o != one for o in others)

    return frozenset(i for i in drawn if not beaten(i))


def merit_of(curve: Curve, point: CurvePoint) -> float:
    """Return what is better when larger."""
    return point.measured.top1 if curve.float_.labelled else -point.measured.kl


def shown(measured: Measured) -> tuple[float, float, float]:
    """Return what is drawn with the ends of its interval."""
    if not measured.labelled:
        return max(measured.kl, 1e-9), float("nan"), float("nan")
    return 100 * measured.top1, 100 * measured.low, 100 * measured.high


def places(curve: Curve) -> list[float]:
    """Return where points are drawn: series of one limit beside each other."""
    low, high = _ends(curve)
    order = [i for i, s in enumerate(curve.series) if s.kind in (METRIC, SIZE_ONLY)]
    middle = (len(order) - 1) / 2
    return [
        axis_value(curve, p)
        + ((order.index(p.series) - middle) * _APART * (high - low) if p.series in order else 0.0)
        for p in curve.points
    ]


def _ends(curve: Curve) -> tuple[float, float]:
    values = [axis_value(curve, p) for p in curve.points]
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5 * abs(low), high + 0.5 * abs(high) or 1.0)


def horizontal(curve: Curve) -> list[float]:
    """Return the ends of the resource's axis."""
    low, high = _ends(curve)
    return [low - 0.05 * (high - low), high + 0.05 * (high - low)]
