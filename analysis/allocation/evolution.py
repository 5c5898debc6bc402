"""Search by measured accuracy alone, guided by a regression on what was measured."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import Ridge

from analysis.allocation.feasible import fitting
from analysis.allocation.problem import Problem
from analysis.allocation.random_feasible import Drawing
from analysis.allocation.solvers import FEASIBLE, MEASURED, SOLVERS, Answer, Measure, solve
from analysis.events import Progress, Work
from analysis.options import Options, option
from analysis.records import Evaluation, FloatArray

Choice = tuple[int, ...]
# Better is larger: what is asked for first, then the smaller divergence.
Fitness = tuple[float, float]
# Every so many steps chance alone decides what is measured.
_EXPLORES = 4


@dataclass(frozen=True, slots=True)
class EvolutionOptions(Options):
    """How long to search, and what for."""

    evaluations: int = option(40, low=4, high=2000, help="Allocations to measure.")
    population: int = option(10, low=2, high=500, help="Measured before the search begins.")
    proposals: int = option(
        100,
        low=1,
        high=10000,
        help="Children to choose one of by regression; 1: chance.",
    )
    mutation: float = option(0.1, low=0.0, high=1.0, help="Chance that a layer is drawn anew.")
    goal: str = option(
        "accuracy", choices=("accuracy", "kl"), help="Measured accuracy, or divergence from float."
    )
    seed: int = option(0, low=0, help="Seed of the search.")


@SOLVERS.register(
    "evolution",
    title="Evolution on measured accuracy",
    answers="Which allocation measures best, whatever the scores say?",
    reference="APQ, arXiv:2006.08509; Quantune, arXiv:2202.05048",
    needs=(MEASURED,),
    options=EvolutionOptions,
)
def evolution(problem: Problem, options: EvolutionOptions, measure: Measure) -> Work[Answer]:
    """Measure allocations that descend from the best ones so far.

    The first generation is the allocation of least summed score and random ones within the budgets.
    Then each step makes children of two among the best quarter (every activation group from either
    parent, layers drawn anew by chance, brought within the budgets), predicts them by a ridge
    regression of what was measured on which layer has which candidate, and measures the one
    predicted best; every fourth is left to chance. Nothing is measured twice. Interactions of
    layers reach the result through the measurements.

    Args:
        problem: Candidates, budgets and groups; scores only choose one of the first generation.
        options: Number of measurements, population, chances, goal and seed.
        measure: Measures an allocation.

    Raises:
        InfeasibleBudgetError: If nothing fits, with the nearest limit that something does.
    """
    search = _Search(problem, options)
    for number in range(options.evaluations):
        choice = search.next_choice()
        if choice is None:
            break
        yield Progress(number, options.evaluations, f"measuring allocation {number + 1}")
        found = yield from measure(problem.allocation(choice))
        search.measured[choice] = _fitness(found, options.goal)
    best = max(search.measured, key=search.measured.__getitem__)
    first = next(iter(search.measured))
    place = list(search.measured).index(best) + 1
    notes = [
        f"{len(search.measured)} allocations were measured; the best was number {place}. The best "
        f"of many is chosen after the fact: its lead is optimistic."
    ]
    if best == first:
        notes.append("None measured better than the allocation of least summed score.")
    return Answer(choice=best, status=FEASIBLE, notes=tuple(notes))


def _fitness(found: Evaluation, goal: str) -> Fitness:
    if goal == "kl":
        return -found.kl, 0.0
    if found.labelled:
        return found.top1, -found.kl
    assert found.versus_float is not None  # every quantized network is compared
    return found.versus_float.agreement, -found.kl


class _Search:
    """What was measured, in order, and what to measure next."""

    def __init__(self, problem: Problem, options: EvolutionOptions) -> None:
        self.problem, self.options = problem, options
        self.rng = np.random.default_rng(options.seed)
        self.drawing = Drawing(problem, fitting(problem), self.rng)
        self.measured: dict[Choice, Fitness] = {}
        sizes = [len(own) for own in problem.candidates]
        self.offsets = np.concatenate([[0], np.cumsum(sizes)])
        self.first = problem.choice(solve(problem.separable(), "milp").allocation)

    def next_choice(self) -> Choice | None:
        """Return an allocation that was not measured yet, None where chance finds none."""
        number = len(self.measured)
        if number == 0:
            return self.first
        if number < self.options.population:
            return self._new([self.drawing.one() for _ in range(20)])
        children = [self._child() for _ in range(max(self.options.proposals, 20))]
        new = list(dict.fromkeys(c for c in children if c not in self.measured))
        if not new:
            return self._new([self.drawing.one() for _ in range(20)])
        if self.options.proposals == 1 or number % _EXPLORES == 0:
            return new[0]
        return new[int(self._predicted(new).argmax())]

    def _new(self, choices: list[Choice]) -> Choice | None:
        return next((choice for choice in choices if choice not in self.measured), None)

    def _child(self) -> Choice:
        ranked = sorted(self.measured, key=self.measured.__getitem__, reverse=True)
        parents = ranked[: max(2, len(ranked) // 4)]
        one, other = (parents[self.rng.integers(len(parents))] for _ in range(2))
        child = list(one)
        for group in self.problem.groups:
            if self.rng.random() < 0.5:
                for i in group:
                    child[i] = other[i]
            # A layer is drawn anew with the layers that share its activation format.
            if self.rng.random() < 1 - (1 - self.options.mutation) ** len(group):
                self.drawing.redraw(child, group)
        return self.drawing.settled(child)

    def _predicted(self, choices: list[Choice]) -> FloatArray:
        """Return what a regression on the measured allocations expects of others, (N,)."""
        goal = np.array([fitness[0] for fitness in self.measured.values()])
        model = Ridge().fit(self._one_hot(list(self.measured)), goal)
        return np.asarray(model.predict(self._one_hot(choices)), np.float64)

    def _one_hot(self, choices: list[Choice]) -> FloatArray:
        """Return which layer has which candidate, (N, candidates of all layers)."""
        found = np.zeros((len(choices), self.offsets[-1]))
        places = np.array(choices) + self.offsets[:-1]
        found[np.arange(len(choices))[:, None], places] = 1.0
        return found
