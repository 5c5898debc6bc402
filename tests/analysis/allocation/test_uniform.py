import numpy as np
import pytest

from analysis.allocation import build_problem, solve
from analysis.errors import AllocationError, InfeasibleBudgetError
from analysis.records import Budget, Candidate
from tests.reference.allocation import make_scores, make_table

FALLING = [[9, 3, 1]] * 3


def texts(solution):
    return [c.text for c in solution.allocation.candidates]


def test_the_best_uniform_candidate_within_the_budget_wins():
    table = make_table([10, 20, 30])
    scores = make_scores(table, "w2a8 w4a8 w8a8", FALLING)
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=7)])
    solution = solve(problem, "uniform")
    assert texts(solution) == ["w4a8"] * 3
    assert (solution.objective, solution.status, solution.lower_bound) == (9, "feasible", None)


def test_pinned_and_unscored_layers_keep_what_they_have():
    table = make_table([10, 20, 30], pinned=(0,))
    scores = make_scores(table, "w2a8 w4a8", [[5, 0], [0, 1]], layers=("layer0", "layer2"))
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=14)])
    assert texts(solve(problem, "uniform")) == ["w8a8", "float", "w2a8"]


def test_a_bound_group_takes_the_weight_format_with_its_own_activation():
    table = make_table([10, 20, 30], groups=[0, 0, 1], pinned=(0,))
    scores = make_scores(table, "w4a4 w4a8", [[0, 0], [0, 0], [1, 2]])
    assert texts(solve(build_problem(table, scores, ()), "uniform")) == ["w8a8", "w4a8", "w4a4"]


def test_a_layer_never_takes_another_weight_format_than_the_uniform_one():
    table = make_table([10, 20], groups=[0, 0])
    scores = make_scores(table, "w2a4 w8a8", [[0, 1], [0, 1]])
    problem = build_problem(table, scores, (), {"layer0": Candidate.parse("w4a8")})
    assert texts(solve(problem, "uniform")) == ["w4a8", "w8a8"]


def test_no_fitting_uniform_names_the_nearest_limit():
    table = make_table([10, 20, 30])
    scores = make_scores(table, "w4a8 w8a8", np.zeros((3, 2)))
    problem = build_problem(table, scores, [Budget(resource="size", limit=0.4)])
    with pytest.raises(InfeasibleBudgetError, match=r"No uniform .* at least 0\.5 of") as caught:
        solve(problem, "uniform")
    assert caught.value.nearest == 0.5


def test_pins_may_leave_no_uniform_candidate():
    table = make_table([10, 20])
    pins = {
        "layer0": tuple(Candidate.parse(t) for t in ("w2a8", "w3a8")),
        "layer1": tuple(Candidate.parse(t) for t in ("w4a8", "w8a8")),
    }
    scores = make_scores(table, "w2a8 w3a8 w4a8 w8a8", np.zeros((2, 4)))
    with pytest.raises(AllocationError, match="pins leave none"):
        solve(build_problem(table, scores, (), pins), "uniform")
