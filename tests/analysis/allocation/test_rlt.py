import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings

from analysis.allocation import build_problem, rlt_model, solve
from analysis.allocation.problem import Pair
from analysis.allocation.rlt import RltOptions
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


def interacting(layers: int, candidates: int, seed: int, *, budget: float = 5.0, noise: float = 1):
    """Return an indefinite problem: every two layers interact, more where bits are few."""
    rng = np.random.default_rng(seed)
    names = " ".join(["w2a8", "w4a8", "w8a8"][-candidates:])
    depth = np.array([16.0, 4.0, 1.0])[-candidates:]
    table = make_table([int(w) for w in rng.integers(1000, 9999, layers)])
    values = rng.lognormal(0, 1, (layers, 1)) * depth
    half = rng.normal(size=(layers, candidates, layers, candidates))
    half *= noise * np.multiply.outer(depth, depth)[None, :, None, :] / 16
    together = half + half.transpose(2, 3, 0, 1)
    scores = make_scores(table, names, values, interactions=together)
    return build_problem(table, scores, [Budget(resource="avg_bits", limit=budget)])


@settings(max_examples=30)
@given(problem=small_problems(layers=5, pairs=True))
def test_it_agrees_with_trying_every_allocation(problem):
    best = best_objective(problem)
    if not problem.pairs:
        with pytest.raises(AllocationError, match="must have interactions"):
            solve(problem, "rlt")
        return
    if best is None:
        with pytest.raises(InfeasibleBudgetError):
            solve(problem, "rlt")
        return
    solution = solve(problem, "rlt")
    assert solution.objective == pytest.approx(best, rel=1e-9, abs=1e-9 * (1 + abs(best)))
    kept(problem, solution)
    assert solution.status == "optimal"
    assert solution.lower_bound <= solution.objective


@settings(max_examples=30)
@given(problem=small_problems(layers=4, pairs=True))
def test_the_terms_of_the_program_sum_to_the_score(problem):
    terms = rlt_model.shifted(problem)
    for choice in every_choice(problem):
        assert terms.value(choice) >= 0
        assert terms.value(choice) + terms.offset == pytest.approx(
            score(problem, choice), rel=1e-9, abs=1e-6
        )


def test_an_interaction_with_a_pinned_layer_decides():
    table = make_table([10, 10, 10], pinned=(0,))
    together = np.zeros((3, 2, 3, 2))
    together[0, 1, 1, 1] = together[1, 1, 0, 1] = 5.0
    together[1, 0, 2, 0] = together[2, 0, 1, 0] = -0.5
    values = [[9, 9], [1, 0], [0, 1]]
    problem = build_problem(
        table, make_scores(table, "w4a8 w8a8", values, interactions=together), ()
    )
    solution = solve(problem, "rlt")
    assert choice_of(problem, solution) == (0, 0, 0)
    assert (solution.objective, solution.lower_bound) == (9.5, 9.5)


@pytest.mark.parametrize("seed", range(3))
def test_eight_layers_of_three_candidates_are_solved_exactly(seed):
    problem = interacting(8, 3, seed)
    solution = solve(problem, "rlt", RltOptions(restarts=0))
    assert solution.objective == pytest.approx(best_objective(problem), rel=1e-9)
    assert solution.status == "optimal"


def test_the_program_finds_the_optimum_from_a_bad_start():
    problem = interacting(6, 3, 3)
    fitting = [c for c in every_choice(problem) if fits(problem, c)]
    terms = rlt_model.shifted(problem)
    for choice in fitting[:5]:
        assert terms.value(choice) + terms.offset == pytest.approx(score(problem, choice))
    worst = max(fitting, key=lambda c: score(problem, c))
    model = rlt_model.RltModel(problem, terms, terms.value(worst), 1e4 / terms.value(worst))
    found, bound, ended = model.run(30.0, 0.0)
    best = best_objective(problem)
    assert score(problem, found) == pytest.approx(best, rel=1e-9)
    assert bound + terms.offset == pytest.approx(best, rel=1e-6)
    assert ended


def test_an_objective_may_be_negative():
    table = make_table([10, 10])
    together = np.zeros((2, 2, 2, 2))
    together[0, 0, 1, 0] = together[1, 0, 0, 0] = -7.0
    scores = make_scores(table, "w2a8 w4a8", [[2, 0], [3, 0]], interactions=together)
    solution = solve(build_problem(table, scores, ()), "rlt")
    assert (solution.objective, solution.lower_bound, solution.gap) == (-2.0, -2.0, 0.0)


def test_interactions_that_are_all_zero_leave_the_plain_problem():
    problem = interacting(10, 3, 4)
    zeros = tuple(
        Pair(p.first, p.second, tuple(tuple(0.0 for _ in own) for own in p.values))
        for p in problem.pairs
    )
    without = dataclasses.replace(problem, pairs=zeros)
    found, plain = solve(without, "rlt"), solve(without, "milp")
    assert found.objective == pytest.approx(plain.objective, rel=1e-9)
    assert found.status == plain.status == "optimal"


def test_time_that_runs_out_keeps_the_local_answer_and_an_honest_bound(monkeypatch):
    problem = interacting(6, 3, 5)
    monkeypatch.setattr(rlt_model.RltModel, "run", lambda *args: (None, 0.0, False))
    solution = solve(problem, "rlt", RltOptions(time_limit=2.0))
    start = solve(problem, "local")
    assert solution.status == "timeout"
    assert solution.objective >= best_objective(problem) >= solution.lower_bound
    assert solution.objective == pytest.approx(start.objective)
    assert "Stopped after 2 s; the lower bound holds." in solution.notes


def test_a_wide_gap_is_not_called_optimal():
    solution = solve(interacting(14, 3, 6, noise=3), "rlt", RltOptions(relative_gap=0.4))
    assert solution.status == "feasible"
    assert solution.gap > 0


def test_a_choice_that_slips_over_a_budget_by_a_tolerance_is_cut_off(monkeypatch):
    problem = interacting(6, 2, 7)
    over = next(c for c in every_choice(problem) if not fits(problem, c))
    run, results = rlt_model.RltModel.run, []

    def slipping(self, seconds, gap):
        found = (over, 0.0, True) if not results else run(self, seconds, gap)
        results.append(found[0])
        return found

    monkeypatch.setattr(rlt_model.RltModel, "run", slipping)
    solution = solve(problem, "rlt")
    assert len(results) == 2
    assert solution.objective == pytest.approx(best_objective(problem), rel=1e-9)
    # The cut leaves out the choice itself.
    model = rlt_model.RltModel(problem, rlt_model.shifted(problem), np.inf, 1.0)
    model.exclude([over])
    (terms, _, high) = model._rows[-1]
    columns = {column for column, _ in terms}
    assert high == sum(model.column[i, k] in columns for i, k in enumerate(over)) - 1
