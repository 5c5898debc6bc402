"""Local search for interactions of any number of layers."""

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from analysis.allocation.descent import Descent
from analysis.allocation.hull_walk import hull_walk
from analysis.allocation.problem import Problem
from analysis.allocation.random_feasible import random_feasible
from analysis.allocation.solvers import FEASIBLE, INTERACTIONS, SOLVERS, Answer
from analysis.events import Progress, Report, Work
from analysis.options import Options, option


@dataclass(frozen=True, slots=True)
class LocalOptions(Options):
    """How often to start."""

    restarts: int = option(
        10, low=0, high=1000, help="Random starts besides the greedy answer without interactions."
    )
    seed: int = option(0, low=0, high=2**31 - 1, help="Seed of the random starts.")


@SOLVERS.register(
    "local",
    title="Local search",
    answers="Which allocation cannot be improved by changing one or two layers, with interactions?",
    reference="1- and 2-exchange descent; interactions of Deng et al. 2023 (CLADO), "
    "arXiv:2307.05657",
    needs=(INTERACTIONS,),
    options=LocalOptions,
)
def local(problem: Problem, options: LocalOptions) -> Work[Answer]:
    """Descend from the greedy answer and from random starts; the best end counts.

    From every start the best change of a single layer is made until none helps, then for each layer
    the best change together with another one, then changes of a whole group's activation format,
    until none of them helps. Every state fits. The lower bound is the linear relaxation in which
    each of two interacting layers bears half of the least that the other could make it.

    Args:
        problem: Candidates, scores, interactions, budgets and groups.
        options: Number of starts and seed.

    Raises:
        InfeasibleBudgetError: If no allocation fits, with the nearest limit that does.
        AllocationError: If the search for a first allocation within several budgets takes too long.
    """
    return search(problem, restarts=options.restarts, seed=options.seed)


def search(problem: Problem, *, restarts: int, seed: int) -> Work[Answer]:
    """Search from the greedy answer and ``restarts`` random starts; see :func:`local`."""
    starts = [hull_walk(replace(problem, pairs=())).choice]
    if restarts:
        starts += random_feasible(problem, restarts, seed)
    descent = Descent(problem)
    best = starts[0]
    for number, start in enumerate(starts):
        yield Progress(number, len(starts), f"start {number + 1} of {len(starts)}")
        descent.choose(start)
        yield from _descend(descent, number, len(starts))
        best = min(best, descent.choice, key=problem.objective)
    yield Progress(len(starts), len(starts), "local search")
    return Answer(best, FEASIBLE, lower_bound(problem))


def _descend(descent: Descent, done: int, total: int) -> Generator[Report, None, None]:
    while descent.one_by_one() or descent.two_by_two() or descent.by_group():
        yield Progress(done, total, f"start {done + 1} of {total}")


def lower_bound(problem: Problem) -> float:
    """Return a bound on every allocation within the budgets, interactions included.

    Half of every interaction is charged to either layer at the least that the other layer's
    candidates allow, which no allocation can undercut; the rest is a problem without interactions,
    bounded as the solver ``greedy`` bounds it.
    """
    scores = [np.array(own, dtype=np.float64) for own in problem.scores]
    for pair in problem.pairs:
        values = np.array(pair.values)
        scores[pair.first] = scores[pair.first] + values.min(1) / 2
        scores[pair.second] = scores[pair.second] + values.min(0) / 2
    charged = replace(problem, pairs=(), scores=tuple(tuple(own.tolist()) for own in scores))
    bound = hull_walk(charged).lower_bound
    if bound is None:
        raise RuntimeError("the greedy walk always has a bound")
    return bound
