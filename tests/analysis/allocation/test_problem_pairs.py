from dataclasses import replace

import numpy as np
import pytest

from analysis.allocation import build_problem, solve
from analysis.allocation.problem import Pair
from analysis.allocation.solvers import SOLVERS, Answer
from analysis.errors import AllocationError
from analysis.prediction import predict
from analysis.records import Budget, Candidate
from tests.reference.allocation import make_scores, make_table

TABLE = make_table([10, 20, 30], pinned=(2,))


def symmetric(rng, layers, columns):
    half = rng.normal(size=(layers, columns, layers, columns))
    whole = half + half.transpose(2, 3, 0, 1)
    for i in range(layers):
        whole[i, :, i] = 0
    return whole


def test_interactions_follow_the_layers_and_candidates_of_the_problem():
    table = make_table([10, 20, 30])
    found = symmetric(np.random.default_rng(0), 2, 2)
    scores = make_scores(
        table, "w4a8 w8a8", np.zeros((2, 2)), layers=("layer2", "layer0"), interactions=found
    )
    problem = build_problem(table, scores, (), {"layer0": Candidate("int8", "int8")})
    # layer0 is the second row of the scores and can only take the second candidate.
    expected = tuple((float(found[1, 1, 0, k]),) for k in range(2))
    assert problem.pairs == (Pair(0, 2, (tuple(v for (v,) in expected),)),)


def test_an_objective_counts_every_pair_once_as_the_prediction_does():
    rng = np.random.default_rng(1)
    table = make_table([10, 20, 30])
    scores = make_scores(
        table, "w4a8 w8a8", rng.normal(size=(3, 2)), interactions=symmetric(rng, 3, 2)
    )
    problem = build_problem(table, scores, ())
    for choice in [(0, 0, 0), (0, 1, 0), (1, 1, 1)]:
        alone = sum(scores.values[i, k] for i, k in enumerate(choice))
        pairs = sum(
            scores.interactions[i, choice[i], j, choice[j]] for i in range(3) for j in range(i)
        )
        assert problem.objective(choice) == pytest.approx(alone + pairs)
        assert predict(scores, problem.allocation(choice)).value == pytest.approx(alone + pairs)


def test_a_pin_without_a_score_interacts_with_nothing():
    scores = make_scores(TABLE, "w2a8 w4a8", np.zeros((3, 2)), interactions=np.ones((3, 2, 3, 2)))
    assert [(p.first, p.second) for p in build_problem(TABLE, scores, ()).pairs] == [(0, 1)]


@pytest.mark.parametrize("found", [np.full((3, 2, 3, 2), np.nan), np.zeros((2, 2, 2, 2))])
def test_interactions_that_cannot_be_summed_are_refused(found):
    scores = make_scores(TABLE, "w4a8 w8a8", np.zeros((3, 2)), interactions=found)
    with pytest.raises(AllocationError, match="must be finite and of shape"):
        build_problem(TABLE, scores, ())


def test_a_solver_that_sums_layers_says_that_it_leaves_interactions_out():
    rng = np.random.default_rng(2)
    values = rng.random((3, 2))
    scores = make_scores(TABLE, "w4a8 w8a8", values, interactions=100 * symmetric(rng, 3, 2))
    budget = Budget(resource="avg_bits", limit=6.5)
    with_pairs = solve(build_problem(TABLE, scores, (budget,)), "milp")
    plain = make_scores(TABLE, "w4a8 w8a8", values)
    without = solve(build_problem(TABLE, plain, (budget,)), "milp")
    assert with_pairs.allocation == without.allocation
    assert with_pairs.objective == without.objective
    assert "left out" in with_pairs.notes[-1]
    assert not without.notes


def test_a_solver_that_needs_what_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(SOLVERS, "_methods", dict(SOLVERS._methods))

    @SOLVERS.register("asks", title="", answers="", needs=("interactions",))
    def asks(problem, options):
        return Answer(choice=(0, 0, 0), status="feasible")

    @SOLVERS.register("tries", title="", answers="", needs=("measured",))
    def tries(problem, options, measure):
        return Answer(choice=(0, 0, measure), status="feasible")

    problem = build_problem(TABLE, make_scores(TABLE, "w8a8", np.zeros((3, 1))), ())
    with pytest.raises(AllocationError, match="must have interactions of layers"):
        solve(problem, "asks")
    with pytest.raises(AllocationError, match="must be able to measure allocations"):
        solve(problem, "tries")
    assert solve(problem, "tries", measure=0).status == "feasible"


def test_a_pair_must_fit_the_problem():
    problem = build_problem(TABLE, make_scores(TABLE, "w4a8 w8a8", np.zeros((3, 2))), ())
    for pairs in [
        (Pair(1, 0, ((0.0, 0.0), (0.0, 0.0))),),
        (Pair(0, 1, ((0.0, 0.0), (0.0, 0.0))),) * 2,
        (Pair(0, 1, ((0.0,),)),),
    ]:
        with pytest.raises(ValueError, match="pair"):
            replace(problem, pairs=pairs)
