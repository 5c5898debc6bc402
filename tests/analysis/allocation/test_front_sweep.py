"""Sweeping a budget: limits, points and what no other point beats."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.allocation import build_problem
from analysis.allocation.front import even_limits, non_dominated, sweep
from analysis.errors import AllocationError, InfeasibleBudgetError
from analysis.events import Progress
from analysis.records import Budget
from tests.reference.allocation import best_objective, every_choice, make_scores, make_table

TABLE = make_table([100, 300, 50], macs=[1000, 200, 700], others=10)
SCORES = make_scores(TABLE, "w2a8 w4a8 w8a8", [[9.0, 2.0, 0.1], [4.0, 3.0, 0.3], [7.0, 1.0, 0.0]])


def make(budgets):
    return build_problem(TABLE, SCORES, tuple(budgets))


def run(work):
    reports = []
    while True:
        try:
            reports.append(next(work))
        except StopIteration as end:
            return end.value, reports


points = st.tuples(st.integers(0, 5), st.integers(-3, 3))


@given(st.lists(points, max_size=12))
def test_a_point_is_kept_unless_another_is_as_good_in_both_and_better_in_one(found):
    costs, values = [float(c) for c, _ in found], [float(v) for _, v in found]
    kept = non_dominated(costs, values)
    for i, (cost, value) in enumerate(found):
        beaten = any(c <= cost and v <= value and (c, v) != (cost, value) for c, v in found)
        again = (cost, value) in found[:i]
        assert kept[i] == (not beaten and not again)


def test_limits_go_evenly_from_the_cheapest_to_the_dearest_allocation():
    limits = even_limits(make, "avg_bits", 4)
    assert limits == pytest.approx((2.0, 4.0, 6.0, 8.0))
    assert len(limits) == 4


@pytest.mark.parametrize("resource", ["size", "size_mib", "bops", "avg_bits"])
def test_the_first_limit_can_be_met_and_the_last_holds_everything(resource):
    limits = even_limits(make, resource, 5)
    problem = make([Budget(resource=resource, limit=limits[0])])
    costs = [problem.rows[0].total(choice) for choice in every_choice(problem)]
    assert problem.rows[0].limit >= min(costs)
    assert make([Budget(resource=resource, limit=limits[-1])]).rows[0].limit >= max(costs)


def test_other_budgets_are_kept_at_every_limit():
    fixed = (Budget(resource="avg_bits", limit=4.5),)
    limits = even_limits(make, "bops", 5, fixed)
    found, _ = run(sweep(make, "bops", limits, "milp", fixed=fixed))
    assert all(point.solution.budgets[1].used <= 4.5 for point in found.points)
    free = even_limits(make, "bops", 5)
    assert limits[-1] < free[-1]


def test_every_point_of_an_exact_sweep_is_the_best_there_is():
    limits = even_limits(make, "size", 7)
    found, reports = run(sweep(make, "size", limits, "milp"))
    assert [p.limit for p in found.points] == list(limits)
    for point in found.points:
        best = best_objective(make([Budget(resource="size", limit=point.limit)]))
        assert point.solution.objective == pytest.approx(best)
        assert point.solution.status == "optimal"
        assert point.solution.gap == pytest.approx(0, abs=1e-9)
        assert point.used <= point.limit
    objectives = [p.solution.objective for p in found.points]
    assert objectives == sorted(objectives, reverse=True)
    assert [r.done for r in reports if isinstance(r, Progress)] == [1, 2, 3, 4, 5, 6, 7]


def test_limits_without_a_solution_stay_and_say_why():
    limits = even_limits(make, "size", 5)
    found, _ = run(sweep(make, "size", (0.1, *limits), "milp"))
    first = found.points[0]
    assert first.solution is None
    assert "must be at least" in first.reason
    assert np.isnan(first.used)
    assert len(found.points) == 6
    assert first not in found.front


def test_equal_solutions_are_on_the_front_once():
    found, _ = run(sweep(make, "size", (1.0, 1.1, 1.2), "milp"))
    assert [p.dominated for p in found.points] == [False, True, True]
    assert len(found.front) == 1


def test_a_heuristic_that_wastes_a_larger_budget_is_marked_as_dominated():
    scores = make_scores(TABLE, "w2a8 w4a8 w8a8", [[1.0, 5.0, 6.0]] * 3)

    def odd(budgets):
        return build_problem(TABLE, scores, tuple(budgets))

    found, _ = run(sweep(odd, "size", even_limits(odd, "size", 4), "milp"))
    # Fewer bits are better here: what the larger limits allow is never used.
    assert len(found.front) == 1
    assert found.front[0] == found.points[0]


def test_an_impossible_sweep_says_what_must_hold():
    with pytest.raises(AllocationError, match="at least 2 points"):
        even_limits(make, "size", 1)
    with pytest.raises(AllocationError, match="no other limit"):
        even_limits(make, "size", 3, [Budget(resource="size", limit=1.0)])
    with pytest.raises(InfeasibleBudgetError):
        even_limits(make, "size", 3, [Budget(resource="bops", limit=0.01)])
    with pytest.raises(InfeasibleBudgetError):
        run(sweep(make, "size", (0.01, 0.02), "milp"))
    with pytest.raises(AllocationError, match="at least one limit"):
        run(sweep(make, "size", (), "milp"))


def test_closing_a_sweep_cancels_it():
    work = sweep(make, "size", (0.5, 0.8), "milp")
    next(work)
    work.close()
    with pytest.raises(StopIteration):
        next(work)
