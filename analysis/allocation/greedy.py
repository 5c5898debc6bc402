"""The quick solver: a walk along convex hulls, with an honest bound."""

from analysis.allocation.descent import Descent
from analysis.allocation.feasible import fitting
from analysis.allocation.hull import Walk, spread, walk
from analysis.allocation.problem import Problem
from analysis.allocation.relaxation import as_one_row
from analysis.allocation.solvers import FEASIBLE, OPTIMAL, SOLVERS, Answer
from analysis.options import Options

_CERTIFIED = 1e-7

Choice = tuple[int, ...]


@SOLVERS.register(
    "greedy",
    title="Greedy (convex hull)",
    answers="Which allocation does the best gain per cost lead to, and how far is it from the "
    "optimum at most?",
    reference="Linear multiple-choice knapsack, Sinha and Zoltners 1979, doi:10.1287/opre.27.3.503",
)
def greedy(problem: Problem, options: Options) -> Answer:
    r"""Start at the cheapest allocation and take the best gain per cost while it fits.

    The steps are the edges of convex hulls, so the walk solves the linear relaxation: its value is
    a lower bound on every allocation. Then single layers are changed while that fits and helps.

    Several budgets are added up with weights, :math:`\sum_r w_r c^r \le \sum_r w_r B_r`, which
    every allocation within all of them satisfies: whatever the weights, the bound of that walk
    holds. The weights are the budgets' prices in the linear relaxation, which make it the best
    there is. The answer is the last state of the walk that keeps each budget.

    Args:
        problem: Candidates, scores, budgets and groups.
        options: None are read.

    Raises:
        InfeasibleBudgetError: If no allocation fits, with the nearest limit that does.
        AllocationError: If the search for a first allocation within several budgets takes too long.
    """
    return hull_walk(problem)


def hull_walk(problem: Problem) -> Answer:
    """Walk and improve, for any caller; see :func:`greedy`."""
    start = fitting(problem)
    costs, limit = as_one_row(problem)
    plan = walk(problem, problem.scores, costs)
    walked = _last_fitting(problem, plan)
    descent = Descent(problem)
    descent.choose(walked or start)
    while descent.one_by_one() or descent.by_group():
        pass
    choice = descent.choice
    bound = plan.bound(limit)
    gap = problem.objective(choice) - bound
    proven = gap <= _CERTIFIED * abs(bound)
    note = "No step of the walk keeps every budget: improved from an allocation that does."
    notes = () if walked else (note,)
    return Answer(choice, OPTIMAL if proven else FEASIBLE, bound, notes)


def _last_fitting(problem: Problem, plan: Walk) -> Choice | None:
    """Return the last state of a walk within all budgets, None if there is none."""
    chosen = [point.choice for point in plan.start]
    choice = spread(problem, chosen)
    totals = [row.total(choice) for row in problem.rows]
    limits = [row.limit for row in problem.rows]
    last = list(chosen) if _within(totals, limits) else None
    for step in plan.steps:
        group = problem.groups[step.group]
        before, after = chosen[step.group], step.choice
        for r, row in enumerate(problem.rows):
            totals[r] += sum(
                row.costs[i][new] - row.costs[i][old]
                for i, old, new in zip(group, before, after, strict=True)
            )
        chosen[step.group] = after
        if _within(totals, limits):
            last = list(chosen)
    return None if last is None else spread(problem, last)


def _within(totals: list[int], limits: list[int]) -> bool:
    return all(total <= limit for total, limit in zip(totals, limits, strict=True))
