"""Read CIFAR-10's "python version" batches without running what they say.

These files are pickles, and unpickling calls whatever functions a file names. A batch needs only
dictionaries, lists, numbers and texts, which are part of the format itself, and the few names by
which numpy writes an array. :class:`_BatchUnpickler` answers these names with stand-ins that merely
keep what they are given, and refuses every other name: a file can call nothing of Python's or
numpy's own. The array is then made here, from bytes of the right length. This is the only place of
the project that touches a pickle.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import io
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.errors import DataError

TRAIN_FILES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_FILES = ("test_batch",)
SUBFOLDER = "cifar-10-batches-py"
SHAPE = (3, 32, 32)
MAX_BYTES = 128 * 2**20  # a batch of 10,000 images takes 30 MiB


@dataclass(frozen=True, slots=True)
class Batches:
    """Images (N, 3, 32, 32), labels (N,), class names if known, and files that were not there."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    missing: tuple[str, ...]


def read_batches(folder: Path, names: tuple[str, ...]) -> Batches:
    """Read some of a folder's batches, and the class names if ``batches.meta`` is there.

    Args:
        folder: The folder that holds the batches, or the one above it.
        names: Files to read, in this order.

    Raises:
        DataError: If none of the files is there, or one is damaged or asks for anything but arrays.
    """
    if (folder / SUBFOLDER).is_dir():
        folder = folder / SUBFOLDER
    missing = tuple(name for name in names if not (folder / name).is_file())
    if missing == names:
        raise DataError(
            f"`{folder}` must hold CIFAR-10's python batches, got none of {', '.join(names)}. "
            f"Unpack cifar-10-python.tar.gz and name the folder {SUBFOLDER}."
        )
    parts = [_batch(folder / name) for name in names if name not in missing]
    meta = folder / "batches.meta"
    class_names = _class_names(meta) if meta.is_file() else ()
    return Batches(
        np.concatenate([images for images, _ in parts]),
        np.concatenate([labels for _, labels in parts]),
        class_names,
        missing,
    )


def _batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content = _read(path)
    data, labels = content.get("data"), content.get("labels")
    width = math.prod(SHAPE)
    try:
        pixels = data.pixels() if isinstance(data, _Array) else None
    except ValueError:
        pixels = None
    if pixels is None or pixels.shape[1] != width:
        raise DataError(
            f"`{path.name}` must hold `data`, uint8 of shape (N, {width}), got something else. "
            "Download the python version of CIFAR-10 again."
        )
    if (
        not isinstance(labels, list)
        or len(labels) != len(pixels)
        or not all(type(label) is int and 0 <= label < 10 for label in labels)
    ):
        raise DataError(
            f"`{path.name}` must hold `labels`, one of 0..9 for each of {len(pixels)} images, "
            f"got {_describe(labels)}. Download the python version of CIFAR-10 again."
        )
    return pixels.reshape(-1, *SHAPE), np.array(labels, np.int64)


def _class_names(path: Path) -> tuple[str, ...]:
    names = _read(path).get("label_names")
    if not isinstance(names, list) or len(names) != 10:
        raise DataError(f"`{path.name}` must hold ten `label_names`, got {_describe(names)}.")
    return tuple(map(_text, names))


class _Array:
    """What a pickle says about an array: (version, shape, dtype, Fortran order, bytes)."""

    def __init__(self, *_: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def pixels(self) -> NDArray[np.uint8]:
        """Make the array, if it is one of bytes in rows.

        Raises:
            ValueError: If it is anything else.
        """
        match self.state:
            case (int(), (int(rows), int(columns)), _DType(code="u1"), False, bytes(raw)):
                return np.frombuffer(raw, np.uint8).reshape(rows, columns)
        raise ValueError("an array that is not uint8 with two axes")


class _DType:
    """What a pickle says about a dtype; its byte order means nothing for single bytes."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = _text(code)

    def __setstate__(self, state: object) -> None:
        pass


def _bytes(text: object, _: object) -> bytes:
    """Undo how Python 3 writes bytes in the old protocol of these files."""
    return str(text).encode("latin-1")


_STAND_INS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): lambda: None,  # an argument of the function above, never called
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _bytes,
}


class _BatchUnpickler(pickle.Unpickler):
    """Knows the names that an array needs and refuses all others."""

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        """Return the stand-in for a name.

        It is wrapped anew each time, so that a file that writes to it changes nothing.
        """
        stand_in = _STAND_INS.get((module.replace("numpy._core", "numpy.core"), name))
        if stand_in is None:
            raise pickle.UnpicklingError(f"it asks for `{module}.{name}`")
        return lambda *arguments: stand_in(*arguments)


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_BYTES:
        raise DataError(
            f"`{path.name}` must be at most {MAX_BYTES // 2**20} MiB, "
            f"got {path.stat().st_size / 2**20:.0f} MiB. This is no CIFAR-10 batch."
        )
    try:
        content = _BatchUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except Exception as error:  # a hostile or damaged stream can raise nearly anything
        raise DataError(
            f"`{path.name}` must be a batch of CIFAR-10's python version, got a file that is not: "
            f"{error}. Download it again; no code of the file was run."
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"`{path.name}` must hold a dictionary, got {_describe(content)}.")
    return {_text(key): value for key, value in content.items()}


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _describe(value: object) -> str:
    return f"{type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list) else "")
