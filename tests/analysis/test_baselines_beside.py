from dataclasses import replace

import numpy as np
import pytest

from analysis.allocation import build_problem, solve
from analysis.allocation.baselines import baselines
from analysis.allocation.random_feasible import random_feasible
from analysis.prediction import beside
from analysis.records import Baseline, Budget
from tests.reference.allocation import every_choice, fits, make_scores, make_table, score

TABLE = make_table([40, 30, 20, 10], groups=[0, 0, 1, 2])
TEXTS = "w2a8 w4a8 w8a8"
BUDGET = Budget(resource="avg_bits", limit=4.0)
EQUAL = [[4.0, 2.0, 0.0]] * 4


def problems(values, budget=BUDGET):
    return (
        build_problem(TABLE, make_scores(TABLE, TEXTS, values), (budget,)),
        build_problem(TABLE, make_scores(TABLE, TEXTS, EQUAL), (budget,)),
    )


def test_baselines_are_scored_by_the_scores_that_were_solved():
    values = np.random.default_rng(0).random((4, 3))
    problem, size_only = problems(values)
    uniform, equal, drawn = baselines(problem, size_only)
    assert uniform.objectives == (pytest.approx(min(values[:, :2].sum(0))),)
    best = min(
        (c for c in every_choice(problem) if fits(problem, c)), key=lambda c: score(size_only, c)
    )
    least = score(size_only, best)
    ties = [
        score(problem, c)
        for c in every_choice(problem)
        if fits(problem, c) and score(size_only, c) <= least + 1e-9
    ]
    assert any(equal.objectives[0] == pytest.approx(value) for value in ties)
    feasible = [score(problem, c) for c in every_choice(problem) if fits(problem, c)]
    assert len(drawn.objectives) == len(set(random_feasible(problem, 20, 0))) > 1
    assert all(any(v == pytest.approx(f) for f in feasible) for v in drawn.objectives)
    assert solve(problem, "milp").objective <= min(drawn.objectives) + 1e-12


def test_uniform_bits_that_pins_rule_out_are_absent_with_their_reason():
    table = make_table([40, 30])
    scores = make_scores(table, "w2a8 w4a8 w6a8 w8a8", np.zeros((2, 4)))
    pins = {"layer0": scores.candidates[:2], "layer1": scores.candidates[2:]}
    problem = build_problem(table, scores, (), pins)
    uniform = baselines(problem, problem)[0]
    assert uniform.objectives == ()
    assert "Release a pin" in uniform.reason


def test_an_allocation_that_is_drawn_again_counts_once():
    problem, size_only = problems(
        np.random.default_rng(2).random((4, 3)), Budget(resource="avg_bits", limit=2.0)
    )
    drawn = baselines(problem, size_only)[2]
    assert drawn.objectives == (pytest.approx(problem.objective((0, 0, 0, 0))),)
    solution = replace(solve(problem, "milp"), baselines=(drawn,))
    assert "the one allocation that was drawn at random" in beside(solution)


def test_the_sentence_names_every_baseline_and_how_many_random_ones_are_as_good():
    problem, size_only = problems(np.random.default_rng(1).random((4, 3)))
    solution = replace(solve(problem, "milp"), baselines=baselines(problem, size_only))
    text = beside(solution)
    assert "uniform bits" in text
    assert "size-only" in text
    assert f"{len(solution.baselines[2].objectives)} random allocations" in text
    even = replace(
        solution,
        baselines=(
            Baseline(name="uniform", objectives=(), reason="none fits"),
            Baseline(name="random", objectives=(solution.objective,) * 3 + (9.0,)),
        ),
    )
    assert "uniform bits do not fit" in beside(even)
    assert beside(even).endswith("3 of 4 random ones are as good.")
    one = Baseline(name="random", objectives=(solution.objective, 9.0))
    assert beside(replace(even, baselines=(one,))).endswith("1 of 2 random ones is as good.")
    assert beside(replace(solution, baselines=())) == ""
