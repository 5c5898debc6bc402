"""The registry of solvers, and the one way to run them."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TypeAlias

from analysis.allocation.free_bits import raise_free_bits
from analysis.allocation.problem import Problem, allocation_costs
from analysis.allocation.ties import early_layers_first
from analysis.errors import AllocationError, OptionError
from analysis.events import Work
from analysis.options import Options
from analysis.records import Allocation, BudgetUse, Evaluation, Solution
from analysis.registry import Registry

OPTIMAL, FEASIBLE, TIMEOUT = "optimal", "feasible", "timeout"
# Words of ``needs``.
INTERACTIONS, MEASURED = "interactions", "measured"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a solver found: one index per layer into its candidates, and what it can prove.

    ``lower_bound`` is in the unit of the scores, None when the solver proves nothing. ``status`` is
    ``optimal``, ``feasible`` or ``timeout``, as in :class:`analysis.records.Solution`.
    """

    choice: tuple[int, ...]
    status: str
    lower_bound: float | None = None
    notes: tuple[str, ...] = ()


# What an allocation measures. Solvers that need "measured" accuracy are called with one more
# argument of this type.
Measure: TypeAlias = Callable[[Allocation], Work[Evaluation]]
# The options argument is each solver's own record, hence Any.
Solver: TypeAlias = Callable[..., Answer | Work[Answer]]
SOLVERS: Registry[Solver] = Registry("solver")


def solve_work(
    problem: Problem,
    solver: str,
    options: Options | None = None,
    measure: Measure | None = None,
    *,
    free_bits: bool = False,
) -> Work[Solution]:
    """Run a solver and check what it returns; yields the solver's reports if it makes any.

    Interactions reach the solvers that need ``interactions``; the others sum layers one by one,
    which their notes say. Of allocations that differ only in layers that cost and score the same,
    the one is taken whose earlier layers keep more bits, unless the solver measured its own.

    Args:
        problem: What to solve.
        solver: A name of :data:`SOLVERS`.
        options: The solver's own options record; None for its defaults.
        measure: Measures an allocation, for solvers that need ``measured`` accuracy.
        free_bits: Whether to raise bits afterwards where the latency table says that it costs no
            time; see :func:`analysis.allocation.free_bits.raise_free_bits`.

    Returns:
        The solution, every budget checked again in whole numbers.

    Raises:
        UnknownNameError: If there is no such solver.
        OptionError: If the options belong to another solver.
        InfeasibleBudgetError: If no allocation of the kind the solver searches fits.
        AllocationError: If the solver needs interactions or measurements and there are none.
    """
    method = SOLVERS[solver]
    if options is None:
        options = method.options()
    if type(options) is not method.options:
        raise OptionError(
            f"Solver `{solver}` must get {method.options.__name__}, got {type(options).__name__}."
        )
    extra: tuple[Measure, ...] = ()
    if MEASURED in method.needs:
        if measure is None:
            raise AllocationError(
                f"Solver `{solver}` must be able to measure allocations, got no way to. Run it on "
                f"a study, not on scores alone."
            )
        extra = (measure,)
    if INTERACTIONS not in method.needs:
        problem = problem.separable()
    elif not problem.pairs:
        raise AllocationError(
            f"{method.title} (`{solver}`) must have interactions of layers, the scores of "
            f"`{problem.metric}` hold none between layers that are free to differ. Score with "
            f"CLADO's pairwise metric (`clado`), or choose the exact program without (`milp`)."
        )
    start = perf_counter()
    work = method.function(problem, options, *extra)
    answer = (yield from work) if isinstance(work, Generator) else work
    return solution_of(problem, solver, answer, perf_counter() - start, free_bits=free_bits)


def solve(
    problem: Problem,
    solver: str,
    options: Options | None = None,
    measure: Measure | None = None,
    *,
    free_bits: bool = False,
) -> Solution:
    """Run a solver to its end; see :func:`solve_work`."""
    work = solve_work(problem, solver, options, measure, free_bits=free_bits)
    while True:
        try:
            next(work)
        except StopIteration as end:
            solution: Solution = end.value
            return solution


def solution_of(
    problem: Problem, solver: str, answer: Answer, seconds: float, *, free_bits: bool = False
) -> Solution:
    """Settle what no score tells apart, and check and describe a solver's answer.

    Args:
        problem: What was solved.
        solver: What solved it.
        answer: What it found.
        seconds: What that took.
        free_bits: As for :func:`solve_work`.
    """
    if MEASURED not in SOLVERS[solver].needs:
        answer = replace(answer, choice=early_layers_first(problem, answer.choice))
    if free_bits:
        answer = _raised(problem, answer)
    broken = problem.overruns(answer.choice)
    split = problem.split_groups(answer.choice)
    if broken or split:
        raise RuntimeError(
            f"solver {solver} broke budgets {[row.budget.resource for row in broken]} and "
            f"activation groups {split}"
        )
    objective = problem.objective(answer.choice)
    bound = None if answer.lower_bound is None else min(answer.lower_bound, objective)
    allocation = problem.allocation(answer.choice)
    spent = allocation_costs(problem.table, allocation, problem.latency)
    notes = problem.notes + answer.notes
    if problem.latency is not None and spent.latency_ms is None:
        notes += ("The latency table does not tell the times of all layers of this allocation.",)
    return Solution(
        allocation=allocation,
        metric=problem.metric,
        unit=problem.unit,
        solver=solver,
        objective=objective,
        lower_bound=bound,
        gap=None if bound is None else _gap(objective, bound),
        status=answer.status,
        budgets=tuple(
            BudgetUse(
                resource=row.budget.resource,
                limit=row.budget.limit,
                used=row.in_unit(total),
            )
            for row, total in problem.used(answer.choice)
        ),
        costs=spent,
        seconds=seconds,
        notes=notes,
    )


def _raised(problem: Problem, answer: Answer) -> Answer:
    """Raise the bits that cost no time; a certificate stays only where the score does not rise."""
    choice, notes = raise_free_bits(problem, answer.choice)
    worse = problem.objective(choice) > problem.objective(answer.choice)
    status = FEASIBLE if worse and answer.status == OPTIMAL else answer.status
    return replace(answer, choice=choice, status=status, notes=answer.notes + notes)


def _gap(objective: float, bound: float) -> float:
    if objective == bound:
        return 0.0
    return (objective - bound) / abs(objective) if objective else float("inf")
