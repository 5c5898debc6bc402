import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stored_samples import RECORD_CLASSES, Sample, same, sample, values

from cache.codec import decode, dumps, encode, loads
from cache.errors import CodecError


@dataclass(frozen=True)
class Inner:
    name: str
    schema: int = 2


@dataclass(frozen=True)
class Everything:
    pair: tuple[int, str]
    row: tuple[float, ...]
    table: Mapping[str, bool | int | float | str]
    nested: dict[str, Inner]
    maybe: Inner | None
    either: int | str | None
    mask: NDArray[np.bool_] | None
    grids: tuple[NDArray[np.int64], ...]
    anything: NDArray[Any]


EVERYTHING = Everything(
    pair=(1, "a"),
    row=(0.1, float("nan"), float("-inf"), -0.0),
    table={"a": True, "b": 1, "c": 1.0, "d": "1", "e": float("inf"), "$float": "nan"},
    nested={"$x": Inner("y")},
    maybe=None,
    either=None,
    mask=np.array([True, False]),
    grids=(np.arange(3), np.zeros((0, 2), np.int64), np.array(5)),
    anything=np.array([1, 2], np.uint8),
)


def arrays_in(value):
    if isinstance(value, np.ndarray):
        yield value
    elif is_dataclass(value):
        for f in fields(value):
            yield from arrays_in(getattr(value, f.name))
    elif isinstance(value, tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from arrays_in(item)


def through_json(record):
    value, arrays = encode(record)
    return decode(type(record), json.loads(json.dumps(value, allow_nan=False)), arrays)


@pytest.mark.parametrize("cls", RECORD_CLASSES, ids=lambda cls: cls.__name__)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_record_of_the_library_survives_bytes(cls, data):
    record = data.draw(values(cls))
    again = loads(cls, *dumps(record))
    assert same(record, again)
    assert not any(array.flags.writeable for array in arrays_in(again))


@settings(deadline=None)
@given(record=values(Everything))
def test_every_kind_of_field_survives_json(record):
    assert same(record, through_json(record))


def test_scalars_keep_their_kind_and_non_finite_floats_their_value():
    again = through_json(EVERYTHING)
    assert same(EVERYTHING, again)
    assert [type(v) for v in again.table.values()] == [bool, int, float, str, float, str]


def test_numpy_scalars_and_whole_numbers_are_stored_as_the_declared_type():
    again = through_json(replace(EVERYTHING, row=(np.float32(0.5), 3), pair=(np.int64(1), "a")))
    assert same(again.row, (0.5, 3.0))
    assert same(again.pair, (1, "a"))


def test_texts_that_are_no_unicode_survive_bytes():
    record = sample(note="file-\udc80.png")
    assert loads(Sample, *dumps(record)).note == record.note


def test_decoded_arrays_are_read_only_and_leave_those_of_the_caller_alone():
    value, arrays = encode(sample())
    again = decode(Sample, value, arrays)
    assert not again.values.flags.writeable
    assert arrays["array_0"].flags.writeable
    arrays["array_0"][0] = 9
    assert again.values[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"pair": (1,)},
        {"pair": ("1", "a")},
        {"pair": [1, "a"]},
        {"row": (2**53 + 1,)},
        {"row": ("0.1",)},
        {"row": (True,)},
        {"table": {"a": None}},
        {"table": {1: 1}},
        {"table": 3},
        {"nested": {"a": sample()}},
        {"maybe": Sample},
        {"maybe": Inner("x", schema=1)},
        {"either": 1.5},
        {"mask": [True]},
        {"mask": np.array([1])},
        {"grids": (np.zeros(1),)},
        {"anything": np.array([None])},
    ],
)
def test_a_field_that_breaks_its_type_hint_is_not_stored(change):
    with pytest.raises(CodecError, match=rf"Everything\.{next(iter(change))}"):
        encode(replace(EVERYTHING, **change))


@dataclass
class Thawed:
    a: int = 0


@dataclass(frozen=True)
class Vague:
    a: Any = 0


@dataclass(frozen=True)
class Ambiguous:
    a: Inner | Sample | None = None


@dataclass(frozen=True)
class Keyed:
    a: Any
    b: dict[int, str]


@pytest.mark.parametrize("record", [Thawed(), Vague(), Ambiguous(Inner("a")), Keyed(1, {}), 3])
def test_a_class_that_cannot_be_told_from_its_hints_is_not_stored(record):
    with pytest.raises(CodecError):
        encode(record)


def test_every_missing_field_is_refused():
    for name in [f.name for f in fields(Everything)]:
        value, arrays = encode(EVERYTHING)
        del value["fields"][name]
        with pytest.raises(CodecError, match=rf"missing \['{name}'\]"):
            decode(Everything, value, arrays)


def test_an_unknown_field_is_refused():
    value, arrays = encode(EVERYTHING)
    value["fields"]["nested"]["$x"]["extra"] = 1
    with pytest.raises(CodecError, match=r"unknown \['extra'\]"):
        decode(Everything, value, arrays)


@pytest.mark.parametrize("schema", [1, 3, None, "2"])
def test_another_schema_is_refused_at_any_depth(schema):
    value, arrays = encode(EVERYTHING)
    value["fields"]["nested"]["$x"]["schema"] = schema
    with pytest.raises(CodecError, match="must be of schema 2"):
        decode(Everything, value, arrays)


def test_another_class_is_refused():
    value, arrays = encode(sample())
    with pytest.raises(CodecError, match="a Sample is stored"):
        decode(Everything, value, arrays)


@pytest.mark.parametrize("value", [None, [], {}, {"record": "Sample"}, {"record": 1, "fields": {}}])
def test_what_is_no_stored_record_is_refused(value):
    with pytest.raises(CodecError):
        decode(Sample, value, {})


def test_a_missing_and_a_superfluous_array_are_refused():
    value, arrays = encode(sample())
    with pytest.raises(CodecError, match="the name of an array"):
        decode(Sample, value, {})
    with pytest.raises(CodecError, match="no field refers to"):
        decode(Sample, value, {**arrays, "array_1": np.zeros(1)})


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("pair", [1, "a", 2]),
        ("pair", "1a"),
        ("row", [None]),
        ("row", [{"$float": "1e5"}]),
        ("table", []),
        ("maybe", "Inner"),
        ("either", False),
        ("grids", ["array_0", "array_0", "array_0"]),
        ("grids", [0]),
    ],
)
def test_a_stored_value_that_breaks_its_type_hint_is_refused(name, stored):
    value, arrays = encode(EVERYTHING)
    value["fields"][name] = stored
    with pytest.raises(CodecError):
        decode(Everything, value, arrays)


def test_a_record_that_refuses_its_values_is_a_codec_error():
    @dataclass(frozen=True)
    class Positive:
        x: int

        def __post_init__(self):
            if self.x < 0:
                raise ValueError("x must be positive")

    with pytest.raises(CodecError, match="x must be positive"):
        decode(Positive, {"record": "Positive", "fields": {"x": -1}}, {})


def test_bytes_that_are_no_json_or_no_archive_are_refused():
    text, archive = dumps(sample())
    for broken in [(text[:-3], archive), (text, archive[:-30]), (text, b""), (b"\xff", archive)]:
        with pytest.raises(CodecError):
            loads(Sample, *broken)


def test_a_pickled_array_is_never_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", array_0=np.array([{"a": 1}], dtype=object))
    text, _ = dumps(sample())
    with pytest.raises(CodecError, match="cannot be read"):
        loads(Sample, text, (tmp_path / "a.npz").read_bytes())
