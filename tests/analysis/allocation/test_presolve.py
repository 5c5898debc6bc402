import dataclasses

import pytest
from hypothesis import given, settings

from analysis.allocation import presolve
from analysis.allocation.highs import Minimum, minimise
from analysis.allocation.hull_walk import hull_walk
from analysis.allocation.presolve import minimise_reduced, useful
from analysis.errors import InfeasibleBudgetError
from analysis.records import Budget
from tests.reference.allocation import (
    best_objective,
    every_choice,
    fits,
    layered_problem,
    score,
    small_problems,
    tied_problems,
)


@settings(max_examples=60)
@given(problem=small_problems(budgets=(0, 3), layers=5))
def test_no_optimum_is_left_out(problem):
    fitting = [c for c in every_choice(problem) if fits(problem, c)]
    if not fitting:
        with pytest.raises(InfeasibleBudgetError):
            minimise_reduced(problem, time_limit=30.0, relative_gap=0.0)
        return
    best = best_objective(problem)
    for known in (fitting[0], fitting[-1]):
        kept = useful(problem, known)
        ranked = [c for c in fitting if score(problem, c) < score(problem, known)] + [known]
        assert all(k in own for c in ranked for k, own in zip(c, kept, strict=True))
    found = minimise_reduced(problem, time_limit=30.0, relative_gap=0.0)
    assert problem.objective(found.choice) == pytest.approx(best, rel=1e-9, abs=1e-9)
    assert found.lower_bound <= problem.objective(found.choice) + 1e-9 * (1 + abs(best))


@settings(max_examples=60)
@given(drawn=tied_problems(budgets=(2, 3), layers=7, pairs=True))
def test_several_budgets_reduced_or_whole_have_one_optimum(drawn):
    for problem in (*drawn[:2], dataclasses.replace(drawn[1], pairs=())):
        whole = minimise(problem, problem.scores, problem.rows, time_limit=30.0, relative_gap=0.0)
        if whole.choice is None:
            with pytest.raises(InfeasibleBudgetError):
                minimise_reduced(problem, time_limit=30.0, relative_gap=0.0)
            continue
        found = minimise_reduced(problem, time_limit=30.0, relative_gap=0.0)
        alone = dataclasses.replace(problem, pairs=())
        best = alone.objective(whole.choice)
        assert not alone.overruns(found.choice)
        assert not alone.split_groups(found.choice)
        assert alone.objective(found.choice) == pytest.approx(best, rel=1e-9, abs=1e-9)
        assert found.status == whole.status == "optimal"
        assert found.lower_bound <= best + 1e-9 * (1 + abs(best))


def test_a_search_cut_short_is_no_worse_than_what_was_known(monkeypatch):
    limits = [Budget(resource="size", limit=0.6), Budget(resource="bops", limit=0.5)]
    problem = layered_problem(20, "w2a4 w4a4 w8a8", limits)
    known = hull_walk(problem).choice
    cheapest = tuple(0 for _ in known)
    monkeypatch.setattr(
        presolve, "minimise", lambda *args, **limits: Minimum(cheapest, -1.0, "timeout")
    )
    found = minimise_reduced(problem, time_limit=30.0, relative_gap=0.0)
    assert found == Minimum(known, -1.0, "timeout")


@pytest.mark.parametrize("resources", [("size",), ("size", "bops")])
def test_a_hundred_layers_become_a_fraction_with_the_same_optimum(resources):
    limits = [Budget(resource=r, limit=v) for r, v in zip(resources, (0.6, 0.5), strict=False)]
    problem = layered_problem(100, "w2a4 w3a4 w4a4 w5a8 w6a8 w7a8 w8a8 w16a8", limits)
    whole = minimise(problem, problem.scores, problem.rows, time_limit=30.0, relative_gap=0.0)
    found = minimise_reduced(problem, time_limit=30.0, relative_gap=0.0)
    best = problem.objective(whole.choice)
    assert problem.objective(found.choice) == pytest.approx(best, rel=1e-9)
    assert found.status == whole.status == "optimal"
    assert found.lower_bound == pytest.approx(whole.lower_bound, rel=1e-7)
    assert sum(map(len, useful(problem, found.choice))) < 250
