"""The exact solver against enumeration, and the laws that an exact solver obeys."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analysis.allocation import Problem, build_problem, highs, solve
from analysis.allocation.milp import MilpOptions
from analysis.errors import AllocationError, InfeasibleBudgetError
from analysis.records import Budget
from tests.reference.allocation import (
    best_objective,
    choice_of,
    every_choice,
    fits,
    kept,
    make_scores,
    make_table,
    score,
    small_problems,
)


def with_scores(problem: Problem, change) -> Problem:
    return dataclasses.replace(
        problem, scores=tuple(tuple(change(s) for s in own) for own in problem.scores)
    )


def with_limit(problem: Problem, resource: str, limit: float) -> Problem:
    rows = tuple(
        dataclasses.replace(row, budget=Budget(resource=resource, limit=limit))
        if row.budget.resource == resource
        else row
        for row in problem.rows
    )
    return dataclasses.replace(problem, rows=rows)


@settings(deadline=None, max_examples=120)
@given(problem=small_problems())
def test_it_agrees_with_trying_every_allocation(problem):
    best = best_objective(problem)
    if best is None:
        with pytest.raises(InfeasibleBudgetError):
            solve(problem, "milp")
        return
    solution = solve(problem, "milp")
    assert solution.objective == pytest.approx(best, rel=1e-9, abs=1e-9)
    kept(problem, solution)
    assert solution.status == "optimal"
    assert solution.lower_bound <= solution.objective
    assert all(use.used <= use.limit for use in solution.budgets)


@settings(deadline=None, max_examples=60)
@given(problem=small_problems(budgets=(1, 2)))
def test_the_nearest_limit_can_be_asked_for_and_is_the_smallest(problem):
    assume(best_objective(problem) is None)
    with pytest.raises(InfeasibleBudgetError) as caught:
        solve(problem, "milp")
    error = caught.value
    row = next(r for r in problem.rows if r.budget.resource == error.resource)
    kept = dataclasses.replace(problem, rows=tuple(r for r in problem.rows if r is not row))
    totals = [row.total(choice) for choice in every_choice(kept) if fits(kept, choice)]
    if not totals:
        assert error.nearest == float("inf")
        return
    assert error.limit < error.nearest <= row.in_unit(min(totals)) * (1 + 1.01e-4)
    assert f"{error.nearest:g}" in str(error)
    assert solve(with_limit(problem, error.resource, error.nearest), "milp").status == "optimal"


@settings(deadline=None, max_examples=30)
@given(problem=small_problems(budgets=(0, 0)))
def test_without_a_budget_every_group_takes_its_own_best(problem):
    expected = 0.0
    for group in problem.groups:
        formats = {c.activation for c in problem.candidates[group[0]]}
        expected += min(
            sum(
                min(
                    s
                    for c, s in zip(problem.candidates[i], problem.scores[i], strict=True)
                    if c.activation == name
                )
                for i in group
            )
            for name in formats
        )
    assert solve(problem, "milp").objective == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(problem=small_problems(budgets=(1, 2)), more=st.floats(0, 2))
def test_a_larger_budget_is_never_worse(problem, more):
    assume(best_objective(problem) is not None)
    row = problem.rows[0]
    wider = with_limit(problem, row.budget.resource, row.budget.limit + more)
    tight = solve(problem, "milp").objective
    assert solve(wider, "milp").objective <= tight + 1e-9 * abs(tight) + 1e-9


@settings(deadline=None, max_examples=30)
@given(problem=small_problems(budgets=(1, 1)), factor=st.sampled_from([1e-12, 1e-6, 1e3, 1e9]))
def test_the_unit_of_the_scores_does_not_matter(problem, factor):
    assume(best_objective(problem) is not None)
    scaled = with_scores(problem, lambda s: s * factor)
    choice = choice_of(scaled, solve(scaled, "milp"))
    best = best_objective(problem)
    assert score(problem, choice) == pytest.approx(best, rel=1e-9, abs=1e-9)


def test_permuted_layers_get_the_same_candidates():
    rng = np.random.default_rng(3)
    weights, values = rng.integers(10, 9999, 12), rng.lognormal(0, 2, (12, 3))
    order = rng.permutation(12)

    def by_weights(indices):
        table = make_table([int(weights[i]) for i in indices])
        scores = make_scores(table, "w2a8 w4a8 w8a8", values[indices])
        solution = solve(
            build_problem(table, scores, [Budget(resource="size", limit=0.55)]), "milp"
        )
        chosen = solution.allocation.candidates
        return {int(i): c for i, c in zip(indices, chosen, strict=True)}

    assert by_weights(np.arange(12)) == by_weights(order)


def test_budgets_that_only_conflict_together_are_both_named():
    # The cheap weight comes with the costly activation and the other way round.
    table = make_table([100])
    problem = build_problem(
        table,
        make_scores(table, "w2a16 w4a2", [[0, 0]]),
        [Budget(resource="avg_bits", limit=3), Budget(resource="bops", limit=0.2)],
    )
    with pytest.raises(InfeasibleBudgetError) as caught:
        solve(problem, "milp")
    assert "with bops=0.2 kept, avg_bits must be at least 4 bits per weight" in str(caught.value)
    assert "with avg_bits=3 kept, bops must be at least 0.5 of the w8a8 BOPs" in str(caught.value)
    assert (caught.value.resource, caught.value.nearest) == ("avg_bits", 4.0)


def test_budgets_that_fail_alone_are_each_named():
    table = make_table([100])
    problem = build_problem(
        table,
        make_scores(table, "w4a4 w8a8", [[0, 0]]),
        [Budget(resource="avg_bits", limit=3), Budget(resource="bops", limit=0.2)],
    )
    with pytest.raises(InfeasibleBudgetError) as caught:
        solve(problem, "milp")
    assert "avg_bits must be at least 4" in str(caught.value)
    assert "bops must be at least 0.25" in str(caught.value)
    assert caught.value.nearest == float("inf")


def test_a_choice_that_slips_over_a_budget_by_a_tolerance_is_cut_off(monkeypatch):
    # A right side of 1e-4 makes HiGHS's tolerance of 1e-6 a hundredth of the budget.
    monkeypatch.setattr(highs, "_RIGHT", 1e-4)
    rng = np.random.default_rng(0)
    table = make_table([int(w) for w in rng.integers(10_000, 20_000, 6)])
    values = np.sort(rng.lognormal(0, 1, (6, 3)), axis=1)[:, ::-1]
    wide = build_problem(
        table, make_scores(table, "w3a8 w4a8 w8a8", values), [Budget(resource="avg_bits", limit=8)]
    )
    runs = []
    run = highs._Model.run
    monkeypatch.setattr(highs._Model, "run", lambda *args: runs.append(1) or run(*args))
    slipped = 0
    for choice in every_choice(wide)[147:470:28]:
        used = wide.rows[0].total(choice)
        row = wide.rows[0]
        limit = (used - 1) / row.unit
        problem = dataclasses.replace(
            wide, rows=(dataclasses.replace(row, budget=Budget(resource="avg_bits", limit=limit)),)
        )
        best = best_objective(problem)
        if best is None:
            continue
        runs.clear()
        assert solve(problem, "milp").objective == pytest.approx(best, rel=1e-9)
        slipped += len(runs) > 1
    assert slipped > 0


def test_tiny_scores_beside_huge_ones_are_still_told_apart():
    # One layer must not take 1e9; between the others 1e-6 decides.
    table = make_table([10, 10, 10])
    values = [[1e9, 0.0], [3e-6, 0.0], [2e-6, 0.0]]
    scores = make_scores(table, "w4a8 w8a8", values)
    solution = solve(build_problem(table, scores, [Budget(resource="avg_bits", limit=6.7)]), "milp")
    assert [c.text for c in solution.allocation.candidates] == ["w8a8", "w8a8", "w4a8"]
    assert solution.objective == 2e-6
    assert solution.status == "optimal"


def large_problem() -> Problem:
    """Return 200 layers, 8 candidates, 2 budgets, some shared activations."""
    rng = np.random.default_rng(1)
    weights = np.exp(rng.uniform(np.log(1e3), np.log(2e6), 200)).astype(int)
    bits = np.array([2, 3, 4, 5, 6, 7, 8, 16])
    values = rng.lognormal(0, 2, (200, 1)) * 4.0**-bits * rng.lognormal(0, 0.2, (200, 8))
    table = make_table(
        [int(w) for w in weights],
        macs=[int(w) * int(r) for w, r in zip(weights, rng.integers(1, 3000, 200), strict=True)],
        groups=[i - i % 2 if i % 5 == 0 else i for i in range(200)],
    )
    names = " ".join(f"w{b}a{8 if b > 4 else 4}" for b in bits)
    budgets = [Budget(resource="size", limit=0.6), Budget(resource="bops", limit=0.5)]
    return build_problem(table, make_scores(table, names, values), budgets)


def test_two_hundred_layers_with_two_budgets_are_certified():
    solution = solve(large_problem(), "milp")
    assert solution.status == "optimal"
    assert solution.gap <= 1e-7
    assert all(use.slack >= 0 for use in solution.budgets)


def test_scores_of_every_magnitude_are_solved_exactly():
    rng = np.random.default_rng(5)
    table = make_table([int(w) for w in rng.integers(50, 100, 6)])
    for seed in range(20):
        values = 10.0 ** np.random.default_rng(seed).uniform(-9, 9, (6, 3))
        scores = make_scores(table, "w2a8 w4a8 w8a8", values)
        problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=5)])
        solution = solve(problem, "milp")
        assert solution.objective == pytest.approx(best_objective(problem), rel=1e-9)
        assert solution.status == "optimal"


def test_a_wide_relative_gap_is_reported_and_not_called_optimal():
    solution = solve(large_problem(), "milp", MilpOptions(relative_gap=0.5))
    assert solution.status == "feasible"
    assert 0 < solution.gap <= 0.5
    assert "Not proven optimal: the gap says how far from it at most." in solution.notes


def test_a_search_cut_short_reports_its_best_and_an_honest_bound(monkeypatch):
    table = make_table([10, 10])
    problem = build_problem(table, make_scores(table, "w4a8 w8a8", [[3, 1], [5, 2]]), ())
    monkeypatch.setattr(highs._Model, "run", lambda *args: ((0, 1), 0.5, False))
    solution = solve(problem, "milp", MilpOptions(time_limit=2.0))
    assert (solution.status, solution.objective, solution.lower_bound) == ("timeout", 5.0, 3.5)
    assert solution.notes == ("Stopped after 2 s; the lower bound holds.",)


def test_a_search_that_finds_nothing_in_time_is_an_error_not_infeasible(monkeypatch):
    table = make_table([10, 10])
    problem = build_problem(table, make_scores(table, "w4a8 w8a8", [[3, 1], [5, 2]]), ())
    monkeypatch.setattr(highs._Model, "run", lambda *args: (None, 0.0, False))
    with pytest.raises(AllocationError, match="raise its time limit") as caught:
        solve(problem, "milp")
    assert not isinstance(caught.value, InfeasibleBudgetError)
