import dataclasses

import numpy as np
import pytest

from analysis.allocation import allocation_costs, build_problem
from analysis.errors import AllocationError, QuantizationError, UnknownNameError
from analysis.models.cost import costs
from analysis.records import FLOAT, Allocation, Budget, Candidate, Skipped
from tests.reference.allocation import make_scores, make_table

W4A4, W4A8, W8A8 = (Candidate.parse(text) for text in ("w4a4", "w4a8", "w8a8"))
SIZE = Budget(resource="size", limit=0.9)
THREE = make_table([10, 20, 30])


def texts(problem):
    return [" ".join(c.text for c in own) for own in problem.candidates]


def test_free_layers_keep_every_candidate_and_its_score():
    problem = build_problem(THREE, make_scores(THREE, "w4a8 w8a8", [[1, 2], [3, 4], [5, -6]]), ())
    assert texts(problem) == ["w4a8 w8a8"] * 3
    assert problem.scores == ((1, 2), (3, 4), (5, -6))
    assert (problem.metric, problem.unit, problem.notes) == ("made_up", "nats", ())


def test_a_pinned_layer_takes_w8a8_with_its_score():
    table = make_table([10, 20], pinned=(0,))
    problem = build_problem(table, make_scores(table, "w4a8 w8a8", [[1, 2], [3, 4]]), ())
    assert texts(problem) == ["w8a8", "w4a8 w8a8"]
    assert problem.scores[0] == (2,)


def test_a_pin_without_a_score_counts_nothing_and_is_noted():
    table = make_table([10, 20], pinned=(0,))
    problem = build_problem(table, make_scores(table, "w2a8 w4a8", [[1, 2], [3, 4]]), ())
    assert problem.scores[0] == (0.0,)
    assert problem.notes == ("`layer0` is pinned to w8a8, which has no score: it counts 0.",)


def test_a_pin_of_the_caller_replaces_the_default_one():
    table = make_table([10, 20], pinned=(0,))
    scores = make_scores(table, "w4a8 w8a8", np.zeros((2, 2)))
    assert texts(build_problem(table, scores, (), {"layer0": W4A8}))[0] == "w4a8"
    assert texts(build_problem(table, scores, (), {"layer0": (W8A8, W4A8)}))[0] == "w8a8 w4a8"


def test_a_pin_of_several_candidates_needs_their_scores():
    scores = make_scores(THREE, "w4a8 w8a8", np.zeros((3, 2)))
    with pytest.raises(AllocationError, match="w4a4 without a score; scored: w4a8, w8a8"):
        build_problem(THREE, scores, (), {"layer0": (W4A4, W8A8)})


def test_a_pin_of_an_unknown_layer_names_the_near_one():
    scores = make_scores(THREE, "w4a8", np.zeros((3, 1)))
    with pytest.raises(UnknownNameError, match="`layer1`"):
        build_problem(THREE, scores, (), {"layr1": W4A8})


def test_a_pinned_activation_format_binds_its_group():
    table = make_table([10, 20, 30], groups=[0, 0, 1], pinned=(0,))
    scores = make_scores(table, "w4a4 w4a8 w8a8", np.zeros((3, 3)))
    problem = build_problem(table, scores, ())
    assert texts(problem) == ["w8a8", "w4a8 w8a8", "w4a4 w4a8 w8a8"]
    assert "`layer1` can only take int8 activations" in problem.notes[0]


def test_contradicting_pins_name_the_layers_and_their_formats():
    table = make_table([10, 20, 30], groups=[0, 1, 0])
    scores = make_scores(table, "w4a4 w8a8", np.zeros((3, 2)))
    with pytest.raises(AllocationError, match="`layer0`: w4a4; `layer2`: w8a8"):
        build_problem(table, scores, (), {"layer0": W4A4, "layer2": W8A8})


def test_a_group_without_the_pinned_format_says_which_candidate_to_add():
    table = make_table([10, 20], groups=[0, 0], pinned=(0,))
    scores = make_scores(table, "w2a4 w4a4", np.zeros((2, 2)))
    with pytest.raises(AllocationError, match=r"`layer1` must take .* int8.*such as w2a8"):
        build_problem(table, scores, ())


def test_a_layer_without_scores_keeps_its_float_weight_and_costs_it():
    scores = make_scores(THREE, "w4a8 w8a8", np.zeros((2, 2)), layers=("layer0", "layer2"))
    problem = build_problem(THREE, scores, (SIZE,))
    assert texts(problem) == ["w4a8 w8a8", "float", "w4a8 w8a8"]
    assert problem.rows[0].costs[1] == (20 * 32,)
    assert problem.notes == ("`layer1` keeps its float weight: it has no scores.",)


def test_a_layer_without_scores_follows_the_activations_of_its_group():
    table = make_table([10, 20], groups=[0, 0])
    scores = make_scores(table, "w4a4 w8a8", np.zeros((1, 2)), layers=("layer1",))
    own = build_problem(table, scores, ()).candidates[0]
    assert own == (Candidate(FLOAT, "int4"), Candidate(FLOAT, "int8"))


def test_the_reason_of_a_skipped_layer_is_passed_on():
    scores = dataclasses.replace(
        make_scores(THREE, "w4a8", np.zeros((2, 1)), layers=("layer0", "layer2")),
        skipped=(Skipped(name="layer1", kind="Linear", num_params=20, reason="never called"),),
    )
    assert "never called" in build_problem(THREE, scores, ()).notes[0]


@pytest.mark.parametrize(
    ("candidates", "values", "text"),
    [
        ("w4a8 w8a8", np.zeros(3), "choose a metric that tells candidates apart"),
        ("", np.zeros((3, 0)), "0 candidates"),
        ("w4a8 w4a8", np.zeros((3, 2)), "repeats one"),
        ("w4a8", [[0], [np.nan], [0]], "nan for w4a8 of `layer1`"),
    ],
)
def test_scores_that_cannot_be_summed_are_refused(candidates, values, text):
    with pytest.raises(AllocationError, match=text):
        build_problem(THREE, make_scores(THREE, candidates, values), ())


def test_scores_of_another_model_are_refused():
    scores = make_scores(THREE, "w4a8", np.zeros((1, 1)), layers=("other",))
    with pytest.raises(AllocationError, match="`small` has no layer other"):
        build_problem(THREE, scores, ())


def test_a_resource_cannot_have_two_budgets():
    scores = make_scores(THREE, "w4a8", np.zeros((3, 1)))
    with pytest.raises(AllocationError, match="one budget"):
        build_problem(THREE, scores, (SIZE, SIZE))


def test_a_model_without_layers_is_refused():
    table = make_table([])
    with pytest.raises(AllocationError, match="must have a layer"):
        build_problem(table, make_scores(table, "w4a8", np.zeros((0, 1))), ())


def test_allocation_costs_read_the_bits_of_the_formats():
    own = (W4A4, W8A8, Candidate(FLOAT, "int8"))
    allocation = Allocation(layers=THREE.names, candidates=own)
    expected = costs(THREE, [4, 8, 32], [4, 8, 8])
    # One scale per output channel of the first two; the third stays float.
    expected = dataclasses.replace(expected, scales_mib=(10 + 20) * 32 / 2**23)
    assert allocation_costs(THREE, allocation) == expected


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        (("layer0", "layer1"), "missing: layer2"),
        (("layer0", "layer1", "x"), "missing: layer2; unknown: x"),
        (("layer1", "layer0", "layer2"), "order differs"),
        (("layer0", "layer1", "layer2", "layer2"), "comes twice"),
    ],
)
def test_an_allocation_must_hold_every_layer_once_in_order(layers, text):
    allocation = Allocation(layers=layers, candidates=(W8A8,) * len(layers))
    with pytest.raises(QuantizationError, match=text):
        allocation_costs(THREE, allocation)
