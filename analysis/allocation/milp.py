"""The exact solver: a mixed-integer program with a certificate."""

from dataclasses import dataclass

from analysis.allocation.highs import minimise
from analysis.allocation.presolve import minimise_reduced
from analysis.allocation.problem import Problem
from analysis.allocation.solvers import FEASIBLE, SOLVERS, TIMEOUT, Answer
from analysis.options import Options, option


@dataclass(frozen=True, slots=True)
class MilpOptions(Options):
    """How long to search, and how close to the optimum is close enough."""

    time_limit: float = option(30.0, low=0.1, high=3600.0, help="Seconds before it stops.")
    relative_gap: float = option(
        0.0, low=0.0, high=0.5, help="Stop this close to the optimum; 0 proves it."
    )


@SOLVERS.register(
    "milp",
    title="Exact (mixed-integer program)",
    answers="Which allocation has the least summed score within all budgets, with proof?",
    reference="Multiple-choice knapsack with HiGHS, Huangfu and Hall 2018, arXiv:1503.01528",
    options=MilpOptions,
)
def milp(problem: Problem, options: MilpOptions) -> Answer:
    r"""Minimise the summed score exactly.

    .. math:: \min \sum_{i,k} s_{ik} x_{ik},\quad \sum_k x_{ik} = 1,\quad
              \sum_{i,k} c^r_{ik} x_{ik} \le B_r

    with equal activation formats within each group. Scores may be negative.

    Args:
        problem: Candidates, scores, budgets and groups.
        options: Time limit and gap.

    Raises:
        InfeasibleBudgetError: If no allocation fits, with the nearest limit that does.
        AllocationError: If the time ends before any allocation was found.
    """
    limits = {"time_limit": options.time_limit, "relative_gap": options.relative_gap}
    if problem.rows:
        # Most candidates are known to be in no optimum: a third of the time.
        found = minimise_reduced(problem, **limits)
    else:
        found = minimise(problem, problem.scores, problem.rows, **limits)
    if found.choice is None:
        raise RuntimeError("without a budget every choice fits, and none was found")
    notes = {
        TIMEOUT: (f"Stopped after {options.time_limit:g} s; the lower bound holds.",),
        FEASIBLE: ("Not proven optimal: the gap says how far from it at most.",),
    }
    return Answer(
        choice=found.choice,
        status=found.status,
        lower_bound=found.lower_bound,
        notes=notes.get(found.status, ()),
    )
