"""The least largest score: no layer may suffer more than it must."""

from dataclasses import dataclass

from analysis.allocation.feasible import cheapest, fitting
from analysis.allocation.highs import minimise
from analysis.allocation.problem import Problem
from analysis.allocation.restrict import restrict
from analysis.allocation.solvers import FEASIBLE, OPTIMAL, SOLVERS, Answer
from analysis.options import Options, option

Smaller = tuple[Problem, tuple[tuple[int, ...], ...]]


@dataclass(frozen=True, slots=True)
class MinmaxOptions(Options):
    """How long each search may take."""

    time_limit: float = option(
        30.0, low=0.1, high=3600.0, help="Seconds for each test of a threshold, and for the sum."
    )


@SOLVERS.register(
    "minmax",
    title="Least largest score",
    answers="Which allocation keeps the worst layer as good as possible?",
    reference="The aggregation of ModelOpt's auto_quantize by KL divergence, solved exactly",
    options=MinmaxOptions,
)
def minmax(problem: Problem, options: MinmaxOptions) -> Answer:
    r"""Minimise the largest score of a layer, then the sum.

    .. math:: \min \max_{i:\,C_i > 1} s_{i k_i}

    over the layers that have a choice; a pinned layer cannot become better and is left out. Tied
    layers are looked at one by one: the largest of their scores counts, not the sum. The optimum is
    one of the scores: a binary search over the sorted scores asks for each threshold whether the
    candidates below it can fit. Of all allocations with that largest score the one of the least sum
    is taken, which says nothing of sums above it: there is no lower bound.

    Args:
        problem: Candidates, scores, budgets and groups.
        options: Time limit.

    Raises:
        InfeasibleBudgetError: If no allocation fits, with the nearest limit that does.
        AllocationError: If the time ends before a threshold was decided.
    """
    fitting(problem, options.time_limit)
    levels = sorted({s for own in _largest(problem) if len(own) > 1 for s in own})
    # Below `low` nothing fits, at `high` something does.
    low, high = -1, len(levels) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if _below(problem, levels[middle], options.time_limit):
            high = middle
        else:
            low = middle
    worst = levels[high] if levels else float("-inf")
    smaller = _below(problem, worst, options.time_limit)
    if smaller is None:
        raise RuntimeError("an allocation fits, but not with all candidates allowed")
    return _least_sum(smaller, worst, options)


def _least_sum(smaller: Smaller, worst: float, options: MinmaxOptions) -> Answer:
    problem, places = smaller
    found = minimise(
        problem, problem.scores, problem.rows, time_limit=options.time_limit, relative_gap=0.0
    )
    if found.choice is None:
        raise RuntimeError("the budgets can be met and cannot")
    choice = tuple(own[k] for own, k in zip(places, found.choice, strict=True))
    notes = [
        f"The largest score of a layer that is free is {worst:.6g}, proven to be the least; the "
        f"sum is the least among such allocations."
    ]
    if found.status != OPTIMAL:
        notes = [
            f"The largest score of a layer that is free is {worst:.6g}, proven to be the least; "
            f"the sum is not proven: stopped after {options.time_limit:g} s."
        ]
    return Answer(choice, OPTIMAL if found.status == OPTIMAL else FEASIBLE, None, tuple(notes))


def _largest(problem: Problem) -> list[list[float]]:
    """Return the largest score among the layers that each choice decides, per candidate."""
    layers = range(len(problem.candidates))
    return [list(map(max, zip(*problem.each(i), strict=True))) for i in layers]


def _below(problem: Problem, threshold: float, time_limit: float) -> Smaller | None:
    """Return the problem of the candidates up to a threshold, None if nothing fits in it."""
    kept = [
        [k for k, s in enumerate(own) if s <= threshold or len(own) == 1]
        for own in _largest(problem)
    ]
    smaller = restrict(problem, kept)
    if smaller is None:
        return None
    small = smaller[0]
    if any(row.total(cheapest(small, row.costs)) > row.limit for row in small.rows):
        return None
    if len(small.rows) > 1:
        zeros = tuple(tuple(0.0 for _ in own) for own in small.candidates)
        found = minimise(small, zeros, small.rows, time_limit=time_limit, relative_gap=0.0)
        if found.choice is None:
            return None
    return smaller
