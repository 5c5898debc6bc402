"""Measured accuracy against a resource, for several ways to choose bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.records.allocation import Allocation, Budget, Costs
from analysis.records.base import FloatArray, Record
from analysis.records.candidates import Candidate, QuantSettings
from analysis.records.measurement import Paired

# Kinds of series: what a metric leads to, and what it must beat.
METRIC, SIZE_ONLY, UNIFORM, RANDOM = "metric", "size_only", "uniform", "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Record):
    """What was measured of one network; shares in 0..1, NaN where there are no labels.

    ``low`` and ``high`` are the 95 % Wilson interval of ``top1`` over ``n`` samples, ``kl`` is the
    mean KL divergence from the float outputs in nats, ``agreement`` the share of equal predictions.
    """

    n: int
    labelled: bool
    top1: float
    low: float
    high: float
    kl: float
    agreement: float

    @property
    def merit(self) -> tuple[float, float]:
        """Orders measurements: higher accuracy first, then (or without labels) less divergence."""
        return (self.top1 if self.labelled else 0.0, -self.kl)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series(Record):
    """A way to choose bits and to quantize.

    ``kind`` is :data:`METRIC` or a baseline: :data:`SIZE_ONLY` (through the same solver, or milp
    where that needs interactions), :data:`UNIFORM` or :data:`RANDOM`, without metric and solver.
    """

    kind: str
    metric: str
    solver: str
    method: str


def baseline_of(series: Sequence[Series], own: int) -> int | None:
    """Return the place of the size-only series to compare one with; see :meth:`Curve.baseline`."""
    if series[own].kind == SIZE_ONLY:
        return None
    found = [
        i
        for i, each in enumerate(series)
        if each.kind == SIZE_ONLY and each.method == series[own].method
    ]
    same = [i for i in found if series[i].solver == series[own].solver]
    return next(iter(same + found), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint(Record):
    """An allocation of one series within one limit: its cost, predictions and measurement.

    ``series`` and ``place`` are places among the curve's series and limits. A uniform allocation is
    listed once, at the smallest limit that it fits. ``used`` is of the resource, in its unit.
    ``predicted`` (M,) holds what each metric of the curve sums up to, NaN where one does not score
    it. ``status`` and ``gap`` are the solver's. ``configuration`` is the key of the stored
    measurement. ``versus_size_only`` compares with the size-only baseline of the same limit and
    method on the same samples (:meth:`Curve.baseline`), ``versus_best`` with the best series of the
    same limit (positive when this one is better); None where there is no partner or no comparison
    is meant.
    """

    series: int
    place: int
    allocation: Allocation
    costs: Costs
    used: float
    predicted: FloatArray
    status: str
    gap: float | None
    configuration: str
    measured: Measured
    versus_size_only: Paired | None = None
    versus_best: Paired | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent(Record):
    """A point that there is not, and why; ``place`` is -1 where the whole series is absent."""

    series: int
    place: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve(Record):
    """Allocations of several series within several limits of one resource, measured.

    ``units`` (M,) are those of the predictions of ``metrics``, the size-only baseline not among
    them. ``best`` holds, for each limit, the place in ``points`` of the metric or size-only series
    with the highest accuracy (without labels the least divergence), -1 where there is none.
    ``float_`` is the float network on the same samples, ``evaluation`` their digest. Of ``random``
    allocations a limit, drawn from ``seed``, there may be fewer. ``pins`` are candidates that
    layers have in every allocation, ``ties`` names of layers that have one candidate together.
    ``complete`` is False while points are still to be measured.
    """

    resource: str
    limits: tuple[float, ...]
    fixed: tuple[Budget, ...]
    metrics: tuple[str, ...]
    units: tuple[str, ...]
    series: tuple[Series, ...]
    points: tuple[CurvePoint, ...]
    absent: tuple[Absent, ...]
    best: tuple[int, ...]
    float_: Measured
    random: int
    seed: int
    candidates: tuple[Candidate, ...]
    settings: QuantSettings
    evaluation: str
    seconds: float
    pins: Mapping[str, Candidate]
    ties: tuple[tuple[str, ...], ...]
    complete: bool = True
    schema: int = 2

    def at(self, series: int, place: int) -> CurvePoint | None:
        """Return the first point of a series within a limit, None if there is none."""
        found = (p for p in self.points if p.series == series and p.place == place)
        return next(found, None)

    def baseline(self, series: int) -> int | None:
        """Return the size-only series that a series is compared with, None if there is none.

        It has the same method, and the same solver where that is one of the baseline's.
        """
        return baseline_of(self.series, series)

    def of_kind(self, kind: str) -> tuple[CurvePoint, ...]:
        """Return all points whose series are of one kind."""
        return tuple(p for p in self.points if self.series[p.series].kind == kind)
