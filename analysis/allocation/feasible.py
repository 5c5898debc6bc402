"""An allocation that fits, to start from; or the reason why none does."""

from analysis.allocation.budgets import CostRow
from analysis.allocation.highs import minimise
from analysis.allocation.infeasible import explain
from analysis.allocation.problem import Problem

TIME_LIMIT = 30.0


def cheapest(problem: Problem, costs: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """Return the choice of the least summed cost, groups kept together; shape (L,).

    Of equally cheap ones the least score wins within a layer, then the first.

    Args:
        problem: Gives the candidates, the scores and the groups.
        costs: One cost per layer and candidate.
    """
    choice = [-1] * len(problem.candidates)
    for group in problem.groups:
        best: tuple[int, float] | None = None
        for name in formats(problem, group):
            own = {i: _least(problem, costs, i, name) for i in group}
            total = (
                sum(costs[i][k] for i, k in own.items()),
                sum(problem.scores[i][k] for i, k in own.items()),
            )
            if best is None or total < best:
                best = total
                for i, k in own.items():
                    choice[i] = k
    return tuple(choice)


def formats(problem: Problem, group: tuple[int, ...]) -> tuple[str, ...]:
    """Return the activation formats that a group can take, each once, in a fixed order."""
    return tuple(dict.fromkeys(c.activation for c in problem.candidates[group[0]]))


def fitting(problem: Problem, time_limit: float = TIME_LIMIT) -> tuple[int, ...]:
    """Return some choice within all budgets: of one budget the cheapest, of several any.

    Args:
        problem: Candidates, budgets and groups.
        time_limit: Seconds that the search under several budgets may take.

    Raises:
        InfeasibleBudgetError: If nothing fits, with the nearest limit that something does.
        AllocationError: If the time ends before any was found.
    """

    def smallest(row: CostRow, kept: tuple[CostRow, ...]) -> int | None:
        if not kept:
            return row.total(cheapest(problem, row.costs))
        costs = tuple(tuple(float(c) for c in own) for own in row.costs)
        found = minimise(problem, costs, kept, time_limit=time_limit, relative_gap=0.0)
        return None if found.choice is None else row.total(found.choice)

    if len(problem.rows) <= 1:
        nothing = tuple(tuple(0 for _ in own) for own in problem.candidates)
        choice = cheapest(problem, problem.rows[0].costs if problem.rows else nothing)
        if not problem.overruns(choice):
            return choice
    else:
        zeros = tuple(tuple(0.0 for _ in own) for own in problem.candidates)
        found = minimise(problem, zeros, problem.rows, time_limit=time_limit, relative_gap=0.0)
        if found.choice is not None:
            return found.choice
    raise explain(problem.rows, smallest)


def _least(problem: Problem, costs: tuple[tuple[int, ...], ...], layer: int, name: str) -> int:
    own = [k for k, c in enumerate(problem.candidates[layer]) if c.activation == name]
    return min(own, key=lambda k: (costs[layer][k], problem.scores[layer][k]))
