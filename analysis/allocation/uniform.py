"""The compulsory baseline: one candidate for every layer."""

from analysis.allocation.budgets import CostRow
from analysis.allocation.infeasible import explain
from analysis.allocation.problem import Problem
from analysis.allocation.solvers import FEASIBLE, SOLVERS, Answer
from analysis.errors import AllocationError
from analysis.options import Options
from analysis.records import Candidate


@SOLVERS.register(
    "uniform",
    title="Uniform bits",
    answers="What is lost when every layer that is not pinned gets the same candidate?",
)
def uniform(problem: Problem, options: Options) -> Answer:
    """Give every layer the same candidate: the best of those that fit.

    Pinned and float layers keep what they have. Where a pin fixes a group's activation format, the
    layers of that group take the candidate's weight format with that activation.

    Args:
        problem: Candidates, scores, budgets and groups.
        options: None are read.

    Raises:
        InfeasibleBudgetError: If no uniform allocation fits, with the nearest limit that does.
        AllocationError: If pins and groups leave no candidate that every layer can take.
    """
    choices = dict.fromkeys(c for own in problem.candidates for c in own)
    tried = {c: _spread(problem, c) for c in choices}
    possible: dict[tuple[int, ...], Candidate] = {}
    for candidate, choice in tried.items():
        if choice is not None:
            possible.setdefault(choice, candidate)
    if not possible:
        raise AllocationError(
            f"A uniform allocation must use one candidate in every layer that is not pinned; pins "
            f"leave none of {', '.join(c.text for c in choices)}. Release a pin."
        )
    fitting = [choice for choice in possible if not problem.overruns(choice)]
    if not fitting:

        def smallest(row: CostRow, kept: tuple[CostRow, ...]) -> int | None:
            keeping = [c for c in possible if all(r.total(c) <= r.limit for r in kept)]
            return min((row.total(c) for c in keeping), default=None)

        raise explain(problem.rows, smallest, "uniform allocation")
    best = min(fitting, key=problem.objective)
    note = f"Uniform {possible[best].text} in every layer that is free to take it."
    return Answer(choice=best, status=FEASIBLE, notes=(note,))


def _spread(problem: Problem, candidate: Candidate) -> tuple[int, ...] | None:
    choice = [-1] * len(problem.candidates)
    for group in problem.groups:
        formats = {c.activation for i in group for c in problem.candidates[i]}
        activation = next(iter(formats)) if len(formats) == 1 else candidate.activation
        for i in group:
            own = [c for c in problem.candidates[i] if c.activation == activation]
            held = len({c.weight for c in problem.candidates[i]}) == 1
            wanted = [c for c in own if held or c.weight == candidate.weight]
            if not wanted:
                return None
            choice[i] = problem.candidates[i].index(wanted[0])
    return tuple(choice)
