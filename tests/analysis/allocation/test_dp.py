import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analysis.allocation import build_problem, solve
from analysis.allocation.dp import DpOptions, curve
from analysis.errors import AllocationError, InfeasibleBudgetError
from analysis.records import Budget
from tests.reference.allocation import (
    best_objective,
    every_choice,
    in_order,
    kept,
    layered_problem,
    make_scores,
    make_table,
    score,
    small_problems,
)


def front(problem):
    """Return (total, least score up to that total) wherever the score falls, from enumeration."""
    row = problem.rows[0]
    points = sorted((row.total(c), score(problem, c)) for c in every_choice(problem))
    found = []
    for total, value in points:
        if not found or value < found[-1][1] - 1e-9 * (1 + abs(value)):
            found.append((total, value))
    return found


@settings(max_examples=30)
@given(problem=small_problems(budgets=(1, 1), layers=5))
def test_where_costs_can_be_counted_it_agrees_with_trying_everything(problem):
    best = best_objective(problem)
    if best is None:
        with pytest.raises(InfeasibleBudgetError):
            solve(problem, "dp")
        return
    # Weights are drawn below 5000, so that size is always counted exactly.
    options = DpOptions(cells=1_000_000)
    assume(problem.rows[0].budget.resource != "bops")
    solution = solve(problem, "dp", options)
    assert solution.objective == pytest.approx(best, rel=1e-9, abs=1e-9)
    assert (solution.status, solution.notes) == ("optimal", problem.notes)
    kept(problem, solution)


@settings(max_examples=30)
@given(problem=small_problems(budgets=(1, 1), layers=5), cells=st.integers(100, 400))
def test_rounded_costs_keep_the_budget_and_bound_the_optimum(problem, cells):
    best = best_objective(problem)
    assume(best is not None)
    solution = solve(problem, "dp", DpOptions(cells=cells))
    assert in_order(solution.lower_bound, best, solution.objective)
    kept(problem, solution)


@settings(max_examples=30)
@given(problem=small_problems(budgets=(1, 1), layers=4))
def test_an_exact_curve_is_the_front_of_all_allocations(problem):
    found = curve(problem, cells=5_000_000)
    assert found.exact
    expected = front(problem)
    small = 1e-9 * (1 + np.abs(found.objectives))
    steps = np.flatnonzero(np.diff(found.objectives, prepend=np.inf) < -small)
    assert [int(c) for c in found.costs[steps]] == [total for total, _ in expected]
    assert found.objectives[steps] == pytest.approx([v for _, v in expected], rel=1e-9, abs=1e-9)
    for p in range(len(found.costs)):
        choice = found.choice(p)
        assert problem.rows[0].total(choice) == found.costs[p]
        assert problem.objective(choice) == pytest.approx(found.objectives[p], rel=1e-9, abs=1e-9)
        assert not problem.split_groups(choice)


@settings(max_examples=30)
@given(problem=small_problems(budgets=(1, 1), layers=4), cells=st.integers(10, 200))
def test_a_rounded_curve_lies_between_its_bounds_and_the_front(problem, cells):
    found = curve(problem, cells=cells)
    expected = front(problem)
    for p, total in enumerate(found.costs):
        least = min(v for t, v in expected if t <= total)
        assert in_order(found.lower_bounds[p], least, found.objectives[p])
    assert (np.diff(found.costs) > 0).all()
    assert (np.diff(found.objectives) < 0).all()
    assert found.costs[0] == expected[0][0]


def test_a_finer_grid_proves_more_and_a_coarse_one_loses_little():
    problem = layered_problem(30, "w2a8 w4a8 w8a8", [Budget(resource="size", limit=0.6)])
    best = solve(problem, "milp").objective
    found = [solve(problem, "dp", DpOptions(cells=c)) for c in (100, 2_000, 500_000)]
    losses = [solution.objective / best - 1 for solution in found]
    # Rounded up, a budget of 100 steps would be 30 steps short.
    assert all(-1e-9 <= loss < 0.02 for loss in losses)
    assert losses[2] == pytest.approx(0, abs=1e-4)
    assert found[0].gap > found[1].gap > found[2].gap
    assert "rounded up to steps" in found[0].notes[-1]
    assert found[0].status == "feasible"


def test_a_limit_cuts_the_curve():
    problem = layered_problem(6, "w2a8 w4a8 w8a8", [Budget(resource="avg_bits", limit=5)])
    limit = problem.rows[0].limit
    whole, part = curve(problem), curve(problem, limit=limit)
    assert part.costs[-1] <= limit < whole.costs[-1]
    with pytest.raises(AllocationError, match=f"must be at least {whole.costs[0]}"):
        curve(problem, limit=int(whole.costs[0]) - 1)


@pytest.mark.parametrize("budgets", [[], [("size", 0.9), ("bops", 0.9)]])
def test_it_takes_one_budget_only(budgets):
    table = make_table([10, 20])
    limits = [Budget(resource=r, limit=v) for r, v in budgets]
    problem = build_problem(table, make_scores(table, "w4a8 w8a8", np.zeros((2, 2))), limits)
    with pytest.raises(AllocationError, match=r"exactly one budget .* Use milp"):
        solve(problem, "dp")
    with pytest.raises(AllocationError, match="exactly one"):
        curve(problem)


def test_a_group_counts_its_cheapest_format_only_once():
    # Alone each layer is cheapest in another format; together the least is 2*10 + 8*10.
    table = make_table([10, 10], groups=[0, 0])
    scores = make_scores(table, "w2a4 w8a4 w2a8 w8a8", [[4, 3, 2, 1]] * 2)
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=5)])
    values = ((20, 80, 90, 80), (90, 80, 20, 80))
    row = dataclasses.replace(problem.rows[0], costs=values)
    problem = dataclasses.replace(problem, rows=(row,))
    found = curve(problem)
    assert found.exact
    assert [int(c) for c in found.costs] == [total for total, _ in front(problem)]
    assert found.costs[0] == 100
