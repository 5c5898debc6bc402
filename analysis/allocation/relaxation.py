"""The linear relaxation under several budgets, for the prices that it puts on them."""

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

from analysis.allocation.feasible import formats
from analysis.allocation.problem import Problem
from analysis.allocation.quiet import no_native_output
from analysis.records import FloatArray

Entry = tuple[int, int, float]

_WEIGHT = 2.0**80  # whole numbers for weights, which keep the bound exact


def as_one_row(problem: Problem) -> tuple[tuple[tuple[int, ...], ...], int]:
    r"""Return one row of costs, and its limit, that every allocation within all budgets keeps.

    Of several budgets it is the weighted sum :math:`\sum_r w_r c^r \le \sum_r w_r B_r` with the
    weights that make its linear relaxation as tight as that of all of them.
    """
    rows = problem.rows
    if len(rows) == 1:
        return rows[0].costs, rows[0].limit - rows[0].fixed
    worth = prices(problem) if rows else np.zeros(0)
    rooms = [row.limit - row.fixed - sum(min(own) for own in row.costs) for row in rows]
    weights = [
        int(_WEIGHT * w / worth.max()) // max(room, 1) for w, room in zip(worth, rooms, strict=True)
    ]
    costs = tuple(
        tuple(
            sum(w * row.costs[i][k] for w, row in zip(weights, rows, strict=True))
            for k in range(len(own))
        )
        for i, own in enumerate(problem.candidates)
    )
    return costs, sum(w * (row.limit - row.fixed) for w, row in zip(weights, rows, strict=True))


def prices(problem: Problem) -> FloatArray:
    """Return what one unit of each budget's room is worth in the relaxation; >= 0, shape (R,).

    Room is the limit minus the least cost of every layer; scores are divided by their range. All 1
    where no budget is worth anything or HiGHS finds no optimum.

    Args:
        problem: Candidates, scores, budgets and groups.
    """
    pairs = [(i, k) for i, own in enumerate(problem.candidates) for k in range(len(own))]
    column = {pair: n for n, pair in enumerate(pairs)}
    low = [min(own) for own in problem.scores]
    value = np.array([problem.scores[i][k] - low[i] for i, k in pairs])
    inside: list[Entry] = []
    room = []
    for r, row in enumerate(problem.rows):
        least = [min(own) for own in row.costs]
        room.append(max(row.limit - row.fixed - sum(least), 1))
        inside += [(r, n, (row.costs[i][k] - least[i]) / room[r]) for n, (i, k) in enumerate(pairs)]
    equal: list[Entry] = [(i, column[i, k], 1.0) for i, k in pairs]
    right = [1.0] * len(problem.candidates)
    shares = 0
    for group in problem.groups:
        for name in formats(problem, group) if len(group) > 1 else ():
            for i in group:
                own = [k for k, c in enumerate(problem.candidates[i]) if c.activation == name]
                equal += [(len(right), column[i, k], 1.0) for k in own]
                equal.append((len(right), len(pairs) + shares, -1.0))
                right.append(0.0)
            shares += 1
    width = len(pairs) + shares
    with no_native_output():
        found = linprog(  # type: ignore[call-overload]  # its stubs know no sparse matrix
            np.concatenate([value / max(value.max(), 1e-300), np.zeros(shares)]),
            A_ub=_matrix(inside, len(problem.rows), width),
            b_ub=np.ones(len(problem.rows)),
            A_eq=_matrix(equal, len(right), width),
            b_eq=right,
            bounds=(0, None),
            method="highs",
        )
    worth = np.zeros(len(room)) if found.status else np.maximum(-found.ineqlin.marginals, 0.0)
    return worth if worth.max() > 0 else np.ones(len(room))


def _matrix(entries: list[Entry], height: int, width: int) -> coo_array:
    row, column, value = zip(*entries, strict=True)
    return coo_array((value, (row, column)), shape=(height, width))
