"""Multiple-choice knapsack with HiGHS, made exact.

HiGHS works to tolerances: 1e-6 on a row and 1e-6 absolute on the optimum. So every budget row is
divided by its common factor and scaled to a right side of 1 with half a unit of room, values are
scaled until the optimum is near 1e4, and a choice that still slips over a budget in whole numbers
is cut off and the search repeated.
"""

from dataclasses import dataclass
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
    """One mixed-integer program: a binary per usable choice, a share per group and format."""

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
        self.pairs = [
            (i, k) for i, own in enumerate(usable) for k in own if shifted[i][k] <= best_value
        ]
        self.scale = scale
        self.layers = len(usable)
        self.cost = np.array([shifted[i][k] * scale for i, k in self.pairs])
        self._entries: list[tuple[int, int, float]] = []
        self._limits: list[tuple[float, float]] = []
        column = {pair: n for n, pair in enumerate(self.pairs)}
        for i in range(self.layers):
            self._add([(column[i, k], 1.0) for k in usable[i] if (i, k) in column], 1.0, 1.0)
        for row in rows:
            terms = [(column[i, k], v) for i, k, v in row if (i, k) in column]
            self._add(terms, -np.inf, _RIGHT)
        self.columns = len(self.pairs)
        for group in problem.groups:
            self._link(problem, group)

    def run(self, seconds: float, gap: float) -> tuple[tuple[int, ...] | None, float, bool]:
        """Return the choice, a lower bound and whether the search came to its end."""
        binary = np.arange(self.columns) < len(self.pairs)
        row, col, value = zip(*self._entries, strict=True)
        matrix = coo_array((value, (row, col)), shape=(len(self._limits), self.columns)).tocsr()
        low, high = np.array(self._limits).T
        with no_native_output():
            found = milp(
                np.concatenate([self.cost, np.zeros(self.columns - len(self.pairs))]),
                integrality=binary.astype(np.int64),
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

    def _choice(self, x: FloatArray) -> tuple[int, ...]:
        best: dict[int, tuple[float, int]] = {}
        for (i, k), share in zip(self.pairs, x, strict=False):
            best[i] = max(best.get(i, (-1.0, -1)), (float(share), k))
        return tuple(best[i][1] for i in range(self.layers))

    def _link(self, problem: Problem, group: tuple[int, ...]) -> None:
        if len(group) < 2:
            return
        formats = {problem.candidates[i][k].activation for i, k in self.pairs if i in group}
        for name in sorted(formats):
            share = self.columns
            self.columns += 1
            for i in group:
                own = [
                    (n, 1.0)
                    for n, (layer, k) in enumerate(self.pairs)
                    if layer == i and problem.candidates[i][k].activation == name
                ]
                self._add([*own, (share, -1.0)], 0.0, 0.0)

    def _add(self, terms: list[tuple[int, float]], low: float, high: float) -> None:
        self._entries += [(len(self._limits), column, value) for column, value in terms]
        self._limits.append((low, high))
