"""What a tie means to the solvers that look at more than sums, by hand."""

import numpy as np
import pytest

from analysis.allocation import build_problem, solve
from analysis.allocation.free_bits import raise_free_bits
from analysis.allocation.ompq_lp import OmpqOptions
from analysis.allocation.prefix import PrefixOptions
from analysis.quant.formats import bits_of
from analysis.records import Allocation, Budget
from tests.reference.allocation import make_scores, make_table
from tests.reference.evaluations import made_up_evaluation
from tests.reference.latency import times


def test_the_largest_single_score_of_tied_layers_counts_not_their_sum():
    # Two tied layers of 3 are no worse than one of 3, though they sum to 6.
    table = make_table([10, 10, 20])
    scores = make_scores(table, "w4a8 w8a8", [[3, 0], [3, 0], [4, 0]])
    budget = [Budget(resource="avg_bits", limit=6)]
    problem = build_problem(table, scores, budget, ties=[("layer0", "layer1")])
    solution = solve(problem, "minmax")
    assert [c.text for c in solution.allocation.candidates] == ["w4a8", "w4a8", "w8a8"]
    assert "largest score of a layer that is free is 3, proven" in solution.notes[-1]
    # The least sum takes the single layer's 4 instead of 3 + 3.
    least = solve(problem, "milp").allocation.candidates
    assert [c.text for c in least] == ["w8a8", "w8a8", "w4a8"]


@pytest.mark.parametrize("tail_average", [False, True])
def test_a_tie_has_the_importance_of_its_layers_averaged_layer_by_layer(tail_average):
    # Importances 1, 8, 3, 4 fall to tail means 4, 5, 3.5, 4; the tie has 1 + 4 or 4 + 4.
    table = make_table([10, 10, 10, 10])
    gains = np.array([1.0, 8, 3, 4])
    scores = make_scores(table, "w2a8 w3a8 w4a8", np.multiply.outer(gains, [2, 1, 0]))
    budget = [Budget(resource="avg_bits", limit=3)]
    problem = build_problem(table, scores, budget, ties=[("layer0", "layer3")])
    options = OmpqOptions(tail_average=tail_average)
    solution = solve(problem, "ompq_lp", options)
    bits = [bits_of(c.weight) for c in solution.allocation.candidates]
    # Ratios 5 / 20, 8 / 10, 3 / 10 against 8 / 20, 5 / 10, 3.5 / 10: room for 4 steps of 10.
    assert bits == ([2, 4, 4, 2] if not tail_average else [3, 4, 2, 3])


def test_tied_layers_are_raised_only_where_none_becomes_slower():
    table = make_table([10, 20, 10])
    texts = ("w2a8", "w4a8", "w8a8")
    values = [[2, 1, 0]] * 3
    # At w8a8 the sum of layer0 and layer1 stays 10, but layer1 becomes slower.
    rows = {"layer0": (5, 4, 1), "layer1": (5, 5, 9), "layer2": (5, 5, 5)}
    latency = times(
        *((name, t, us) for name, own in rows.items() for t, us in zip(texts, own, strict=True))
    )
    scores = make_scores(table, " ".join(texts), values)
    problem = build_problem(table, scores, [], latency=latency, ties=[("layer0", "layer1")])
    after, notes = raise_free_bits(problem, (0, 0))
    assert [c.text for c in problem.allocation(after).candidates] == ["w4a8", "w4a8", "w8a8"]
    assert "raised 3 layers, none of them slower: `layer0` w2a8 to w4a8" in notes[0]
    alone = build_problem(table, scores, [], latency=latency)
    free = alone.allocation(raise_free_bits(alone, (0, 0, 0))[0]).candidates
    assert [c.text for c in free] == ["w8a8", "w4a8", "w8a8"]


def test_a_sorted_list_without_a_budget_saves_the_weights_of_all_tied_layers():
    # Per weight the tie of 40 + 10 is the cheapest to lower, per layer it is not.
    table = make_table([40, 30, 10])
    scores = make_scores(table, "w4a8 w8a8", [[4, 0], [4, 0], [2, 0]])
    problem = build_problem(table, scores, (), ties=[("layer0", "layer2")])
    seen = []

    def one(allocation: Allocation):
        yield from ()
        seen.append([c.text for c in allocation.candidates])
        return made_up_evaluation(0.0)

    options = PrefixOptions(search="sequential")
    solve(problem, "prefix", options, one)
    assert seen == [["w8a8"] * 3, ["w4a8", "w8a8", "w4a8"], ["w4a8"] * 3]
