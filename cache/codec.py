"""Frozen dataclasses to JSON values and arrays, and back by the type hints of their fields.

A field may be a text, a number or a boolean, a union of these, an array, another frozen dataclass,
a tuple or a mapping from texts of such values, and any of it or None. Nothing is ever unpickled.
"""

import io
import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cache.errors import CodecError
from cache.keys import Json, float_from_json, float_to_json

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]

_SCALARS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def encode(record: object) -> tuple[dict[str, Json], Arrays]:
    """Return a record as a JSON value and the arrays that the value refers to by name.

    Raises:
        CodecError: If a field holds something that its type hint does not allow, or the hint
            itself cannot be stored.
    """
    arrays: Arrays = {}
    cls = type(record)
    _field_hints(cls, "The record")
    return {"record": cls.__name__, "fields": _encode(cls, record, cls.__name__, arrays)}, arrays


def decode(cls: type[T], value: object, arrays: Mapping[str, NDArray[Any]]) -> T:
    """Rebuild the record that :func:`encode` was given, with read-only arrays.

    Args:
        cls: Class of the record.
        value: The JSON value.
        arrays: The arrays by name.

    Raises:
        CodecError: If the value is of another class or schema, lacks a field or an array, has one
            too many, or holds a value that a type hint does not allow.
    """
    if not isinstance(value, dict) or value.keys() != {"record", "fields"}:
        raise CodecError(f"A stored {cls.__name__} must be an object with `record` and `fields`.")
    if value["record"] != cls.__name__:
        raise CodecError(f"A {cls.__name__} was asked for, but a {value['record']} is stored.")
    left = dict(arrays)
    record = _decode(cls, value["fields"], cls.__name__, left)
    if left:
        raise CodecError(f"{cls.__name__} has arrays that no field refers to: {sorted(left)}.")
    return record  # type: ignore[no-any-return]


def dumps(record: object) -> tuple[bytes, bytes]:
    """Return a record as JSON text (ASCII) and as an npz archive of its arrays.

    Raises:
        CodecError: As :func:`encode`.
    """
    value, arrays = encode(record)
    archive = io.BytesIO()
    np.savez(archive, **arrays)  # type: ignore[arg-type]
    return json.dumps(value, indent=1, allow_nan=False).encode("ascii"), archive.getvalue()


def loads(cls: type[T], text: bytes, archive: bytes) -> T:
    """Rebuild the record that :func:`dumps` was given.

    Raises:
        CodecError: As :func:`decode`, or if the text is no JSON or the archive no npz.
    """
    try:
        value = json.loads(text)
        with np.load(io.BytesIO(archive), allow_pickle=False) as npz:
            arrays = {name: npz[name] for name in npz.files}
    except (ValueError, EOFError, OSError, BadZipFile) as error:
        raise CodecError(f"A stored {cls.__name__} cannot be read: {error}") from error
    for array in arrays.values():
        array.flags.writeable = False
    return decode(cls, value, arrays)


def _encode(hint: Any, value: Any, path: str, arrays: Arrays) -> Json:
    origin, args = get_origin(hint), get_args(hint)
    if _is_union(hint):
        if value is None and types.NoneType in args:
            return None
        hint = _without_none(hint, path)
        if not isinstance(hint, tuple):
            return _encode(hint, value, path, arrays)
    if (kinds := _scalar_kinds(hint)) is not None:
        scalar = _scalar(kinds, value, path)
        return float_to_json(scalar) if isinstance(scalar, float) else scalar
    if (origin or hint) is np.ndarray:
        name = f"array_{len(arrays)}"
        arrays[name] = _fitting(hint, value, path)
        return name
    if origin is tuple:
        _require(type(value) is tuple, path, "a tuple", value)
        items = zip(_item_hints(args, len(value), path), value, strict=True)
        return [_encode(h, item, f"{path}[{i}]", arrays) for i, (h, item) in enumerate(items)]
    if origin in (dict, Mapping) and args[0] is str:
        _require(isinstance(value, Mapping), path, "a mapping", value)
        for name in value:
            _require(type(name) is str, path, "a mapping from texts", name)
        return {n: _encode(args[1], item, f"{path}[{n!r}]", arrays) for n, item in value.items()}
    hints = _field_hints(hint, path)
    _require(type(value) is hint, path, f"a {hint.__name__}", value)
    _check_schema(hint, getattr(value, "schema", None), path)
    return {n: _encode(h, getattr(value, n), f"{path}.{n}", arrays) for n, h in hints.items()}


def _decode(hint: Any, value: Any, path: str, arrays: Arrays) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if _is_union(hint):
        if value is None and types.NoneType in args:
            return None
        hint = _without_none(hint, path)
        if not isinstance(hint, tuple):
            return _decode(hint, value, path, arrays)
    if (kinds := _scalar_kinds(hint)) is not None:
        return _scalar(kinds, float_from_json(value), path)
    if (origin or hint) is np.ndarray:
        _require(isinstance(value, str) and value in arrays, path, "the name of an array", value)
        return _read_only(_fitting(hint, arrays.pop(value), path))
    if origin is tuple:
        _require(isinstance(value, list), path, "a list", value)
        items = zip(_item_hints(args, len(value), path), value, strict=True)
        return tuple(_decode(h, item, f"{path}[{i}]", arrays) for i, (h, item) in enumerate(items))
    if origin in (dict, Mapping) and args[0] is str:
        _require(isinstance(value, dict), path, "an object", value)
        return {n: _decode(args[1], item, f"{path}[{n!r}]", arrays) for n, item in value.items()}
    hints = _field_hints(hint, path)
    _require(isinstance(value, dict), path, "an object", value)
    _check_schema(hint, value.get("schema"), path)
    if value.keys() != hints.keys():
        raise CodecError(
            f"{path} must have exactly the fields of {hint.__name__}: "
            f"missing {sorted(hints.keys() - value.keys())}, "
            f"unknown {sorted(value.keys() - hints.keys())}."
        )
    decoded = {n: _decode(h, value[n], f"{path}.{n}", arrays) for n, h in hints.items()}
    try:
        return hint(**decoded)
    except Exception as error:  # a record may check its fields and raise an error of its own
        raise CodecError(f"{path} holds values that {hint.__name__} refuses: {error}") from error


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _without_none(hint: Any, path: str) -> Any:
    """Return the one type of a union beside None, or the tuple of its scalar types."""
    members = tuple(member for member in get_args(hint) if member is not types.NoneType)
    if len(members) > 1 and not all(member in _SCALARS for member in members):
        raise CodecError(f"{path} is declared as {hint}: only scalars can share a union.")
    return members[0] if len(members) == 1 else members


def _scalar_kinds(hint: Any) -> tuple[type, ...] | None:
    if isinstance(hint, tuple):
        return hint
    return (hint,) if hint in _SCALARS else None


def _scalar(kinds: tuple[type, ...], value: Any, path: str) -> bool | int | float | str:
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is int and int not in kinds and float in kinds and float(value) == value:
        value = float(value)
    _require(type(value) in kinds, path, " or ".join(_SCALARS[kind] for kind in kinds), value)
    return value  # type: ignore[no-any-return]


def _fitting(hint: Any, value: Any, path: str) -> NDArray[Any]:
    """Return ``value`` if it is an array of the dtype that the hint names."""
    wanted = get_args(get_args(hint)[1])[0] if get_args(hint) else Any
    name = "plain values" if wanted is Any else wanted.__name__
    _require(type(value) is np.ndarray, path, f"an array of {name}", value)
    fits = wanted is Any or np.issubdtype(value.dtype, wanted)
    if not fits or value.dtype.hasobject:
        raise CodecError(f"{path} must be an array of {name}, got dtype {value.dtype}.")
    return value  # type: ignore[no-any-return]


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


def _item_hints(args: tuple[Any, ...], length: int, path: str) -> tuple[Any, ...]:
    if len(args) == 2 and args[1] is Ellipsis:
        return (args[0],) * length
    if len(args) != length:
        raise CodecError(f"{path} must have {len(args)} items, got {length}.")
    return args


@lru_cache(maxsize=256)
def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def _field_hints(cls: Any, path: str) -> dict[str, Any]:
    if not (isinstance(cls, type) and is_dataclass(cls)):
        raise CodecError(f"{path} is declared as {cls}, which cannot be stored.")
    if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise CodecError(f"{path} is declared as {cls.__name__}, which must be a frozen dataclass.")
    return _hints(cls)


def _check_schema(cls: Any, schema: object, path: str) -> None:
    expected = next((f.default for f in fields(cls) if f.name == "schema"), MISSING)
    if expected is not MISSING and schema != expected:
        raise CodecError(f"{path} must be of schema {expected}, got schema {schema}.")


def _require(holds: bool, path: str, what: str, value: object) -> None:
    if not holds:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:79] + "…"
        raise CodecError(f"{path} must be {what}, got {shown} ({type(value).__name__}).")
