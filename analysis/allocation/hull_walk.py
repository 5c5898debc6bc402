"""A walk along convex hulls with an honest bound, improved layer by layer."""

from analysis.allocation.descent import Descent
from analysis.allocation.feasible import TIME_LIMIT, fitting
from analysis.allocation.hull import Walk, spread, walk
from analysis.allocation.problem import Problem
from analysis.allocation.relaxation import as_one_row
from analysis.allocation.solvers import FEASIBLE, OPTIMAL, Answer

_CERTIFIED = 1e-7

Choice = tuple[int, ...]


def hull_walk(problem: Problem, time_limit: float = TIME_LIMIT) -> Answer:
    """Walk and improve; see :func:`analysis.allocation.greedy.greedy`."""
    costs, limit = as_one_row(problem)
    plan = walk(problem, problem.scores, costs)
    walked = _last_fitting(problem, plan)
    descent = Descent(problem)
    descent.choose(walked or fitting(problem, time_limit))
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
