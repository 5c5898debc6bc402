"""Samples that the tests of the store share, and what it means that two records are the same."""

import inspect
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from analysis import records

KEY = "ab" + "0" * 62
OTHER = "cd" + "1" * 62
ABOUT: dict[str, Any] = {"step": "score", "inputs": {"model": "m"}, "options": {"seed": 0}}

RECORD_CLASSES = tuple(
    cls
    for _, cls in inspect.getmembers(records, inspect.isclass)
    if is_dataclass(cls) and cls.__module__.startswith(records.__name__) and fields(cls)
)


@dataclass(frozen=True)
class Sample:
    """A record that belongs to nobody."""

    values: NDArray[np.float64]
    note: str = ""
    schema: int = 1


def sample(n: int = 4, note: str = "") -> Sample:
    return Sample(np.arange(n, dtype=np.float64), note)


def same(a: Any, b: Any) -> bool:
    """Equal in class and content, arrays bit for bit, NaN equal to NaN, 1 unlike 1.0."""
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and a.tobytes() == b.tobytes()
        )
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if type(a) is not type(b):
        return False
    if is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Every value that a type hint allows."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values, args))
    if origin is np.ndarray:
        scalar = get_args(args[1])[0]
        dtype = np.dtype(np.uint8 if scalar is Any else scalar)
        return hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    if origin is tuple:
        if args[1:] == (Ellipsis,):
            return st.lists(values(args[0]), max_size=2).map(tuple)
        return st.tuples(*map(values, args))
    if origin in (dict, Mapping):
        return st.dictionaries(st.text(max_size=3), values(args[1]), max_size=2)
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(
            hint, **{f.name: values(hints[f.name]) for f in fields(hint) if f.name != "schema"}
        )
    scalars = {
        bool: st.booleans(),
        int: st.integers(),
        float: st.floats(),
        str: st.text(max_size=5),
        type(None): st.none(),
    }
    return scalars[hint]
