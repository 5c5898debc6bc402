import hashlib
from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.keys import canonical, digest, float_from_json, float_to_json, key


@dataclass(frozen=True)
class Probes:
    num_probes: int = 64
    seed: int = 0


@dataclass(frozen=True)
class Draws:
    num_probes: int = 64
    seed: int = 0


class Mode(Enum):
    FAST = "fast"


class Level(IntEnum):
    LOW = 1


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet="$ab", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_key_is_the_digest_of_its_canonical_json_written_by_hand():
    expected = sha(
        '{"inputs":{"data":"d1","model":"m1"},'
        '"options":{"$class":"Probes","num_probes":64,"seed":0},'
        '"step":"score","version":3}'
    )
    assert key("score", 3, {"model": "m1", "data": "d1"}, Probes()) == expected


def test_the_golden_key_never_changes():
    options = {
        "rate": 0.1,
        "whole": 2,
        "flag": True,
        "name": "é",
        "none": None,
        "shape": (1, 2.0),
        "limit": float("inf"),
        "weights": np.array([[1.0, 2.0]], dtype=np.float32),
    }
    golden = "4f8fb0c854e026f684d39a7006452c17f45af44b9daf292395b2df01624f0bbc"
    assert key("evaluate", 1, {"study": "0" * 64}, options) == golden


def test_the_order_of_names_does_not_count():
    a = key("s", 1, {"a": "1", "b": "2"}, {"x": 1, "y": {"p": 1, "q": 2}})
    b = key("s", 1, {"b": "2", "a": "1"}, {"y": {"q": 2, "p": 1}, "x": 1})
    assert a == b


def test_every_part_of_a_key_counts():
    keys = {
        key("s", 1, {"a": "1"}, {"x": 1}),
        key("t", 1, {"a": "1"}, {"x": 1}),
        key("s", 2, {"a": "1"}, {"x": 1}),
        key("s", 1, {"b": "1"}, {"x": 1}),
        key("s", 1, {"a": "2"}, {"x": 1}),
        key("s", 1, {"a": "1"}, {"x": 2}),
        key("s", 1, {"a": "1"}, Probes()),
        key("s", 1, {"a": "1"}, Draws()),
    }
    assert len(keys) == 8


@pytest.mark.parametrize(
    ("a", "b"),
    list(
        combinations(
            [
                *(0, 0.0, -0.0, False, "0", None, 1, 1.0, True, "1", "null", "None", "true", ""),
                *([], {}, [0], [[0]], float("nan"), "nan", "NaN", {"$float": "nan"}),
                *(float("inf"), float("-inf"), {"$$float": "nan"}, Probes(), Draws()),
                *({"num_probes": 64, "seed": 0}, {"$class": "Probes", "num_probes": 64, "seed": 0}),
                *(np.zeros(1), np.zeros((1, 1)), np.zeros(1, np.float32), np.zeros(1, np.int64)),
                *(np.ones(1), np.zeros(0), np.array(0.0)),
            ],
            2,
        )
    ),
)
def test_values_of_different_kind_have_different_digests(a, b):
    assert digest(a) != digest(b)


def test_values_that_mean_the_same_have_the_same_digest():
    grid = np.arange(6, dtype=np.float64).reshape(2, 3)
    assert digest((1, (2, 3))) == digest([1, [2, 3]])
    assert digest(np.float64(0.1)) == digest(0.1)
    assert digest(np.int32(7)) == digest(7)
    assert digest(np.bool_(True)) == digest(True)
    assert digest(float("nan")) == digest(-float("nan")) == digest(np.float32("nan"))
    assert digest(grid) == digest(np.asfortranarray(grid))
    assert digest(grid) == digest(grid.astype(">f8"))
    assert digest(grid[:, ::2]) == digest(grid[:, ::2].copy())


@given(a=JSON_VALUES, b=JSON_VALUES)
def test_two_values_share_a_digest_only_if_they_are_spelled_alike(a, b):
    def spelling(value):
        if isinstance(value, dict):
            return sorted((k, spelling(v)) for k, v in value.items()), "mapping"
        return [spelling(v) for v in value] if isinstance(value, list) else repr(value)

    assert (digest(a) == digest(b)) == (spelling(a) == spelling(b))


@given(value=st.floats())
def test_every_float_survives_its_json_form(value):
    assert repr(float_from_json(float_to_json(value))) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        *(Mode.FAST, Level.LOW, {1, 2}, b"x", object(), 1j, {1: 2}, {Mode.FAST: 1}, Probes),
        *(np.array([None]), np.array(["a"]), [Mode.FAST], {"a": {"b": {3}}}),
    ],
)
def test_what_has_no_obvious_spelling_is_refused(value):
    with pytest.raises(TypeError, match=r"canonical form|must be texts"):
        canonical(value)


@pytest.mark.parametrize(
    "arguments",
    [
        ("s", 1.0, {}, {}),
        ("s", True, {}, {}),
        (1, 1, {}, {}),
        ("s", 1, {"a": 1}, {}),
        ("s", 1, {}, 3),
        ("s", 1, {}, Probes),
    ],
)
def test_a_key_of_the_wrong_ingredients_is_refused(arguments):
    with pytest.raises(TypeError):
        key(*arguments)
