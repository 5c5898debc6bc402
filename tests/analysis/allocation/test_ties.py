import numpy as np
import pytest
from hypothesis import given, settings

from analysis.allocation import build_problem, solve
from analysis.allocation.ties import early_layers_first
from analysis.errors import AnalysisError
from analysis.quant.formats import bits_of
from analysis.records import Budget
from tests.reference.allocation import (
    every_choice,
    fits,
    make_scores,
    make_table,
    score,
    small_problems,
)

BUDGET = Budget(resource="avg_bits", limit=6.0)
TEXTS = "w4a8 w6a8 w8a8"


def bits(solution):
    return [bits_of(c.weight) for c in solution.allocation.candidates]


@pytest.mark.parametrize("solver", ["milp", "dp", "greedy", "minmax"])
def test_of_equal_layers_the_earlier_ones_keep_more_bits_whatever_the_solver(solver):
    table = make_table([10, 10, 40, 10, 40])
    scores = make_scores(table, TEXTS, [[4, 2, 0]] * 5)
    found = solve(build_problem(table, scores, (BUDGET,)), solver)
    small, large = [bits(found)[i] for i in (0, 1, 3)], [bits(found)[i] for i in (2, 4)]
    assert small == sorted(small, reverse=True)
    assert large == sorted(large, reverse=True)


@settings(deadline=None, max_examples=80)
@given(small_problems())
def test_the_sum_the_budgets_and_the_groups_stay_what_they_are(problem):
    for choice in every_choice(problem)[:40]:
        after = early_layers_first(problem, choice)
        assert score(problem, after) == pytest.approx(score(problem, choice), abs=1e-9)
        assert fits(problem, after) == fits(problem, choice)
        assert [row.total(after) for row in problem.rows] == [
            row.total(choice) for row in problem.rows
        ]
        assert not problem.split_groups(after)
        assert early_layers_first(problem, after) == after


@settings(deadline=None, max_examples=30)
@given(small_problems(pairs=True, layers=4))
def test_interactions_are_not_disturbed(problem):
    for choice in every_choice(problem)[:20]:
        after = early_layers_first(problem, choice)
        assert score(problem, after) == pytest.approx(score(problem, choice), abs=1e-9)


def test_layers_that_differ_in_cost_score_or_group_are_left_as_they_are():
    table = make_table([10, 10, 10, 20], groups=[0, 0, 1, 2])
    values = [[4, 2, 0], [4, 2, 0], [4, 2, 1], [4, 2, 0]]
    problem = build_problem(table, make_scores(table, TEXTS, values), (BUDGET,))
    for choice in every_choice(problem):
        assert early_layers_first(problem, choice) == choice


def test_permuting_equal_layers_permutes_nothing_in_the_answer():
    rng = np.random.default_rng(0)
    table = make_table([10] * 6)
    scores = make_scores(table, TEXTS, [[4, 2, 0]] * 6)
    problem = build_problem(table, scores, (BUDGET,))
    answers = set()
    for _ in range(20):
        choice = tuple(rng.permutation([0, 0, 1, 1, 2, 2]))
        answers.add(early_layers_first(problem, choice))
    assert answers == {(2, 2, 1, 1, 0, 0)}
    with pytest.raises(AnalysisError):
        solve(problem, "rlt")
