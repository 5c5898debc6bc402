"""What an answer must beat: allocations that the scores had no say in, within the same budgets."""

from dataclasses import replace

from analysis.allocation.problem import Problem
from analysis.allocation.random_feasible import random_feasible
from analysis.allocation.solvers import solve
from analysis.errors import AnalysisError
from analysis.records import Baseline

RANDOM = 20


def baselines(
    problem: Problem, size_only: Problem, *, count: int = RANDOM, seed: int = 0
) -> tuple[Baseline, ...]:
    """Return what uniform bits, size alone and chance would be predicted to lose.

    Args:
        problem: What was solved.
        size_only: The same problem with scores by which all layers are equally sensitive.
        count: Number of random draws; an allocation that is drawn again counts once.
        seed: Seed of their draws.
    """
    found = []
    for name, kept in (("uniform", problem.separable()), ("size_only", size_only.separable())):
        solver = "uniform" if name == "uniform" else "milp"
        try:
            choice = problem.choice(solve(kept, solver).allocation)
        except AnalysisError as error:
            found.append(Baseline(name=name, objectives=(), reason=str(error)))
            continue
        found.append(Baseline(name=name, objectives=(problem.objective(choice),)))
    # Where few allocations fit, the same ones are drawn again; each counts once.
    drawn = dict.fromkeys(random_feasible(replace(problem, pairs=()), count, seed))
    values = tuple(problem.objective(choice) for choice in drawn)
    return (*found, Baseline(name="random", objectives=values))
