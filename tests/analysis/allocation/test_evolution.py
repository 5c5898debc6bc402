import numpy as np
import pytest

from analysis.allocation import build_problem, solve
from analysis.allocation.evolution import EvolutionOptions, _Search
from analysis.errors import InfeasibleBudgetError
from analysis.records import Budget
from tests.reference.allocation import every_choice, fits, make_scores, make_table
from tests.reference.evaluations import made_up_evaluation

TABLE = make_table([40, 30, 20, 10, 60, 25], groups=[0, 0, 1, 2, 3, 3])
TEXTS = "w2a4 w4a4 w2a8 w4a8 w8a8"
BUDGET = Budget(resource="avg_bits", limit=4.2)


def problem_of(seed=0, *budgets):
    values = np.random.default_rng(seed).random((6, 5))
    return build_problem(TABLE, make_scores(TABLE, TEXTS, values), budgets or (BUDGET,))


class Meter:
    """A truth that the scores know nothing of: candidates in pairs of layers."""

    def __init__(self, problem, seed=1):
        rng = np.random.default_rng(seed)
        self.problem, self.measured = problem, []
        self.alone = [rng.random(len(own)) for own in problem.candidates]
        self.both = rng.random((5, 5))

    def lost(self, choice):
        pair = self.both[choice[0] % 5, choice[-1] % 5]
        return float(sum(own[k] for own, k in zip(self.alone, choice, strict=True)) + pair) / 20

    def __call__(self, allocation):
        yield from ()
        choice = tuple(
            own.index(c)
            for own, c in zip(self.problem.candidates, allocation.candidates, strict=True)
        )
        self.measured.append(choice)
        return made_up_evaluation(self.lost(choice), kl=self.lost(choice))


@pytest.mark.parametrize("goal", ["accuracy", "kl"])
def test_the_best_measured_allocation_is_the_answer_and_all_of_them_fit(goal):
    problem = problem_of()
    meter = Meter(problem)
    found = solve(problem, "evolution", EvolutionOptions(evaluations=30, goal=goal), meter)
    assert len(meter.measured) == len(set(meter.measured)) == 30
    assert all(fits(problem, c) and not problem.split_groups(c) for c in meter.measured)
    best = min(meter.measured, key=meter.lost)
    assert found.allocation == problem.allocation(best)
    assert "30 allocations were measured" in found.notes[0]


def test_it_begins_with_the_least_summed_score_and_never_ends_worse():
    for seed in range(4):
        problem = problem_of(seed)
        meter = Meter(problem, seed + 10)
        found = solve(problem, "evolution", EvolutionOptions(evaluations=8), meter)
        least = solve(problem, "milp").allocation
        assert problem.allocation(meter.measured[0]) == least
        ends = [problem.allocation(c) for c in meter.measured]
        assert meter.lost(meter.measured[ends.index(found.allocation)]) <= meter.lost(
            meter.measured[0]
        )


def test_with_the_regression_it_comes_nearer_to_the_best_than_chance_does():
    problem = problem_of()
    lost = {"guided": [], "random": []}
    every = [c for c in every_choice(problem) if fits(problem, c)]
    for seed in range(5):
        for name, proposals, population in (("guided", 30, 8), ("random", 1, 30)):
            meter = Meter(problem, seed)
            options = EvolutionOptions(
                evaluations=30, proposals=proposals, population=population, seed=seed
            )
            solve(problem, "evolution", options, meter)
            best = min(map(meter.lost, every))
            lost[name].append(min(map(meter.lost, meter.measured)) - best)
    assert np.mean(lost["guided"]) < np.mean(lost["random"])


def test_the_same_seed_measures_the_same_allocations():
    problem, runs = problem_of(), []
    for seed in (3, 3, 4):
        meter = Meter(problem)
        solve(problem, "evolution", EvolutionOptions(evaluations=15, seed=seed), meter)
        runs.append(meter.measured)
    assert runs[0] == runs[1] != runs[2]


def test_children_of_two_parents_hold_parts_of_both():
    problem = problem_of(0, Budget(resource="avg_bits", limit=8.0))
    search = _Search(problem, EvolutionOptions(mutation=0.0))
    low, high = (0,) * 6, (4,) * 6
    search.measured = {low: (0.9, 0.0), high: (0.8, 0.0)}
    search.drawing.settled = tuple  # as they are born
    children = {search._child() for _ in range(200)}
    assert any(0 in child and 4 in child for child in children)
    assert all(set(child) <= {0, 4} for child in children)
    assert not any(problem.split_groups(child) for child in children)


def test_a_space_smaller_than_the_number_of_measurements_is_searched_whole():
    table = make_table([40, 30])
    problem = build_problem(table, make_scores(table, "w4a8 w8a8", np.zeros((2, 2))), ())
    meter = Meter(problem)
    found = solve(problem, "evolution", EvolutionOptions(evaluations=50), meter)
    # Without a budget the drawing never steps down again, so chance finds every choice.
    assert found.allocation == problem.allocation(min(meter.measured, key=meter.lost))
    assert len(meter.measured) <= 4


def test_a_budget_that_nothing_meets_is_refused_before_anything_is_measured():
    meter = Meter(problem_of())
    with pytest.raises(InfeasibleBudgetError):
        solve(problem_of(0, Budget(resource="avg_bits", limit=1.0)), "evolution", None, meter)
    assert not meter.measured
