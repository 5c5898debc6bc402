"""The whole curve of one budget in one sweep: dynamic programming over costs."""

from dataclasses import dataclass, replace
from math import gcd

import numpy as np

from analysis.allocation.budgets import budgets_of
from analysis.allocation.feasible import fitting
from analysis.allocation.hull import walk
from analysis.allocation.problem import Problem
from analysis.allocation.solvers import FEASIBLE, OPTIMAL, SOLVERS, Answer
from analysis.allocation.tabulation import Layout, Tabulation, layout, tabulate
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
    version=2,  # 2: what fits by its true costs, of equal scores the cheapest
)
def dp(problem: Problem, options: DpOptions) -> Answer:
    """Minimise the summed score within one budget.

    Exact where the costs, divided by their common factor, fit in ``cells`` steps. Otherwise costs
    are rounded up to steps, and of the allocations in the table the best is taken that fits by its
    true costs; the lower bound is that of a second table with costs rounded down, or of the linear
    relaxation where that is higher. The loss is at most that of a budget smaller by less than one
    step per layer and group. Of equal scores the cheapest is taken.

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
    upper = tabulate(grid.plan, grid.reach, grid.cell, up=True)
    falls = _falls(upper)
    # Of what fits by its rounded costs the best, and all above it that may fit by its true costs.
    sure = np.searchsorted(falls, grid.capacity, side="right") - 1
    choice = _traced(problem, upper, falls[sure:], row.limit).choice(-1)
    objective = problem.objective(choice)
    if grid.exact:
        return Answer(choice, OPTIMAL, objective)
    lower = tabulate(grid.plan, grid.capacity, grid.cell, up=False, trace=False)
    relaxed = walk(problem, problem.scores, row.costs).bound(row.limit - row.fixed)
    bound = max(float(lower.values[-1]), relaxed)
    return rounded_answer(problem, choice, bound, grid.cell)


def rounded_answer(problem: Problem, choice: tuple[int, ...], bound: float, cell: int) -> Answer:
    """Return an answer from costs that were rounded to multiples of ``cell``, with that said."""
    note = (
        f"Costs were rounded up to steps of {problem.rows[0].in_unit(cell):.3g} in the budget's "
        f"unit; what was found fits by its true costs, but better may have been missed. More "
        f"steps, or milp, come closer."
    )
    objective = problem.objective(choice)
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
    upper = tabulate(plan, grid.reach, grid.cell, up=True)
    found = _traced(problem, upper, _falls(upper), limit)
    costs, objectives = found.costs, found.objectives
    if grid.exact:
        return replace(found, cell=grid.cell)
    lower = tabulate(plan, grid.capacity, grid.cell, up=False, trace=False)
    relaxed = walk(problem, problem.scores, row.costs).bounds(costs - row.fixed)
    bounds = np.maximum(lower.values[(costs - row.fixed - plan.least) // grid.cell], relaxed)
    # Sums of floats in another order may round a bound past its score.
    return replace(found, lower_bounds=np.minimum(bounds, objectives), exact=False, cell=grid.cell)


def _falls(table: Tabulation) -> IntArray:
    """Return the cells at which the least score falls."""
    return np.flatnonzero(np.diff(table.values, prepend=np.inf) < 0)


def _traced(problem: Problem, table: Tabulation, cells: IntArray, limit: int | None) -> Curve:
    """Return the allocations behind cells that keep the limit by their true costs, as if exact."""
    row, choices = problem.rows[0], table.choices(cells)
    costs = np.full(len(choices), row.fixed, dtype=np.int64)
    objectives = np.zeros(len(choices))
    for i, own in enumerate(row.costs):
        costs += np.array(own, dtype=np.int64)[choices[:, i]]
        objectives += np.array(problem.scores[i])[choices[:, i]]
    fits = np.flatnonzero(costs <= limit) if limit is not None else np.arange(len(costs))
    kept = fits[_front(costs[fits], objectives[fits])]
    costs, objectives, choices = costs[kept], objectives[kept], choices[kept]
    return Curve(costs, objectives, objectives, choices, True, 1)


@dataclass(frozen=True, slots=True)
class _Grid:
    """``capacity`` cells are sure to keep the limit, more than ``reach`` to break it."""

    plan: Layout
    capacity: int
    reach: int
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
    capacity = room // cell
    # A layer, and the format of its group, are rounded up by less than a cell each.
    spare = 0 if exact else len(problem.candidates) + len(problem.groups)
    return _Grid(plan, capacity, capacity + spare, cell, exact)


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
