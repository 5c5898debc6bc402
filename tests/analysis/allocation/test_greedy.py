import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import linprog

from analysis.allocation import build_problem, solve
from analysis.allocation.hull import walk
from analysis.errors import InfeasibleBudgetError
from analysis.records import Budget
from tests.reference.allocation import (
    best_objective,
    choice_of,
    every_choice,
    in_order,
    kept,
    layered_problem,
    make_scores,
    make_table,
    score,
    small_problems,
)


@settings(max_examples=60)
@given(problem=small_problems(budgets=(0, 3), layers=5))
def test_it_fits_and_its_bound_lies_below_the_optimum(problem):
    best = best_objective(problem)
    if best is None:
        with pytest.raises(InfeasibleBudgetError):
            solve(problem, "greedy")
        return
    solution = solve(problem, "greedy")
    kept(problem, solution)
    assert in_order(solution.lower_bound, best, solution.objective)
    if solution.status == "optimal":
        assert solution.objective == pytest.approx(best, rel=1e-6, abs=1e-9)


@settings(max_examples=40)
@given(problem=small_problems(budgets=(1, 1), layers=3))
def test_the_bound_is_the_linear_program_over_whole_groups(problem):
    """The relaxation with one variable per joint choice of a group, written out."""
    row = problem.rows[0]
    columns, values, costs = [], [], []
    for g, group in enumerate(problem.groups):
        own = {tuple(choice[i] for i in group) for choice in every_choice(problem)}
        for chosen in own:
            columns.append(g)
            pairs = list(zip(group, chosen, strict=True))
            values.append(sum(problem.scores[i][k] for i, k in pairs))
            costs.append(sum(row.costs[i][k] for i, k in pairs))
    limit = row.limit - row.fixed
    equal = np.array([[c == g for c in columns] for g in range(len(problem.groups))], float)
    scale = max(costs)
    found = linprog(
        values,
        A_ub=[np.array(costs) / scale],
        b_ub=[limit / scale],
        A_eq=equal,
        b_eq=np.ones(len(equal)),
        method="highs",
    )
    plan = walk(problem, problem.scores, row.costs)
    bound = plan.bound(limit)
    if found.status:
        assert bound == float("inf")
        return
    size = 1 + max(abs(v) for v in values)
    assert bound == pytest.approx(found.fun, rel=1e-6, abs=1e-6 * size)
    assert plan.bounds(np.array([limit]))[0] == pytest.approx(bound, rel=1e-9, abs=1e-9 * size)


def test_the_steepest_step_is_taken_first():
    # One layer gains 8 for 20 bits, the other 9 for 80: only the first fits, and is best.
    table = make_table([10, 40])
    scores = make_scores(table, "w2a8 w4a8", [[8, 0], [9, 0]])
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=3)])
    solution = solve(problem, "greedy")
    assert choice_of(problem, solution) == (1, 0)
    # 30 bits are left of the 80 that the second layer wants.
    assert solution.lower_bound == pytest.approx(9 - 9 * 30 / 80)
    assert solution.status == "feasible"


def test_a_walk_that_ends_at_the_limit_is_proven():
    table = make_table([10, 40])
    scores = make_scores(table, "w2a8 w4a8", [[8, 0], [9, 0]])
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=2.4)])
    solution = solve(problem, "greedy")
    assert (solution.status, solution.gap, solution.objective) == ("optimal", 0.0, 9.0)


@pytest.mark.parametrize("resources", [("size",), ("size", "bops")])
def test_on_two_hundred_layers_it_comes_close_and_says_how_close(resources):
    limits = [Budget(resource=r, limit=v) for r, v in zip(resources, (0.6, 0.5), strict=False)]
    names = "w2a4 w3a4 w4a4 w5a8 w6a8 w7a8 w8a8 w16a8"
    problem = layered_problem(200, names, limits)
    best, found = solve(problem, "milp").objective, solve(problem, "greedy")
    assert best <= found.objective <= best * 1.005
    assert found.lower_bound <= best
    assert found.gap <= 0.005
    assert score(problem, choice_of(problem, found)) == pytest.approx(found.objective)
