"""Solvers that answer every limit of a resource after one run."""

from collections.abc import Callable
from typing import TypeAlias, cast

import numpy as np

from analysis.allocation.dp import DpOptions, curve, rounded_answer
from analysis.allocation.hull import walk
from analysis.allocation.prefix import PrefixOptions, first_fitting, sorted_list
from analysis.allocation.problem import Problem
from analysis.allocation.solvers import FEASIBLE, MEASURED, OPTIMAL, SOLVERS, Answer
from analysis.errors import AllocationError
from analysis.options import Options

# Answers the problem with another limit; None where the solver must be asked itself.
Whole: TypeAlias = Callable[[Problem], Answer | None]


def sweepable(solver: str) -> bool:
    """Tell whether a solver can answer many limits without measuring allocations to choose one."""
    return MEASURED not in SOLVERS[solver].needs or solver in _WHOLE


def whole(problem: Problem, solver: str, options: Options) -> Whole | None:
    """Run a solver once for all limits, None for solvers that take one limit at a time.

    Args:
        problem: The problem with the largest limit; others have smaller ones and are else the same.
        solver: A name of :data:`SOLVERS`.
        options: Its options.
    """
    start = _WHOLE.get(solver)
    return None if start is None else start(problem, options)


def _dp(problem: Problem, options: Options) -> Whole | None:
    """Fill one table for all limits.

    Where costs are counted exactly its answers are those of one table for each limit. Where they
    are rounded to steps, the steps are those of the largest limit.
    """
    if len(problem.rows) != 1:
        return None
    row, cells = problem.rows[0], cast(DpOptions, options).cells
    try:
        found = curve(problem, cells=cells, limit=row.limit)
    except AllocationError:  # nothing fits: the solver itself says what would
        return None
    relaxed = walk(problem, problem.scores, row.costs)

    def answer(other: Problem) -> Answer | None:
        limit = other.rows[0].limit
        place = int(np.searchsorted(found.costs, limit, side="right")) - 1
        if place < 0:
            return None
        choice = found.choice(place)
        if found.exact:
            return Answer(choice, OPTIMAL, other.objective(choice))
        # What holds at a point's own cost need not hold above it; what holds at the next one does.
        bounds = [relaxed.bound(limit - row.fixed), *found.lower_bounds[place + 1 : place + 2]]
        return rounded_answer(other, choice, float(max(bounds)), found.cell)

    return answer


def _prefix(problem: Problem, options: Options) -> Whole:
    """Sort the list once; at each limit the walk stops at the first state that fits.

    No drop is asked for: what every state of the list keeps is what a curve measures.
    """
    states = sorted_list(problem, cast(PrefixOptions, options).order)

    def answer(other: Problem) -> Answer:
        place = first_fitting(other, states)
        note = (
            f"The sorted list is walked to the first allocation that fits, {place} of "
            f"{len(states) - 1} steps down; what it loses is not asked for."
        )
        return Answer(states[place], FEASIBLE, None, (note,))

    return answer


_WHOLE: dict[str, Callable[[Problem, Options], Whole | None]] = {"dp": _dp, "prefix": _prefix}
