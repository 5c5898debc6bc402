import numpy as np
import pytest
from hypothesis import given, settings

from analysis.allocation import build_problem, random_feasible
from analysis.errors import InfeasibleBudgetError
from analysis.records import Budget
from tests.reference.allocation import (
    every_choice,
    fits,
    layered_problem,
    make_scores,
    make_table,
    small_problems,
)


@settings(max_examples=30)
@given(problem=small_problems(budgets=(0, 3), layers=5))
def test_every_draw_fits_and_no_layer_can_be_raised(problem):
    if not any(fits(problem, c) for c in every_choice(problem)):
        with pytest.raises(InfeasibleBudgetError):
            random_feasible(problem, 3, 0)
        return
    found = random_feasible(problem, 5, 0)
    assert len(found) == 5
    for choice in found:
        assert fits(problem, choice)
        assert not problem.split_groups(choice)
        for i, own in enumerate(problem.candidates):
            for k in range(len(own)):
                dearer = problem.rows and all(
                    row.costs[i][k] > row.costs[i][choice[i]] for row in problem.rows
                )
                raised = (*choice[:i], k, *choice[i + 1 :])
                assert not (dearer and fits(problem, raised) and not problem.split_groups(raised))


@pytest.mark.parametrize("resources", [("size",), ("size", "bops")])
def test_twenty_draws_differ_and_use_the_budget(resources):
    limits = [Budget(resource=r, limit=v) for r, v in zip(resources, (0.6, 0.4), strict=False)]
    problem = layered_problem(40, "w2a4 w3a4 w4a4 w2a8 w4a8 w6a8 w8a8", limits)
    found = random_feasible(problem, 20, 0)
    assert len(set(found)) == 20
    used = [max(row.total(c) / row.limit for row in problem.rows) for c in found]
    assert min(used) > 0.95
    assert max(used) <= 1
    # Every layer that has a choice is seen with several candidates.
    assert all(len({c[i] for c in found}) > 1 for i in range(40))


def test_a_format_in_which_a_group_cannot_fit_is_given_up():
    # 2 bits of weight and 8 of activation are 16 of 64 BOPs: only 4 bits of activation fit.
    table = make_table([10, 10, 10], groups=[0, 0, 1])
    scores = make_scores(table, "w2a4 w4a4 w2a8 w4a8", np.zeros((3, 4)))
    problem = build_problem(table, scores, [Budget(resource="bops", limit=0.2)])
    found = random_feasible(problem, 10, 0)
    assert all(fits(problem, choice) for choice in found)
    assert len(set(found)) > 1
    assert {choice[0] for choice in found} <= {0, 1}


def test_a_seed_repeats_and_another_differs():
    problem = layered_problem(10, "w2a8 w4a8 w8a8", [Budget(resource="size", limit=0.6)])
    assert random_feasible(problem, 4, 3) == random_feasible(problem, 4, 3)
    assert random_feasible(problem, 4, 3) != random_feasible(problem, 4, 4)


def test_scores_are_not_looked_at():
    table = make_table([10, 20, 30, 40])
    budget = [Budget(resource="avg_bits", limit=5)]
    values = np.arange(12).reshape(4, 3)
    draws = [
        random_feasible(build_problem(table, make_scores(table, "w2a8 w4a8 w8a8", v), budget), 5, 0)
        for v in (values, -values)
    ]
    assert draws[0] == draws[1]


def test_where_few_exist_they_come_again_in_turn():
    table = make_table([10, 10])
    scores = make_scores(table, "w4a8 w8a8", np.zeros((2, 2)))
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=6)])
    found = random_feasible(problem, 4, 0)
    assert set(found) == {(0, 1), (1, 0)}
    assert found[:2] == found[2:]


def test_without_a_budget_the_draw_is_uniform():
    table = make_table([10])
    problem = build_problem(table, make_scores(table, "w2a8 w4a8 w8a8", np.zeros((1, 3))), ())
    found = [random_feasible(problem, 1, seed)[0][0] for seed in range(300)]
    # 4 standard errors of a share of 1/3 among 300.
    assert np.bincount(found, minlength=3) / 300 == pytest.approx(1 / 3, abs=4 * 0.0273)
