"""Keys: the SHA-256 of everything that a result depends on, and of nothing else."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

# Marks what plain JSON cannot say. Keys of mappings that begin with it get a second one, so a
# mapping never looks like a marked value.
MARK = "$"


def key(
    step: str, version: int, inputs: Mapping[str, str], options: Mapping[str, Any] | object
) -> str:
    """Return the key of a result: 64 hexadecimal digits.

    Args:
        step: Name of the step.
        version: Version of the step's algorithm, raised when its numbers change.
        inputs: Role of each input to its own key or content digest.
        options: Options record (a dataclass) or named values.

    Raises:
        TypeError: If an argument has another type, or holds a value without a canonical form.
    """
    if not isinstance(step, str) or not isinstance(version, int) or isinstance(version, bool):
        raise TypeError(f"a step has a name and a whole version, got {step!r} and {version!r}")
    if not all(isinstance(value, str) for value in inputs.values()):
        raise TypeError(f"inputs must be keys or digests (texts), got {dict(inputs)!r}")
    if not isinstance(options, Mapping) and not _is_record(options):
        raise TypeError(f"options must be a mapping or a dataclass, got {options!r}")
    return digest({"step": step, "version": version, "inputs": inputs, "options": options})


def digest(obj: object) -> str:
    """Return the SHA-256 (64 hexadecimal digits) of the canonical JSON of a value.

    Whole numbers, floats, booleans and texts are told apart (``1``, ``1.0``, ``True``, ``"1"``);
    tuples equal lists; the order of a mapping does not count. See :func:`canonical`.

    Raises:
        TypeError: If the value, or one inside it, has no canonical form.
    """
    text = json.dumps(canonical(obj), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def canonical(obj: object) -> Json:
    """Return the JSON value that stands for a value in keys and manifests.

    A dataclass becomes its fields and its class name without the module, an array its dtype, shape
    and the SHA-256 of its little-endian bytes in C order, a non-finite float its name.

    Raises:
        TypeError: For enums, sets, bytes, mappings with other keys than texts, and any other
            object: whatever has no one obvious spelling.
    """
    if isinstance(obj, np.generic) and obj.dtype.kind in "biufU" and obj.dtype != np.longdouble:
        obj = obj.item()
    if isinstance(obj, Enum):
        raise TypeError(f"an enum has no canonical form, use its value: {obj!r}")
    if obj is None or isinstance(obj, bool | int | str):
        return obj
    if isinstance(obj, float):
        return float_to_json(obj)
    if isinstance(obj, np.ndarray):
        return {f"{MARK}array": _describe_array(obj)}
    if isinstance(obj, list | tuple):
        return [canonical(item) for item in obj]
    if isinstance(obj, Mapping):
        return {_escape(name): canonical(value) for name, value in obj.items()}
    if _is_record(obj):
        values = {f.name: canonical(getattr(obj, f.name)) for f in fields(obj)}  # type: ignore[arg-type]
        return {f"{MARK}class": type(obj).__name__, **values}
    raise TypeError(f"a value of type {type(obj).__name__} has no canonical form: {obj!r}")


def float_to_json(value: float) -> float | dict[str, Json]:
    """Return a float as JSON can hold it: NaN and the infinities become a marked name."""
    return value if math.isfinite(value) else {f"{MARK}float": repr(float(value))}


def float_from_json(value: object) -> object:
    """Undo :func:`float_to_json`; any other value is returned as it is."""
    if isinstance(value, dict) and value.keys() == {f"{MARK}float"}:
        name = value[f"{MARK}float"]
        if name in ("nan", "inf", "-inf"):
            return float(name)
    return value


def _describe_array(array: NDArray[Any]) -> list[Json]:
    if array.dtype.kind not in "biufc":
        raise TypeError(f"an array of dtype {array.dtype} has no canonical form")
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    content = hashlib.sha256(little.reshape(-1).view(np.uint8).data).hexdigest()
    return [little.dtype.str, [int(n) for n in array.shape], content]


def _escape(name: object) -> str:
    if not isinstance(name, str) or isinstance(name, Enum):
        raise TypeError(f"the keys of a mapping must be texts, got {name!r}")
    return MARK + name if name.startswith(MARK) else name


def _is_record(obj: object) -> bool:
    return is_dataclass(obj) and not isinstance(obj, type)
