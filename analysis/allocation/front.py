"""Sweep one budget from the cheapest to the dearest allocation, all others kept."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, Context
from time import perf_counter

import numpy as np

from analysis.allocation.milp import MilpOptions
from analysis.allocation.problem import Problem
from analysis.allocation.solvers import SOLVERS, solution_of, solve, solve_work
from analysis.allocation.whole import Whole, whole
from analysis.errors import AllocationError, InfeasibleBudgetError
from analysis.events import Note, Progress, Work
from analysis.options import Options
from analysis.records import Budget, Front, FrontPoint, Solution

# The problem with these budgets; everything else about it is fixed.
Make = Callable[[Sequence[Budget]], Problem]

_TOO_SMALL = 1e-9  # a positive limit below what any network costs
_SHOWN = Context(prec=5, rounding=ROUND_CEILING)


def even_limits(
    make: Make, resource: str, points: int, fixed: Sequence[Budget] = ()
) -> tuple[float, ...]:
    """Return limits from the cheapest to the dearest allocation, even in the resource.

    They are rounded up to five digits, so the first can be met and the last holds everything;
    limits that are equal then come once.

    Args:
        make: Makes the problem for given budgets.
        resource: What is limited.
        points: How many limits, at least 2.
        fixed: Other budgets, kept at every limit.

    Raises:
        AllocationError: If there are fewer than two points, or a fixed budget is of the resource.
        InfeasibleBudgetError: If the fixed budgets cannot be met.
    """
    if points < 2:
        raise AllocationError(f"A sweep must have at least 2 points, got {points}.")
    if resource in [budget.resource for budget in fixed]:
        raise AllocationError(
            f"The resource that is swept must have no other limit, got one of `{resource}`; leave "
            f"it out or sweep another resource."
        )
    low, high = _cheapest(make, resource, fixed), _dearest(make, resource, fixed)
    even = np.linspace(low, max(low, high), points)
    return tuple(dict.fromkeys(float(_SHOWN.create_decimal(repr(float(x)))) for x in even))


def sweep(
    make: Make,
    resource: str,
    limits: Sequence[float],
    solver: str,
    *,
    fixed: Sequence[Budget] = (),
    options: Options | None = None,
) -> Work[Front]:
    """Solve within each limit of a resource and mark what is dominated.

    Solvers that know the whole curve after one run are run once. A limit without a solution stays
    in the front, with the reason.

    Args:
        make: Makes the problem for given budgets.
        resource: What is limited.
        limits: In the resource's unit.
        solver: A name of :data:`SOLVERS`.
        fixed: Other budgets, kept at every limit.
        options: The solver's options; None for its defaults.

    Raises:
        AllocationError: If there is no limit, or none has a solution: the last reason.
    """
    begin = perf_counter()
    if not limits:
        raise AllocationError("A sweep must have at least one limit, got none.")
    points: list[FrontPoint] = []
    failure: AllocationError | None = None
    options = SOLVERS[solver].options() if options is None else options
    problem = make((Budget(resource=resource, limit=max(limits)), *fixed)).separable()
    known = whole(problem, solver, options)
    for place, limit in enumerate(sorted(limits), start=1):
        problem = make((Budget(resource=resource, limit=limit), *fixed))
        try:
            found = yield from _notes_only(_within(problem, solver, options, known))
            points.append(FrontPoint(limit=limit, solution=found))
        except AllocationError as error:
            failure = error
            points.append(FrontPoint(limit=limit, solution=None, reason=str(error)))
        yield Progress(place, len(limits), f"{resource} ≤ {limit:g}")
    if failure is not None and all(point.solution is None for point in points):
        raise failure
    return Front(
        resource=resource,
        metric=problem.metric,
        unit=problem.unit,
        solver=SOLVERS[solver].name,
        fixed=tuple(fixed),
        points=_marked(points),
        seconds=perf_counter() - begin,
    )


def non_dominated(costs: Sequence[float], values: Sequence[float]) -> tuple[bool, ...]:
    """Tell which points no other beats; smaller is better in both.

    A point is beaten by one that is at least as good in both and better in one. Of equal points
    only the first counts.

    Args:
        costs: What each point costs, (P,).
        values: Its objective, (P,).
    """
    # Stable, so that the first of equal points comes first; a later one must have a lower value.
    order = sorted(range(len(costs)), key=lambda i: (costs[i], values[i]))
    least, kept = float("inf"), set()
    for i in order:
        if values[i] < least:
            least = values[i]
            kept.add(i)
    return tuple(i in kept for i in range(len(costs)))


def used(problem: Problem, resource: str, choice: tuple[int, ...]) -> float:
    """Return what a choice uses of a budgeted resource of the problem, in the resource's unit."""
    rows = [row for row in problem.rows if row.budget.resource == resource]
    return max(row.in_unit(row.total(choice)) for row in rows)


def _cheapest(make: Make, resource: str, fixed: Sequence[Budget]) -> float:
    solve(make(tuple(fixed)), "milp")  # raises if the fixed budgets cannot be met
    try:
        least = solve(make((Budget(resource=resource, limit=_TOO_SMALL), *fixed)), "milp")
    except InfeasibleBudgetError as error:
        return error.nearest
    return least.budgets[0].used


def _dearest(make: Make, resource: str, fixed: Sequence[Budget]) -> float:
    problem = make((Budget(resource=resource, limit=1.0), *fixed))
    others = tuple(row for row in problem.rows if row.budget.resource != resource)
    found = []
    # Several rows of one resource are moments of a peak: the dearest is dear at one of them.
    for row in dict.fromkeys(r for r in problem.rows if r.budget.resource == resource):
        gains = tuple(tuple(-float(cost) for cost in own) for own in row.costs)
        largest = solve(
            replace(problem, scores=gains, rows=others, pairs=()),
            "milp",
            MilpOptions(relative_gap=1e-3),
        )
        found.append(used(problem, resource, problem.choice(largest.allocation)))
    return max(found)


def _marked(points: Sequence[FrontPoint]) -> tuple[FrontPoint, ...]:
    solved = [(i, p, p.solution) for i, p in enumerate(points) if p.solution is not None]
    best = non_dominated([p.used for _, p, _ in solved], [s.objective for _, _, s in solved])
    dominated = {i for (i, _, _), keep in zip(solved, best, strict=True) if not keep}
    return tuple(replace(p, dominated=i in dominated) for i, p in enumerate(points))


def _within(problem: Problem, solver: str, options: Options, known: Whole | None) -> Work[Solution]:
    """Answer from what is known of the whole curve, else ask the solver."""
    if known is not None:
        start, apart = perf_counter(), problem.separable()
        answer = known(apart)
        if answer is not None:
            return solution_of(apart, solver, answer, perf_counter() - start)
    return (yield from solve_work(problem, solver, options))


def _notes_only(work: Work[Solution]) -> Work[Solution]:
    """Run a solver, whose own progress says nothing about the sweep's."""
    while True:
        try:
            report = next(work)
        except StopIteration as end:
            solution: Solution = end.value
            return solution
        if isinstance(report, Note):
            yield report
