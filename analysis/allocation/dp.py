"""The whole curve of one budget in one sweep: dynamic programming over costs."""

from dataclasses import dataclass
from math import gcd

import numpy as np

from analysis.allocation.budgets import budgets_of
from analysis.allocation.feasible import fitting
from analysis.allocation.hull import walk
from analysis.allocation.problem import Problem
from analysis.allocation.solvers import FEASIBLE, OPTIMAL, SOLVERS, Answer
from analysis.allocation.tabulation import Layout, layout, tabulate
from analysis.errors import AllocationError
from analysis.options import Options, option
from analysis.records import FloatArray, IntArray

_CELLS = 100_000
_CERTIFIED = 1e-7


@dataclass(frozen=True, slots=True)
class Curve:
    """Allocations of rising cost and falling score, none of them dominated; P points.

    ``costs`` are totals in the row's whole numbers, ``choices`` has shape (P, L). No allocation of
    at most ``costs[p]`` scores less than ``lower_bounds[p]``; where ``exact``, that is
    ``objectives[p]`` itself. Costs were rounded to multiples of ``cell``, which loses nothing where
    ``exact``.
    """

    costs: IntArray
    objectives: FloatArray
    lower_bounds: FloatArray
    choices: IntArray
    exact: bool
    cell: int

    def choice(self, point: int) -> tuple[int, ...]:
        """Return the choice at a point, one index per layer."""
        return tuple(int(k) for k in self.choices[point])


@dataclass(frozen=True, slots=True)
class DpOptions(Options):
    """How finely costs are counted."""

    cells: int = option(
        _CELLS,
        low=100,
        high=5_000_000,
        help="Steps that the budget is divided into; take 500 per layer or more.",
    )


@SOLVERS.register(
    "dp",
    title="Dynamic programming",
    answers="Which allocation has the least summed score within one budget, from a table of all "
    "costs?",
    reference="Kellerer, Pferschy and Pisinger 2004, Knapsack Problems, section 11.5, "
    "doi:10.1007/978-3-540-24777-7",
    options=DpOptions,
)
def dp(problem: Problem, options: DpOptions) -> Answer:
    """Minimise the summed score within one budget.

    Exact where the costs, divided by their common factor, fit in ``cells`` steps. Otherwise costs
    are rounded up to steps, so that every answer fits; the lower bound is that of a second table
    with costs rounded down, or of the linear relaxation where that is higher. The loss is that of a
    budget smaller by less than one step per layer.

    Args:
        problem: Candidates, scores, one budget and groups.
        options: The number of steps.

    Raises:
        AllocationError: If there is not exactly one budget.
        InfeasibleBudgetError: If no allocation fits, with the nearest limit that does.
    """
    _check(problem)
    fitting(problem)
    row = problem.rows[0]
    grid = _grid(problem, options.cells, row.limit)
    upper = tabulate(grid.plan, grid.capacity, grid.cell, up=True)
    choice = tuple(int(k) for k in upper.choices(np.array([grid.capacity]))[0])
    objective = problem.objective(choice)
    if grid.exact:
        return Answer(choice, OPTIMAL, objective)
    lower = tabulate(grid.plan, grid.capacity, grid.cell, up=False, trace=False)
    relaxed = walk(problem, problem.scores, row.costs).bound(row.limit - row.fixed)
    bound = max(float(lower.values[-1]), relaxed)
    note = (
        f"Costs were rounded up to steps of {row.in_unit(grid.cell):.3g} in the budget's unit, "
        f"which wastes less than one step for each of {len(problem.candidates)} layers. More "
        f"steps, or milp, come closer."
    )
    proven = objective - bound <= _CERTIFIED * abs(objective)
    return Answer(choice, OPTIMAL if proven else FEASIBLE, bound, (note,))


def curve(problem: Problem, *, cells: int = _CELLS, limit: int | None = None) -> Curve:
    """Return every cost at which the least score falls, and an allocation that has it.

    Args:
        problem: Candidates, scores, one row of costs and groups; the row's own limit is not read.
        cells: Steps that the range of costs is divided into where it cannot be counted exactly.
        limit: The largest total, in the row's whole numbers; None for no limit.

    Raises:
        AllocationError: If there is not exactly one row, or nothing fits in the limit.
    """
    _check(problem)
    grid = _grid(problem, cells, limit)
    row, plan = problem.rows[0], grid.plan
    upper = tabulate(plan, grid.capacity, grid.cell, up=True)
    falls = np.flatnonzero(np.diff(upper.values, prepend=np.inf) < 0)
    choices = upper.choices(falls)
    costs = np.full(len(choices), row.fixed, dtype=np.int64)
    objectives = np.zeros(len(choices))
    for i, own in enumerate(row.costs):
        costs += np.array(own, dtype=np.int64)[choices[:, i]]
        objectives += np.array(problem.scores[i])[choices[:, i]]
    kept = _front(costs, objectives)
    costs, objectives, choices = costs[kept], objectives[kept], choices[kept]
    if grid.exact:
        return Curve(costs, objectives, objectives, choices, True, grid.cell)
    lower = tabulate(plan, grid.capacity, grid.cell, up=False, trace=False)
    relaxed = walk(problem, problem.scores, row.costs).bounds(costs - row.fixed)
    bounds = np.maximum(lower.values[(costs - row.fixed - plan.least) // grid.cell], relaxed)
    # Sums of floats in another order may round a bound past its score.
    return Curve(costs, objectives, np.minimum(bounds, objectives), choices, False, grid.cell)


@dataclass(frozen=True, slots=True)
class _Grid:
    plan: Layout
    capacity: int
    cell: int
    exact: bool


def _grid(problem: Problem, cells: int, limit: int | None) -> _Grid:
    """Divide what is left above the cheapest allocation into cells."""
    row = problem.rows[0]
    plan = layout(problem, row.costs)
    room = plan.most - plan.least
    if limit is not None:
        room = min(room, limit - row.fixed - plan.least)
    if room < 0:
        raise AllocationError(
            f"The limit of a curve must be at least {plan.least + row.fixed}, the least total "
            f"there is, got {limit}."
        )
    cell = gcd(*plan.extras) or 1
    exact = room // cell <= cells
    if not exact:
        cell = -(-room // cells)
    return _Grid(plan, room // cell, cell, exact)


def _front(costs: IntArray, objectives: FloatArray) -> IntArray:
    """Return the points that no other point beats in cost and score, by rising cost."""
    order = np.lexsort((objectives, costs))
    least = np.minimum.accumulate(objectives[order])
    falls = np.diff(least, prepend=np.inf) < 0
    return np.asarray(order[falls])


def _check(problem: Problem) -> None:
    if len(problem.rows) != 1:
        own = budgets_of(problem.rows)
        names = ", ".join(
            rows[0].budget.resource + (f" with {len(rows)} moments" if len(rows) > 1 else "")
            for rows in own
        )
        raise AllocationError(
            f"Dynamic programming must have exactly one budget that is one sum over the layers, "
            f"got {len(own)}{f' ({names})' if own else ''}. Use milp, which takes any number."
        )
