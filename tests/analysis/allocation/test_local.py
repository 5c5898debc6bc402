import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings

from analysis.allocation import build_problem, solve, solve_work
from analysis.allocation.descent import Descent
from analysis.allocation.local import LocalOptions, lower_bound
from analysis.events import Progress
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
from tests.reference.work import finish


def neighbours(problem, choice):
    """Return every allocation that fits and differs in one or two layers."""
    return [
        other
        for other in every_choice(problem)
        if 0 < sum(a != b for a, b in zip(choice, other, strict=True)) <= 2 and fits(problem, other)
    ]


@settings(max_examples=30)
@given(problem=small_problems(layers=4, pairs=True))
def test_no_change_of_one_or_two_layers_improves_its_answer(problem):
    best = best_objective(problem)
    assume(best is not None and problem.pairs)
    solution = solve(problem, "local", LocalOptions(restarts=1))
    choice = kept(problem, solution)
    slack = 1e-9 * (1 + max(abs(v) for own in problem.scores for v in own))
    assert solution.lower_bound - slack <= best <= solution.objective + slack
    assert (solution.status, solution.objective) == ("feasible", problem.objective(choice))
    singles = [g for g in problem.groups if len(g) == 1]
    if len(singles) == len(problem.groups):
        values = [score(problem, other) for other in neighbours(problem, choice)]
        assert min(values, default=np.inf) >= solution.objective - slack


@settings(max_examples=20)
@given(problem=small_problems(layers=4, pairs=True))
def test_the_field_is_what_each_candidate_would_score(problem):
    choices = every_choice(problem)
    descent = Descent(problem)
    descent.choose(choices[len(choices) // 2])
    choice = descent.choice
    for v, i in enumerate(descent.layer):
        other = list(choice)
        other[i] = int(v - descent.first[i])
        difference = score(problem, tuple(other)) - score(problem, choice)
        field = descent.field[v] - descent.field[descent.chosen[i]]
        assert field == pytest.approx(difference, rel=1e-6, abs=1e-6)


def test_two_layers_that_only_help_together_are_moved_together():
    # Either layer alone at 2 bits costs 1; both together gain 5.
    table = make_table([10, 10, 10])
    together = np.zeros((3, 2, 3, 2))
    together[0, 0, 1, 0] = together[1, 0, 0, 0] = -7.0
    scores = make_scores(table, "w2a8 w4a8", [[1, 0]] * 3, interactions=together)
    problem = build_problem(table, scores, ())
    solution = solve(problem, "local", LocalOptions(restarts=0))
    assert choice_of(problem, solution) == (0, 0, 1)


def test_a_group_changes_its_activation_format_as_a_whole():
    # The greedy answer without interactions is a8; with them a4 is better by far.
    table = make_table([10, 10, 10], groups=[0, 0, 1])
    together = np.zeros((3, 2, 3, 2))
    together[0, 0, 1, 0] = together[1, 0, 0, 0] = -9.0
    scores = make_scores(table, "w4a4 w4a8", [[1, 0]] * 3, interactions=together)
    problem = build_problem(table, scores, ())
    assert choice_of(problem, solve(problem, "milp")) == (1, 1, 1)
    solution = solve(problem, "local", LocalOptions(restarts=0))
    assert choice_of(problem, solution) == (0, 0, 1)


def test_more_starts_are_never_worse_and_a_seed_repeats():
    rng = np.random.default_rng(8)
    table = make_table([int(w) for w in rng.integers(100, 999, 16)])
    half = rng.normal(size=(16, 3, 16, 3))
    scores = make_scores(
        table,
        "w2a8 w4a8 w8a8",
        rng.random((16, 3)),
        interactions=half + half.transpose(2, 3, 0, 1),
    )
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=5)])
    found = [solve(problem, "local", LocalOptions(restarts=n)).objective for n in (0, 4, 12)]
    assert found == sorted(found, reverse=True)
    assert solve(problem, "local", LocalOptions(restarts=4)).objective == found[1]
    reports = list(solve_work(problem, "local", LocalOptions(restarts=2)))
    assert {r.total for r in reports if isinstance(r, Progress)} == {3}


def test_the_bound_charges_either_layer_half_of_the_least():
    table = make_table([10, 10])
    together = np.zeros((2, 2, 2, 2))
    together[0, :, 1, :] = [[4, 6], [2, 8]]
    together[1, :, 0, :] = together[0, :, 1, :].T
    scores = make_scores(table, "w2a8 w4a8", [[0, 1], [0, 0]], interactions=together)
    problem = build_problem(table, scores, ())
    # Halves of the least: rows 2, 1 and columns 1, 3; then 0 + 2, 1 + 1 and 0 + 1, 0 + 3.
    assert lower_bound(problem) == pytest.approx(2 + 1)
    assert lower_bound(dataclasses.replace(problem, pairs=())) == 0
    assert finish(solve_work(problem, "local")).lower_bound == pytest.approx(3)
