"""Multiple-choice knapsack with HiGHS, made exact.

HiGHS works to tolerances: 1e-6 on a row and 1e-6 absolute on the optimum. So every budget row is
divided by its common factor and scaled to a right side of 1 with half a unit of room, values are
scaled until the optimum is near 1e4, and a choice that still slips over a budget in whole numbers
is cut off and the search repeated.
"""

from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from math import fsum, gcd
from time import perf_counter

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from analysis.allocation.budgets import CostRow
from analysis.allocation.problem import Problem
from analysis.allocation.quiet import no_native_output
from analysis.allocation.solvers import FEASIBLE, OPTIMAL, TIMEOUT
from analysis.errors import AllocationError
from analysis.records import FloatArray

_TARGET = 1e4  # scaled optimum, far above HiGHS's absolute tolerance of 1e-6
_GOOD_ENOUGH = 1e2
_RIGHT = 1.0  # right side of a scaled row
_CERTIFIED = 1e-7
_ROUNDS = 60

Table = tuple[tuple[float, ...], ...]
Terms = list[tuple[int, int, float]]  # layer, choice, coefficient; their sum is <= _RIGHT


@dataclass(frozen=True, slots=True)
class Minimum:
    """The best choice found (None if none exists), a lower bound on any, and what is proven."""

    choice: tuple[int, ...] | None
    lower_bound: float
    status: str


def minimise(
    problem: Problem,
    values: Table,
    rows: tuple[CostRow, ...],
    *,
    time_limit: float,
    relative_gap: float,
) -> Minimum:
    """Choose one candidate per layer with the least summed value within the given rows.

    Args:
        problem: Gives the candidates and the activation groups.
        values: What is summed, one value per layer and candidate, of any sign.
        rows: The budgets to keep; the problem's own are not looked at.
        time_limit: Seconds in all.
        relative_gap: Stop when the value, above the sum of each layer's least, is this close.

    Returns:
        The minimum, every budget checked in whole numbers.

    Raises:
        AllocationError: If the time is over before any allocation was found.
    """
    offsets = [min(own) for own in values]
    shifted = [[v - low for v in own] for own, low in zip(values, offsets, strict=True)]
    usable, cuts = _reduce(problem, rows)
    if not usable:
        return Minimum(None, float("inf"), OPTIMAL)
    deadline = perf_counter() + time_limit
    best: tuple[int, ...] | None = None
    best_value, bound, ended = float("inf"), 0.0, True
    scale = _TARGET / max(max(max(own) for own in shifted), 1e-300)
    for _ in range(_ROUNDS):
        remaining = max(deadline - perf_counter(), 0.01)
        model = _Model(problem, shifted, usable, cuts, scale, best_value)
        choice, found_bound, ended = model.run(remaining, relative_gap)
        if choice is None:
            break
        broken = [row for row in rows if row.total(choice) > row.limit]
        if broken:
            cuts += [_cover_cut(row, choice) for row in broken]
            continue
        value = fsum(own[k] for own, k in zip(shifted, choice, strict=True))
        if value < best_value:
            best, best_value = choice, value
        if best_value == 0 or best_value * scale >= _GOOD_ENOUGH:
            bound = found_bound
            break
        # An optimum this small drowns in the tolerance, and so does its bound.
        if not ended:
            break
        scale = _TARGET / best_value
    if best is None:
        if ended and choice is None:
            return Minimum(None, float("inf"), OPTIMAL)
        raise AllocationError(
            f"The solver must find an allocation within {time_limit:g} s and {_ROUNDS} rounds, got "
            f"none and no proof that there is none; raise its time limit or loosen a budget."
        )
    bound = min(bound, best_value)
    proven = best_value - bound <= _CERTIFIED * best_value
    status = OPTIMAL if proven else FEASIBLE if ended else TIMEOUT
    return Minimum(best, fsum(offsets) + bound, status)


def _reduce(problem: Problem, rows: tuple[CostRow, ...]) -> tuple[list[list[int]], list[Terms]]:
    """Scale rows to one right side; return the choices that can fit and the rows.

    Costs are counted above each layer's cheapest choice and divided by their common factor, which
    keeps most rows in small whole numbers. No usable choice at all means that a row cannot be met.
    """
    usable = [list(range(len(own))) for own in problem.candidates]
    reduced: list[Terms] = []
    for row in rows:
        extra = [[c - min(own) for c in own] for own in row.costs]
        room = row.limit - row.fixed - sum(min(own) for own in row.costs)
        if room < 0:
            return [], []
        if sum(max(own) for own in extra) <= room:
            continue  # Nothing can break it: most moments of a pass are far below the peak.
        factor = gcd(*(c for own in extra for c in own)) or 1
        step = _RIGHT / (room // factor + 0.5)
        usable = [[k for k in own if extra[i][k] <= room] for i, own in enumerate(usable)]
        terms = [
            (i, k, c // factor * step)
            for i, own in enumerate(extra)
            for k, c in enumerate(own)
            if 0 < c <= room
        ]
        reduced.append(terms)
    if not all(usable):
        return [], []
    return usable, reduced


def _cover_cut(row: CostRow, choice: tuple[int, ...]) -> Terms:
    """Exclude a choice that breaks a row, and all that cost at least as much in every layer."""
    step = _RIGHT / (len(choice) - 0.5)
    return [
        (i, k, step)
        for i, (own, chosen) in enumerate(zip(row.costs, choice, strict=True))
        for k, cost in enumerate(own)
        if cost >= own[chosen]
    ]


class _Model:
    """One mixed-integer program: per layer a chain of binaries, 1 up to the choice, 0 from there.

    A layer's choices are in order of formats, then of falling values. Choice k is taken where the
    chain falls, z[k - 1] - z[k] = 1, with a 1 before its first member and a 0 after its last. So a
    branch splits the order in two parts, not in one choice and all others: fewer nodes. Column 0
    is the constant 1.
    """

    def __init__(
        self,
        problem: Problem,
        shifted: list[list[float]],
        usable: list[list[int]],
        rows: list[Terms],
        scale: float,
        best_value: float,
    ) -> None:
        # Values are not negative, so no better allocation holds a choice worse than all of one.
        places = [
            sorted((problem.candidates[i][k].activation, -shifted[i][k], k) for k in own)
            for i, own in enumerate(usable)
        ]
        self.orders = [[k for _, v, k in own if -v <= best_value] for own in places]
        self.scale = scale
        sizes = [len(order) - 1 for order in self.orders]
        self.first = list(accumulate(sizes, initial=1))
        self.columns = self.first[-1]
        self.cost = np.zeros(self.columns)
        self._entries: list[tuple[int, int, float]] = []
        self._limits: list[tuple[float, float]] = []
        self._add([(0, 1.0)], 1.0, 1.0)
        where = {(i, k): at for i, order in enumerate(self.orders) for at, k in enumerate(order)}
        for (i, k), at in where.items():
            for column, sign in self._taken(i, at):
                self.cost[column] += sign * shifted[i][k] * scale
        for first, size in zip(self.first, sizes, strict=False):
            for column in range(first, first + size - 1):
                self._add([(column, 1.0), (column + 1, -1.0)], 0.0, np.inf)
        for row in rows:
            terms = [
                (column, sign * v)
                for i, k, v in row
                if (i, k) in where
                for column, sign in self._taken(i, where[i, k])
            ]
            self._add(terms, -np.inf, _RIGHT)
        for group in problem.groups:
            self._link(problem, group)

    def run(self, seconds: float, gap: float) -> tuple[tuple[int, ...] | None, float, bool]:
        """Return the choice, a lower bound and whether the search came to its end."""
        row, col, value = zip(*self._entries, strict=True)
        matrix = coo_array((value, (row, col)), shape=(len(self._limits), self.columns)).tocsr()
        low, high = np.array(self._limits).T
        with no_native_output():
            found = milp(
                self.cost,
                integrality=np.ones(self.columns, dtype=np.int64),
                bounds=Bounds(0, 1),
                constraints=LinearConstraint(matrix, low, high),
                options={"time_limit": seconds, "mip_rel_gap": gap},
            )
        if found.status not in (0, 1, 2):
            raise AllocationError(
                f"The solver must end with a result, got: {found.message} Try another solver."
            )
        dual = found.mip_dual_bound
        bound = dual / self.scale if dual is not None and np.isfinite(dual) else 0.0
        choice = None if found.x is None else self._choice(found.x)
        return choice, max(bound, 0.0), found.status != 1

    def _chain(self, layer: int, at: int) -> int | None:
        """Return the column after the choice at a place: 1 if a later one is taken, None if 0."""
        if at < 0:
            return 0
        return self.first[layer] + at if at < len(self.orders[layer]) - 1 else None

    def _taken(self, layer: int, at: int) -> list[tuple[int, float]]:
        """Return the terms whose sum is 1 if the choice at a place is taken, else 0."""
        ends = (self._chain(layer, at - 1), 1.0), (self._chain(layer, at), -1.0)
        return [(column, sign) for column, sign in ends if column is not None]

    def _choice(self, x: FloatArray) -> tuple[int, ...]:
        taken = [
            [
                fsum(sign * x[column] for column, sign in self._taken(i, at))
                for at in range(len(own))
            ]
            for i, own in enumerate(self.orders)
        ]
        return tuple(
            order[int(np.argmax(own))] for order, own in zip(self.orders, taken, strict=True)
        )

    def _link(self, problem: Problem, group: tuple[int, ...]) -> None:
        """Let all layers of a group be past a format, or none: choices are in order of formats."""
        formats = [[problem.candidates[i][k].activation for k in self.orders[i]] for i in group]
        for name in sorted({f for own in formats for f in own})[:-1]:
            past = [
                self._chain(i, bisect(own, name) - 1) for i, own in zip(group, formats, strict=True)
            ]
            for column in past[1:]:
                ends = (past[0], 1.0), (column, -1.0)
                self._add([(c, sign) for c, sign in ends if c is not None], 0.0, 0.0)

    def _add(self, terms: list[tuple[int, float]], low: float, high: float) -> None:
        self._entries += [(len(self._limits), column, value) for column, value in terms]
        self._limits.append((low, high))
