import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.allocation.edit import LADDER, default_pins, from_formats, settle
from analysis.errors import UnknownNameError
from analysis.quant.formats import bits_of
from analysis.records import ActivationTensor, Allocation, Candidate, Layer, LayerTable

NAMES = ("stem", "left", "right", "fc")
GROUPS = (0, 1, 1, 2)


def table() -> LayerTable:
    layers = tuple(
        Layer(
            name=name,
            kind="linear",
            weight_name=f"{name}.weight",
            weight_shape=(2, 2),
            channel_axis=0,
            output_shape=(2,),
            num_weights=4,
            num_biases=0,
            macs=4,
            activation_group=group,
            calls=(at,),
            inputs=(group,),
            pinned=name in ("stem", "fc"),
        )
        for at, (name, group) in enumerate(zip(NAMES, GROUPS, strict=True))
    )
    tensors = tuple(
        ActivationTensor(id=g, call=-1, slot=0, produced_by="", shape=(2,), readers=())
        for g in set(GROUPS)
    )
    return LayerTable(
        model="m",
        layers=layers,
        tensors=tensors,
        skipped=(),
        params_before_folding=16,
        params_after_folding=16,
    )


def allocation(*texts: str) -> Allocation:
    return Allocation(layers=NAMES, candidates=tuple(Candidate.parse(text) for text in texts))


EIGHT = allocation("w8a8", "w8a8", "w8a8", "w8a8")


def texts(found: Allocation) -> list[str]:
    return [candidate.text for candidate in found.candidates]


def test_first_and_last_layer_are_held_by_default():
    assert default_pins(table()) == ("stem", "fc")


def test_a_pinned_layer_keeps_what_it_had_and_others_change():
    wanted = allocation("w2a8", "w4a8", "w8a8", "w2a8")
    found = settle(table(), EIGHT, wanted, ("stem", "fc"))
    assert texts(found) == ["w8a8", "w4a8", "w8a8", "w8a8"]


def test_without_pins_every_layer_changes():
    wanted = allocation("w2a4", "w4a8", "w3a8", "w2a2")
    assert settle(table(), EIGHT, wanted, ()) == wanted


@pytest.mark.parametrize("changed", [1, 2])
def test_a_group_follows_the_member_whose_activation_changed(changed: int):
    wanted = list(texts(EIGHT))
    wanted[changed] = "w8a4"
    found = settle(table(), EIGHT, allocation(*wanted), ())
    assert texts(found) == ["w8a8", "w8a4", "w8a4", "w8a8"]


def test_a_group_keeps_the_activation_of_its_pinned_member():
    found = settle(table(), EIGHT, allocation("w8a8", "w8a4", "w3a4", "w8a8"), ("left",))
    assert texts(found) == ["w8a8", "w8a8", "w3a8", "w8a8"]


def test_an_allocation_from_elsewhere_is_settled_to_its_first_or_pinned_member():
    split = allocation("w8a8", "w8a4", "w8a6", "w8a8")
    assert texts(settle(table(), split, split, ()))[1:3] == ["w8a4", "w8a4"]
    assert texts(settle(table(), split, split, ("right",)))[1:3] == ["w8a6", "w8a6"]


def test_what_is_settled_stays_as_it_is():
    split = allocation("w8a8", "w8a4", "w8a6", "w8a8")
    once = settle(table(), EIGHT, split, ("right",))
    assert settle(table(), once, once, ("right",)) == once


TIE = (("stem", "left"),)


@pytest.mark.parametrize("changed", ["stem", "left"])
def test_a_tied_layer_takes_the_candidate_of_the_one_that_changed(changed: str):
    wanted = list(texts(EIGHT))
    wanted[NAMES.index(changed)] = "w3a4"
    found = settle(table(), EIGHT, allocation(*wanted), (), TIE)
    # The tie joins stem to the group of left and right, whose weights stay their own.
    assert texts(found) == ["w3a4", "w3a4", "w8a4", "w8a8"]


def test_one_tied_layer_may_change_in_weights_and_another_in_activations():
    found = settle(table(), EIGHT, allocation("w8a4", "w3a8", "w8a8", "w8a8"), (), TIE)
    assert texts(found) == ["w3a4", "w3a4", "w8a4", "w8a8"]


def test_a_pinned_layer_holds_those_that_it_is_tied_to():
    wanted = allocation("w8a8", "w3a4", "w2a8", "w8a8")
    assert texts(settle(table(), EIGHT, wanted, ("stem",), TIE)) == ["w8a8", "w8a8", "w2a8", "w8a8"]


def test_a_tie_hands_an_activation_format_from_one_group_to_another():
    wanted = allocation("w8a8", "w8a8", "w8a8", "w2a4")
    found = settle(table(), EIGHT, wanted, (), (("right", "fc"),))
    assert texts(found) == ["w8a8", "w8a4", "w2a4", "w2a4"]


def test_of_tied_layers_from_elsewhere_the_first_or_pinned_one_counts():
    split = allocation("w2a2", "w4a4", "w6a6", "w8a8")
    assert texts(settle(table(), split, split, (), TIE)) == ["w2a2", "w2a2", "w6a2", "w8a8"]
    assert texts(settle(table(), split, split, ("left",), TIE)) == ["w4a4", "w4a4", "w6a4", "w8a8"]
    wanted = allocation("w2a2", "w4a8", "w6a6", "w8a8")
    assert texts(settle(table(), split, wanted, (), TIE))[:2] == ["w4a8", "w4a8"]


@given(data=st.data())
def test_pins_ties_and_groups_settle_in_one_step_whatever_is_changed(data: st.DataObject):
    candidates = st.lists(st.sampled_from(["w2a2", "w2a4", "w4a2", "w8a8"]), min_size=4, max_size=4)
    before, wanted = (allocation(*data.draw(candidates)) for _ in range(2))
    sides = data.draw(st.permutations(NAMES))
    ties = data.draw(st.sampled_from([(), (sides[:2],), (sides[:2], sides[2:]), (sides[:3],)]))
    pins = data.draw(st.sets(st.sampled_from(NAMES), max_size=1))
    found = settle(table(), before, wanted, pins, ties)
    assert settle(table(), found, found, pins, ties) == found
    assert settle(table(), before, found, pins, ties) == found
    own = found.as_dict()
    assert all(own[name] == before.as_dict()[name] for name in pins)
    assert all(len({own[name] for name in tie}) == 1 for tie in ties)
    assert own["left"].activation == own["right"].activation


def test_a_tie_of_unknown_layers_is_refused():
    with pytest.raises(UnknownNameError, match="`fcc`"):
        settle(table(), EIGHT, EIGHT, (), (("fcc", "fc"),))


def test_one_format_per_layer_is_needed():
    assert texts(from_formats(table(), ["int2", "int4", "float", "int8"], ["int8"] * 4)) == [
        "w2a8",
        "w4a8",
        "wfloata8",
        "w8a8",
    ]
    with pytest.raises(ValueError, match="shorter"):
        from_formats(table(), ["int2"], ["int8"])


def test_the_ladder_rises_in_bits():
    bits = [bits_of(name) for name in LADDER]
    assert bits == sorted(set(bits))
