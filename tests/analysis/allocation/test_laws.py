"""Laws that hold whatever the solver: more room, more choices, other units, another order."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from analysis.allocation import Problem, build_problem, solve
from analysis.allocation.dp import DpOptions
from analysis.allocation.restrict import restrict
from analysis.records import Budget
from tests.reference.allocation import (
    best_objective,
    choice_of,
    every_choice,
    kept,
    layered_problem,
    make_scores,
    make_table,
    score,
    small_problems,
)

FINE = DpOptions(cells=1_000_000)
EXACT = [("milp", None), ("dp", FINE), ("rlt", None)]
NAMES = [name for name, _ in EXACT]


def solved(problem: Problem, solver: str):
    return solve(problem, solver, dict(EXACT).get(solver))


def problems(solver: str) -> st.SearchStrategy[Problem]:
    if solver == "rlt":
        return small_problems(budgets=(1, 2), layers=4, pairs=True).filter(lambda p: p.pairs)
    return small_problems(budgets=(1, 1 if solver == "dp" else 2), layers=4)


def close(value: float, problem: Problem):
    size = sum(max(abs(s) for s in own) for own in problem.scores)
    return pytest.approx(value, rel=1e-9, abs=1e-9 * (1 + size))


def widened(problem: Problem, more: float) -> Problem:
    rows = tuple(
        dataclasses.replace(
            row, budget=Budget(resource=row.budget.resource, limit=row.budget.limit + more)
        )
        for row in problem.rows
    )
    return dataclasses.replace(problem, rows=rows)


def scaled(problem: Problem, factor: float) -> Problem:
    def times(table):
        return tuple(tuple(v * factor for v in own) for own in table)

    pairs = tuple(dataclasses.replace(p, values=times(p.values)) for p in problem.pairs)
    return dataclasses.replace(problem, scores=times(problem.scores), pairs=pairs)


def dearer(problem: Problem, factor: int) -> Problem:
    """Count costs in another unit."""
    rows = tuple(
        dataclasses.replace(
            row,
            costs=tuple(tuple(c * factor for c in own) for own in row.costs),
            fixed=row.fixed * factor,
            unit=row.unit * factor,
        )
        for row in problem.rows
    )
    return dataclasses.replace(problem, rows=rows)


@pytest.mark.parametrize("solver", NAMES)
def test_a_larger_budget_is_never_worse(solver):
    @settings(max_examples=10)
    @given(problem=problems(solver), more=st.floats(0.01, 2))
    def law(problem, more):
        assume(best_objective(problem) is not None)
        tight, wide = solved(problem, solver), solved(widened(problem, more), solver)
        assert wide.objective <= tight.objective or wide.objective == close(
            tight.objective, problem
        )

    law()


@pytest.mark.parametrize("solver", NAMES)
def test_one_more_choice_is_never_worse(solver):
    # Without one choice many a small problem has no allocation left.
    @settings(max_examples=10, suppress_health_check=[HealthCheck.filter_too_much])
    @given(problem=problems(solver), data=st.data())
    def law(problem, data):
        i = data.draw(st.integers(0, len(problem.candidates) - 1))
        k = data.draw(st.integers(0, len(problem.candidates[i]) - 1))
        kept = [list(range(len(own))) for own in problem.candidates]
        kept[i].remove(k)
        smaller = restrict(problem, kept)
        assume(smaller is not None and best_objective(smaller[0]) is not None)
        without, with_it = solved(smaller[0], solver), solved(problem, solver)
        assert with_it.objective <= without.objective or with_it.objective == close(
            without.objective, problem
        )

    law()


@pytest.mark.parametrize("solver", NAMES)
def test_other_units_of_scores_and_costs_leave_the_optimum(solver):
    @settings(max_examples=10)
    @given(
        problem=problems(solver),
        factor=st.sampled_from([1e-9, 1e-3, 1e6]),
        unit=st.sampled_from([2, 7, 1000]),
    )
    def law(problem, factor, unit):
        best = best_objective(problem)
        assume(best is not None)
        for other in (scaled(problem, factor), dearer(problem, unit)):
            choice = choice_of(other, solved(other, solver))
            assert score(problem, choice) == close(best, problem)

    law()


@pytest.mark.parametrize("solver", ["milp", "dp"])
def test_a_dominated_choice_can_be_left_out(solver):
    @settings(max_examples=10)
    @given(problem=problems(solver))
    def law(problem):
        best = best_objective(problem)
        assume(best is not None)
        kept = []
        for i, own in enumerate(problem.candidates):
            beaten = {
                k
                for k in range(len(own))
                for m in range(len(own))
                if own[k].activation == own[m].activation
                and problem.scores[i][m] < problem.scores[i][k]
                and all(row.costs[i][m] <= row.costs[i][k] for row in problem.rows)
            }
            kept.append([k for k in range(len(own)) if k not in beaten])
        smaller = restrict(problem, kept)
        assert solved(smaller[0], solver).objective == close(best, problem)

    law()


@pytest.mark.parametrize("solver", ["milp", "dp", "greedy", "minmax", "rlt"])
def test_the_order_of_layers_does_not_matter(solver):
    rng = np.random.default_rng(3)
    weights, values = rng.integers(10, 9999, 9), rng.lognormal(0, 2, (9, 3))
    half = rng.normal(size=(9, 3, 9, 3))
    together = half + half.transpose(2, 3, 0, 1) if solver == "rlt" else None

    def chosen(order):
        table = make_table([int(w) for w in weights[order]])
        shuffled = None if together is None else together[order][:, :, order]
        scores = make_scores(table, "w2a8 w4a8 w8a8", values[order], interactions=shuffled)
        problem = build_problem(table, scores, [Budget(resource="size", limit=0.55)])
        found = solve(problem, solver).allocation.candidates
        return {int(i): c for i, c in zip(order, found, strict=True)}

    assert chosen(np.arange(9)) == chosen(rng.permutation(9))


@pytest.mark.parametrize("solver", ["milp", "dp", "greedy", "minmax"])
def test_groups_of_a_large_problem_stay_together(solver):
    problem = layered_problem(
        40, "w2a4 w4a4 w4a8 w8a8", [Budget(resource="bops", limit=0.4)], seed=2
    )
    assert max(map(len, problem.groups)) > 1
    kept(problem, solve(problem, solver))


@pytest.mark.parametrize("solver", ["milp", "greedy", "minmax", "rlt", "local"])
def test_every_row_of_one_budget_is_kept(solver):
    # As for a peak: one budget, one row for each moment.
    rng = np.random.default_rng(9)
    table = make_table([10] * 5, groups=[0, 0, 1, 2, 3])
    half = 0.1 * rng.normal(size=(5, 3, 5, 3))
    scores = make_scores(
        table,
        "w2a4 w4a4 w8a8",
        rng.random((5, 1)) * [4, 2, 0],
        interactions=half + half.transpose(2, 3, 0, 1),
    )
    plain = build_problem(table, scores, [Budget(resource="avg_bits", limit=5)])
    rows = tuple(
        dataclasses.replace(
            plain.rows[0],
            costs=tuple(
                tuple(c * int(on) for c in own)
                for own, on in zip(plain.rows[0].costs, moment, strict=True)
            ),
            unit=22,
        )
        for moment in ([1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 1])
    )
    problem = dataclasses.replace(plain, rows=rows)
    if solver not in ("rlt", "local"):
        problem = problem.separable()
    solution = solve(problem, solver)
    kept(problem, solution)
    best = best_objective(problem)
    free = min(score(problem, c) for c in every_choice(problem))
    assert best > free
    assert solution.objective >= best - 1e-9
    if solver in ("milp", "rlt"):
        assert solution.objective == pytest.approx(best)


def test_bounds_and_answers_of_all_solvers_are_in_order():
    limits = [Budget(resource="size", limit=0.55)]
    problem = layered_problem(40, "w2a4 w4a4 w4a8 w8a8", limits, seed=5)
    best = solve(problem, "milp")
    assert best.status == "optimal"
    for solver in ("greedy", "dp"):
        found = solve(problem, solver)
        assert found.lower_bound <= best.objective * (1 + 1e-9)
        assert best.objective <= found.objective * (1 + 1e-9)
    assert best.objective <= solve(problem, "minmax").objective
    assert best.objective <= solve(problem, "uniform").objective


def test_a_layer_that_is_split_in_two_equal_halves_can_keep_its_answer():
    # Halves of weights and scores: the best of the split problem is at most that of the whole.
    rng = np.random.default_rng(6)
    weights, values = 2 * rng.integers(10, 999, 6), rng.lognormal(0, 1, (6, 3))
    limit = [Budget(resource="avg_bits", limit=5)]
    table = make_table([int(w) for w in weights])
    whole = build_problem(table, make_scores(table, "w2a8 w4a8 w8a8", values), limit)
    halves = make_table([int(w) for w in np.repeat(weights // 2, 2)])
    scores = make_scores(halves, "w2a8 w4a8 w8a8", np.repeat(values / 2, 2, axis=0))
    split = build_problem(halves, scores, limit)
    for solver in ("milp", "dp"):
        assert solved(split, solver).objective <= solved(whole, solver).objective + 1e-12
