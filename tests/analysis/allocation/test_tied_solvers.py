"""Every solver on tied layers, against trying every allocation of the layers one by one."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from analysis.allocation import Problem, build_problem, random_feasible, solve
from analysis.allocation.baselines import baselines
from analysis.allocation.dp import DpOptions
from analysis.allocation.dp import curve as dp_curve
from analysis.allocation.evolution import EvolutionOptions
from analysis.allocation.local import LocalOptions
from analysis.allocation.prefix import PrefixOptions
from analysis.allocation.rlt import RltOptions
from analysis.errors import AllocationError, InfeasibleBudgetError
from analysis.quant.formats import bits_of
from analysis.records import Allocation, Budget
from tests.reference.allocation import (
    Ties,
    every_choice,
    fits,
    in_order,
    kept,
    make_scores,
    make_table,
    score,
    tied_problems,
)
from tests.reference.evaluations import made_up_evaluation

OPTIONS = {
    "dp": DpOptions(cells=5_000_000),
    "rlt": RltOptions(restarts=1),
    "local": LocalOptions(restarts=1),
    "evolution": EvolutionOptions(evaluations=6, population=4),
    "prefix": PrefixOptions(allowed_drop=3.0),
}


def chosen(problem: Problem, choice: tuple[int, ...]) -> tuple:
    return tuple(own[k] for own, k in zip(problem.candidates, choice, strict=True))


def together(plain: Problem, candidates: tuple, ties: Ties) -> bool:
    """Tell whether tied layers have the same candidate."""
    own = dict(zip(plain.table.names, candidates, strict=True))
    return all(len({own[name] for name in tie}) == 1 for tie in ties)


def allowed(plain: Problem, ties: Ties) -> list[tuple[int, ...]]:
    """Return the choices of all layers, one by one, that fit and keep groups and ties."""
    return [
        choice
        for choice in every_choice(plain)
        if fits(plain, choice) and together(plain, chosen(plain, choice), ties)
    ]


def comparable(plain: Problem, tied: Problem) -> bool:
    """Tell whether no layer follows a pin that it could not take by itself."""
    pairs = zip(tied.members, tied.candidates, strict=True)
    return all(set(own) <= set(plain.candidates[m]) for members, own in pairs for m in members)


def checked(plain: Problem, ties: Ties, allocation: Allocation) -> tuple[int, ...]:
    """Return an allocation as a choice of all layers, once it is seen to be allowed."""
    candidates = allocation.candidates
    choice = tuple(own.index(c) for own, c in zip(plain.candidates, candidates, strict=True))
    assert fits(plain, choice)
    assert not plain.split_groups(choice)
    assert together(plain, candidates, ties)
    return choice


def worst(problem: Problem, tied: Problem, choice: tuple[int, ...]) -> float:
    """Return the largest score of a single layer that has a choice."""
    free = [
        m
        for own, members in zip(tied.candidates, tied.members, strict=True)
        if len(own) > 1
        for m in members
    ]
    return max((problem.scores[i][choice[i]] for i in free), default=-np.inf)


def measure(allocation: Allocation):
    yield from ()
    lost = sum(16 - bits_of(c.weight) for c in allocation.candidates) / 1000
    return made_up_evaluation(lost, kl=lost)


@pytest.mark.parametrize(
    "solver",
    ["milp", "dp", "greedy", "minmax", "rlt", "local", "uniform", "evolution", "prefix"],
)
def test_it_finds_what_trying_every_allocation_with_ties_finds(solver):
    pairs = solver in ("rlt", "local")
    budgets = (1, 1) if solver == "dp" else (0, 2)

    @settings(
        max_examples=12 if solver in ("rlt", "evolution") else 30,
        suppress_health_check=[HealthCheck.filter_too_much],
    )
    @given(case=tied_problems(budgets=budgets, layers=5, pairs=pairs))
    def law(case):
        plain, tied, ties = case
        assume(comparable(plain, tied) and (tied.pairs or not pairs))
        assume(solver != "dp" or tied.rows[0].budget.resource != "bops")
        fitting = allowed(plain, ties)
        try:
            solution = solve(tied, solver, OPTIONS.get(solver), measure)
        except AllocationError:
            # Not every problem has a uniform allocation, nor a sorted list that fits.
            assert not fitting or solver in ("uniform", "prefix")
            return
        choice = checked(plain, ties, solution.allocation)
        kept(tied, solution)
        best = min(score(plain, c) for c in fitting)
        assert solution.objective == pytest.approx(score(plain, choice), rel=1e-9, abs=1e-9)
        assert in_order(best, best, solution.objective)
        if solver in ("milp", "dp", "rlt"):
            assert solution.status == "optimal"
            assert in_order(solution.objective, best, solution.objective)
        if solver in ("milp", "dp", "rlt", "greedy", "local"):
            assert in_order(solution.lower_bound, best, solution.objective)
        if solver == "minmax":
            least = min(worst(plain, tied, c) for c in fitting)
            assert worst(plain, tied, choice) == least
            sums = [score(plain, c) for c in fitting if worst(plain, tied, c) == least]
            assert solution.objective == pytest.approx(min(sums), rel=1e-9, abs=1e-9)

    law()


@settings(max_examples=15, suppress_health_check=[HealthCheck.filter_too_much])
@given(case=tied_problems(budgets=(1, 3), layers=5))
def test_what_fits_without_ties_may_not_fit_with_them_and_the_nearest_limit_does(case):
    plain, tied, ties = case
    assume(comparable(plain, tied) and not allowed(plain, ties))
    with pytest.raises(InfeasibleBudgetError) as caught:
        solve(tied, "milp")
    error = caught.value
    others = [row for row in plain.rows if row.budget.resource != error.resource]
    (row,) = (row for row in plain.rows if row.budget.resource == error.resource)
    totals = [
        row.total(c)
        for c in every_choice(plain)
        if together(plain, chosen(plain, c), ties) and all(r.total(c) <= r.limit for r in others)
    ]
    least = min((row.in_unit(total) for total in totals), default=np.inf)
    assert least <= error.nearest <= least * (1 + 1.01e-4)


@settings(max_examples=30)
@given(case=tied_problems(budgets=(0, 2), layers=5))
def test_random_allocations_keep_ties_groups_and_budgets(case):
    plain, tied, ties = case
    assume(comparable(plain, tied) and allowed(plain, ties))
    for choice in random_feasible(tied, 5, 0):
        checked(plain, ties, tied.allocation(choice))


@settings(max_examples=30)
@given(case=tied_problems(budgets=(1, 1), layers=4))
def test_the_whole_curve_of_tied_layers_is_the_front_of_all_allocations_with_ties(case):
    plain, tied, ties = case
    assume(comparable(plain, tied))
    row = plain.rows[0]
    points = sorted(
        (row.total(c), score(plain, c))
        for c in every_choice(plain)
        if together(plain, chosen(plain, c), ties)
    )
    found = dp_curve(tied, cells=5_000_000)
    assert found.exact
    for total, least in zip(found.costs, found.objectives, strict=True):
        assert in_order(least, min(v for t, v in points if t <= total), least)
    assert found.costs[0] == points[0][0]


@pytest.mark.parametrize("solver", ["milp", "dp", "rlt", "minmax"])
def test_tying_never_improves_the_optimum(solver):
    pairs = solver == "rlt"

    @settings(max_examples=15, suppress_health_check=[HealthCheck.filter_too_much])
    @given(case=tied_problems(budgets=(1, 1), layers=4, pairs=pairs))
    def law(case):
        plain, tied, _ = case
        assume(comparable(plain, tied) and (tied.pairs or not pairs))
        try:
            with_ties = solve(tied, solver, OPTIONS.get(solver))
        except InfeasibleBudgetError:
            return
        without = solve(plain, solver, OPTIONS.get(solver))
        if solver == "minmax":
            both = [checked(plain, (), s.allocation) for s in (without, with_ties)]
            least, tied_least = (worst(plain, plain, choice) for choice in both)
            assert least <= tied_least
        else:
            assert in_order(without.objective, with_ties.objective, with_ties.objective)

    law()


@pytest.mark.parametrize("limit", [2.0, 3.5, 5.0, 9.0])
@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4], [0, 0, 1, 1, 2]])
def test_all_layers_tied_take_the_best_uniform_bits(limit, groups):
    rng = np.random.default_rng(int(limit))
    table = make_table([int(w) for w in rng.integers(1, 99, 5)], groups=groups)
    for _ in range(5):
        scores = make_scores(table, "w2a8 w4a8 w4a4 w8a8", rng.normal(size=(5, 4)))
        budget = [Budget(resource="avg_bits", limit=limit)]
        tied = build_problem(table, scores, budget, ties=[table.names])
        uniform = solve(build_problem(table, scores, budget), "uniform")
        assert len(tied.candidates) == len(tied.groups) == 1
        for solver in ("milp", "dp", "greedy", "uniform"):
            found = solve(tied, solver)
            assert found.allocation == uniform.allocation
            assert found.objective == pytest.approx(uniform.objective)


def test_baselines_are_tied_like_the_answer():
    rng = np.random.default_rng(4)
    table = make_table([10, 20, 30, 15])
    budget = [Budget(resource="avg_bits", limit=5)]
    ties = (("layer0", "layer2"),)
    values = rng.random((4, 1)) * [4, 2, 0]
    texts = "w2a8 w4a8 w8a8"
    tied = build_problem(table, make_scores(table, texts, values), budget, ties=ties)
    plain = build_problem(table, make_scores(table, texts, values), budget)
    equal = make_scores(table, texts, np.multiply.outer(np.array([10, 20, 30, 15]), [2, 1, 0]))
    size_only = build_problem(table, equal, budget, ties=ties)
    found = {b.name: b.objectives for b in baselines(tied, size_only)}
    possible = {round(score(plain, c), 9) for c in allowed(plain, ties)}
    assert {round(v, 9) for own in found.values() for v in own} <= possible
    assert (len(found["uniform"]), len(found["size_only"])) == (1, 1)
    # Few allocations fit; an allocation that is drawn again counts once.
    assert 1 < len(found["random"]) <= len(allowed(plain, ties))
