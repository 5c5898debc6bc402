import numpy as np
import pytest
from hypothesis import given, settings

from analysis.allocation import build_problem, solve
from analysis.errors import InfeasibleBudgetError
from analysis.records import Budget
from tests.reference.allocation import (
    choice_of,
    every_choice,
    fits,
    kept,
    make_scores,
    make_table,
    score,
    small_problems,
)


def worst(problem, choice):
    """Return the largest score of a layer that has a choice."""
    free = [i for i, own in enumerate(problem.candidates) if len(own) > 1]
    return max((problem.scores[i][choice[i]] for i in free), default=-np.inf)


@settings(max_examples=50)
@given(problem=small_problems(budgets=(0, 3), layers=5))
def test_no_fitting_allocation_has_a_smaller_worst_layer_nor_then_a_smaller_sum(problem):
    fitting = [c for c in every_choice(problem) if fits(problem, c)]
    if not fitting:
        with pytest.raises(InfeasibleBudgetError):
            solve(problem, "minmax")
        return
    solution = solve(problem, "minmax")
    choice = kept(problem, solution)
    least = min(worst(problem, c) for c in fitting)
    assert worst(problem, choice) == least
    sums = [score(problem, c) for c in fitting if worst(problem, c) == least]
    assert solution.objective == pytest.approx(min(sums), rel=1e-9, abs=1e-9)
    assert (solution.status, solution.lower_bound) == ("optimal", None)


def test_the_largest_score_is_said_and_differs_from_the_least_sum():
    # The least sum puts everything on one layer.
    table = make_table([10, 10])
    scores = make_scores(table, "w2a8 w4a8 w6a8", [[5.0, 4, 0], [4.5, 4, 3.9]])
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=4)])
    assert choice_of(problem, solve(problem, "milp")) == (2, 0)
    solution = solve(problem, "minmax")
    assert choice_of(problem, solution) == (1, 1)
    assert "largest score of a layer that is free is 4, proven" in solution.notes[-1]


def test_a_pinned_layer_does_not_hide_the_others():
    table = make_table([10, 10, 10], pinned=(0,))
    scores = make_scores(table, "w4a8 w8a8", [[99, 99], [5, 1], [4, 1]])
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=20 / 3)])
    assert choice_of(problem, solve(problem, "minmax")) == (0, 1, 0)
