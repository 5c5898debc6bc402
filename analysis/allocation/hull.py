r"""The linear relaxation of a one-budget problem, solved by a walk along convex hulls.

The layers of an activation group act as one: for each activation format its possible (cost, score)
points are sums over members, and only the lower convex hull of all of them matters to the
relaxation. Groups start at their cheapest point; the edges of all hulls, steepest first, are the
steps of the walk. Stopping inside an edge gives the optimum of the relaxation, a lower bound on
every allocation (Sinha and Zoltners 1979, doi:10.1287/opre.27.3.503).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import fsum

import numpy as np

from analysis.allocation.feasible import formats
from analysis.allocation.problem import Problem
from analysis.records import FloatArray, IntArray

Costs = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """What the members of a group cost and score together; ``choice`` has one index a member."""

    cost: int
    score: float
    choice: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """An edge of a group's hull: more ``cost`` (> 0) lowers the score by ``gain`` (> 0)."""

    group: int
    cost: int
    gain: float
    choice: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a walk starts, one point a group, and its steps, steepest first."""

    start: tuple[Point, ...]
    steps: tuple[Step, ...]

    @property
    def cost(self) -> int:
        """Cost of the start, the least there is."""
        return sum(point.cost for point in self.start)

    def bound(self, limit: int) -> float:
        """Return the optimum of the relaxation within a limit; infinite if nothing fits."""
        room = limit - self.cost
        if room < 0:
            return float("inf")
        terms = [point.score for point in self.start]
        for step in self.steps:
            terms.append(-step.gain * min(1.0, room / step.cost))
            room -= step.cost
            if room <= 0:
                break
        return fsum(terms)

    def price(self, limit: int) -> float:
        """Return what one more unit of the limit would gain in the relaxation."""
        room = limit - self.cost
        for step in self.steps:
            if step.cost > room:
                return step.gain / step.cost
            room -= step.cost
        return 0.0

    def bounds(self, limits: IntArray) -> FloatArray:
        """Return the optimum of the relaxation within each of many limits, none below the start."""
        costs = np.cumsum([self.cost, *(step.cost for step in self.steps)], dtype=np.float64)
        first = fsum(point.score for point in self.start)
        scores = np.cumsum([first, *(-step.gain for step in self.steps)])
        return np.asarray(np.interp(limits, costs, scores))


def walk(problem: Problem, scores: tuple[tuple[float, ...], ...], costs: Costs) -> Walk:
    """Lay out the walk of a problem under one row of costs.

    Args:
        problem: Gives the candidates and the groups.
        scores: One score per layer and candidate.
        costs: One whole number per layer and candidate.
    """
    hulls = [
        _hull(
            point
            for name in formats(problem, group)
            for point in _path(problem, scores, costs, group, name)
        )
        for group in problem.groups
    ]
    steps = [
        Step(g, after.cost - before.cost, before.score - after.score, after.choice)
        for g, points in enumerate(hulls)
        for before, after in pairwise(points)
    ]
    # The sort is stable: equally steep edges of one hull keep their order.
    steps.sort(key=lambda step: -step.gain / step.cost)
    return Walk(tuple(points[0] for points in hulls), tuple(steps))


def spread(problem: Problem, chosen: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """Return one choice per layer from one choice per member of every group."""
    choice = [-1] * len(problem.candidates)
    for group, own in zip(problem.groups, chosen, strict=True):
        for i, k in zip(group, own, strict=True):
            choice[i] = k
    return tuple(choice)


def _path(
    problem: Problem,
    scores: tuple[tuple[float, ...], ...],
    costs: Costs,
    group: tuple[int, ...],
    name: str,
) -> list[Point]:
    """Return the hull of a group in one format: the hulls of its members, edges merged."""
    hulls = [
        _hull(
            Point(costs[i][k], scores[i][k], (k,))
            for k, candidate in enumerate(problem.candidates[i])
            if candidate.activation == name
        )
        for i in group
    ]
    edges = sorted(
        (_slope(before, after), member, at)
        for member, points in enumerate(hulls)
        for at, (before, after) in enumerate(pairwise(points))
    )
    at = [0] * len(group)
    path = [_sum(hulls, at)]
    for _, member, _ in edges:
        at[member] += 1
        path.append(_sum(hulls, at))
    return path


def _sum(hulls: list[list[Point]], at: list[int]) -> Point:
    points = [own[place] for own, place in zip(hulls, at, strict=True)]
    return Point(
        sum(p.cost for p in points),
        fsum(p.score for p in points),
        tuple(p.choice[0] for p in points),
    )


def _hull(points: Iterable[Point]) -> list[Point]:
    """Return the falling part of the lower convex hull, from the cheapest point on."""
    hull: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, p.score)):
        if hull and point.score >= hull[-1].score:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _slope(before: Point, after: Point) -> float:
    return (after.score - before.score) / (after.cost - before.cost)
