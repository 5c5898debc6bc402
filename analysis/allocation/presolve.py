r"""Leaving out what cannot be part of an optimum, before the exact search.

At the prices :math:`\lambda_r` of the budgets in the linear relaxation, every allocation scores at
least :math:`\sum_i \min_k (s_{ik} + \sum_r \lambda_r c^r_{ik}) - \sum_r \lambda_r B_r`. Where that,
with one candidate forced, exceeds the score of an allocation that is known, the candidate is in no
better one: fixing by reduced costs.
"""

from dataclasses import replace
from math import fsum
from time import perf_counter

from analysis.allocation.feasible import formats
from analysis.allocation.highs import Minimum, minimise
from analysis.allocation.hull import walk
from analysis.allocation.hull_walk import hull_walk
from analysis.allocation.problem import Problem
from analysis.allocation.relaxation import as_one_row
from analysis.allocation.restrict import restrict

# Relative to all that is summed: nothing is left out by rounding.
_MARGIN = 1e-9


def minimise_reduced(problem: Problem, *, time_limit: float, relative_gap: float) -> Minimum:
    """Minimise the problem's own scores within its own rows, exactly, on what presolving leaves.

    Args:
        problem: Candidates, scores, rows and groups; interactions are left out.
        time_limit: Seconds in all.
        relative_gap: As in :func:`analysis.allocation.highs.minimise`, in the reduced problem.

    Raises:
        InfeasibleBudgetError: If no allocation fits, with the nearest limit that does.
        AllocationError: If the time is over before any allocation was found.
    """
    deadline = perf_counter() + time_limit
    problem = replace(problem, pairs=())
    known = hull_walk(problem, time_limit).choice
    smaller = restrict(problem, useful(problem, known))
    if smaller is None:
        raise RuntimeError("what is known to fit was left out")
    reduced, places = smaller
    found = minimise(
        reduced,
        reduced.scores,
        reduced.rows,
        time_limit=max(deadline - perf_counter(), 0.0),
        relative_gap=relative_gap,
    )
    if found.choice is None:
        raise RuntimeError("what is known to fit was not found")
    choice = tuple(own[k] for own, k in zip(places, found.choice, strict=True))
    return Minimum(min(choice, known, key=problem.objective), found.lower_bound, found.status)


def useful(problem: Problem, known: tuple[int, ...]) -> list[list[int]]:
    """Return the candidates of each layer that may be part of a score as low as ``known``'s.

    Args:
        problem: Candidates, scores, rows and groups.
        known: A choice that fits.
    """
    costs, limit = as_one_row(problem)
    price = walk(problem, problem.scores, costs).price(limit)
    value = [
        [s + price * c for s, c in zip(scores, own, strict=True)]
        for scores, own in zip(problem.scores, costs, strict=True)
    ]
    forced = [[0.0] * len(own) for own in problem.candidates]
    least = []
    for group in problem.groups:
        totals = []
        for name in formats(problem, group):
            own = {i: _of_format(problem, i, name) for i in group}
            low = {i: min(value[i][k] for k in ks) for i, ks in own.items()}
            totals.append(fsum(low.values()))
            for i, ks in own.items():
                for k in ks:
                    forced[i][k] = totals[-1] - low[i] + value[i][k]
        least.append(min(totals))
        for i in group:
            forced[i] = [v - least[-1] for v in forced[i]]
    bound = fsum([*least, -price * limit])
    room = problem.objective(known) - bound
    size = fsum(map(abs, [*least, price * limit, problem.objective(known)]))
    return [
        [
            k
            for k, more in enumerate(own)
            if k == known[i] or more <= room + _MARGIN * (size + abs(value[i][k]))
        ]
        for i, own in enumerate(forced)
    ]


def _of_format(problem: Problem, layer: int, name: str) -> list[int]:
    return [k for k, c in enumerate(problem.candidates[layer]) if c.activation == name]
