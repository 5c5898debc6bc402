"""Ties: what they make of a problem, and which are refused."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings

from analysis.allocation import Problem, build_problem, solve
from analysis.allocation.tying import checked_ties, tie, united
from analysis.errors import AllocationError, UnknownNameError
from analysis.records import Allocation, Budget, Candidate
from tests.reference.allocation import make_scores, make_table, small_problems

W4A4, W4A8, W8A8 = (Candidate.parse(text) for text in ("w4a4", "w4a8", "w8a8"))
FOUR = make_table([10, 20, 30, 40])
VALUES = [[1.5, 2], [3, 4], [5, -6], [7, 8]]
BITS = Budget(resource="avg_bits", limit=6)


def built(ties, table=FOUR, texts="w4a8 w8a8", values=VALUES, **others) -> Problem:
    return build_problem(table, make_scores(table, texts, values), (BITS,), ties=ties, **others)


def texts(problem: Problem) -> list[str]:
    return [" ".join(c.text for c in own) for own in problem.candidates]


def test_scores_and_costs_of_a_tie_are_sums_at_the_place_of_its_first_layer():
    problem = built([("layer3", "layer1")])
    assert problem.members == ((0,), (1, 3), (2,))
    assert problem.scores == ((1.5, 2), (10, 12), (5, -6))
    assert problem.rows[0].costs == ((40, 80), (240, 480), (120, 240))
    assert problem.apart == ((), ((3, 4), (7, 8)), ())
    assert problem.each(0) == ((1.5, 2),)
    assert problem.called(1) == "`layer1` with `layer3`"
    assert "Tied, so that they take the same candidate: `layer1`, `layer3`." in problem.notes


def test_a_choice_is_written_out_layer_by_layer_and_read_back():
    problem = built([("layer3", "layer1")])
    allocation = problem.allocation((0, 1, 0))
    assert [c.text for c in allocation.candidates] == ["w4a8", "w8a8", "w4a8", "w8a8"]
    assert allocation.layers == FOUR.names
    assert problem.choice(allocation) == (0, 1, 0)
    strange = Allocation(layers=FOUR.names, candidates=(W4A4,) * 4)
    with pytest.raises(ValueError, match="not in tuple"):
        problem.choice(strange)


@settings(max_examples=40)
@given(problem=small_problems(layers=5, pairs=True))
def test_ties_of_single_layers_change_nothing_bit_for_bit(problem):
    assert tie(problem, ()) is problem
    same = tie(problem, [(i,) for i in range(len(problem.members))])
    assert dataclasses.replace(same, notes=problem.notes) == problem


def test_ties_one_after_the_other_are_ties_at_once():
    later = tie(built([("layer0", "layer2")]), [(1, 2)])
    at_once = built([("layer0", "layer2"), ("layer1", "layer3")])
    assert dataclasses.replace(later, notes=at_once.notes) == at_once


def test_interactions_inside_a_tie_are_scores_and_those_across_are_added():
    rng = np.random.default_rng(0)
    half = rng.normal(size=(4, 2, 4, 2))
    both = half + half.transpose(2, 3, 0, 1)
    scores = make_scores(FOUR, "w4a8 w8a8", VALUES, interactions=both)
    plain = build_problem(FOUR, scores, ())
    problem = build_problem(FOUR, scores, (), ties=[("layer0", "layer2")])
    assert [(p.first, p.second) for p in problem.pairs] == [(0, 1), (0, 2), (1, 2)]
    # layer1 comes before layer2, so its interaction with the tie is turned round.
    assert np.array(problem.pairs[0].values) == pytest.approx(both[0, :, 1] + both[2, :, 1])
    assert problem.scores[0] == pytest.approx(
        [1.5 + 5 + both[0, 0, 2, 0], 2 - 6 + both[0, 1, 2, 1]]
    )
    assert "What tied layers cost together is part of their scores." in problem.notes
    for a in (0, 1):
        for b in (0, 1):
            for c in (0, 1):
                alike = plain.objective((a, b, a, c))
                assert problem.objective((a, b, c)) == pytest.approx(alike)


def test_layers_that_only_interact_inside_a_tie_need_no_solver_for_interactions():
    half = np.zeros((4, 2, 4, 2))
    half[0, 0, 1, 0] = half[1, 0, 0, 0] = 3.0
    scores = make_scores(FOUR, "w4a8 w8a8", VALUES, interactions=half)
    problem = build_problem(FOUR, scores, (BITS,), ties=[("layer0", "layer1")])
    assert problem.pairs == ()
    with pytest.raises(AllocationError, match="between layers that are free to differ"):
        solve(problem, "rlt")


def test_a_tie_makes_one_group_of_the_groups_it_connects():
    table = make_table([10, 20, 30, 40], groups=[0, 1, 0, 1])
    problem = built([("layer2", "layer3")], table, "w4a4 w8a8")
    assert problem.members == ((0,), (1,), (2, 3))
    assert problem.groups == ((0, 1, 2),)


def test_a_pinned_format_reaches_every_group_that_ties_connect():
    table = make_table([10, 20, 30, 40], groups=[0, 1, 0, 1], pinned=(0,))
    problem = built([("layer2", "layer3")], table, "w4a4 w4a8 w8a8", np.zeros((4, 3)))
    assert texts(problem) == ["w8a8", "w4a8 w8a8", "w4a8 w8a8"]
    assert any("read a common tensor or are tied" in note for note in problem.notes)


def test_groups_that_do_not_overlap_are_joined_in_order():
    assert united([(0, 2), (1,), (3, 4)], [(4, 0)]) == ((0, 2, 3, 4), (1,))
    assert united([("a",), ("b",), ("c",)], [("c", "b"), ("a", "b")]) == (("a", "b", "c"),)


def test_a_pin_holds_every_layer_that_its_layer_is_tied_to():
    table = make_table([10, 20, 30, 40], pinned=(0,))
    problem = built([("layer2", "layer0", "layer3")], table)
    assert texts(problem) == ["w8a8", "w4a8 w8a8"]
    assert problem.scores[0] == (2 - 6 + 8,)
    follow = "`layer2`, `layer3` follow the pin of `layer0` to w8a8: tied."
    assert follow in problem.notes
    unscored = built([("layer0", "layer2")], table, "w2a8 w4a8")
    assert texts(unscored)[0] == "w8a8"
    assert "`layer2` is pinned to w8a8, which has no score: it counts 0." in unscored.notes


def test_a_released_layer_leaves_its_tie_free():
    table = make_table([10, 20, 30, 40], pinned=(0,))
    free = {"layer0": (W4A8, W8A8)}
    problem = built([("layer0", "layer1")], table, pins=free)
    assert texts(problem)[0] == "w4a8 w8a8"
    assert not any("follow" in note for note in problem.notes)
    held = built([("layer0", "layer1")], table, pins=free | {"layer1": W4A8})
    assert texts(held)[0] == "w4a8"


def test_pins_that_contradict_a_tie_name_both_layers():
    table = make_table([10, 20, 30, 40], pinned=(0,))
    with pytest.raises(AllocationError, match=r"`layer0`: w8a8; `layer2`: w4a8.*out of the tie"):
        built([("layer0", "layer2")], table, pins={"layer2": W4A8})


def test_pins_that_only_a_tie_connects_need_one_activation_format():
    table = make_table([10, 20, 30, 40], groups=[0, 1, 0, 1])
    pins = {"layer0": W4A4, "layer1": W8A8}
    with pytest.raises(AllocationError, match=r"or are tied must be .* `layer0`: w4a4; `layer1`"):
        built([("layer2", "layer3")], table, "w4a4 w8a8", pins=pins)


def test_a_tie_of_layers_with_and_without_scores_is_refused_unless_a_pin_decides():
    scores = make_scores(FOUR, "w4a8 w8a8", VALUES[:3], layers=FOUR.names[:3])
    ties = [("layer1", "layer3")]
    with pytest.raises(AllocationError, match=r"`layer3` has no scores .* `layer1` may take w4a8"):
        build_problem(FOUR, scores, (), ties=ties)
    with pytest.raises(AllocationError, match="must have a candidate in common"):
        build_problem(FOUR, scores, (), {"layer1": (W4A8, W8A8)}, ties=ties)
    problem = build_problem(FOUR, scores, (), {"layer1": W4A8}, ties=ties)
    assert [c.text for c in problem.allocation((0, 0, 0)).candidates] == ["w4a8"] * 4
    none = make_scores(FOUR, "w4a8 w8a8", VALUES[:2], layers=FOUR.names[:2])
    both = build_problem(FOUR, none, (), ties=[("layer2", "layer3")])
    assert texts(both)[-1] == "float"


@pytest.mark.parametrize(
    ("ties", "text"),
    [
        ([("layer1",)], "at least two layers, got only `layer1`"),
        ([()], "at least two layers, got none"),
        ([("layer1", "layer1")], "there once, got `layer1` more often"),
        ([("layer0", "layer1"), ("layer1", "layer2")], "in one tie .* `layer1` more often; join"),
    ],
)
def test_a_tie_needs_two_layers_and_a_layer_one_tie(ties, text):
    with pytest.raises(AllocationError, match=text):
        built(ties)


def test_a_tie_of_an_unknown_layer_names_the_near_one():
    with pytest.raises(UnknownNameError, match=r"`layr1`.*`layer1`"):
        checked_ties(FOUR, [("layr1", "layer2")])


def test_layers_with_other_candidates_cannot_be_tied_afterwards():
    problem = built((), pins={"layer0": W4A8})
    with pytest.raises(ValueError, match="the same candidates"):
        tie(problem, [(0, 1)])
