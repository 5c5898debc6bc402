"""Images and labels from ``.npz`` files, which may come from anybody.

Nothing is unpickled. Members are only looked up by name, so their paths mean nothing, and their
headers are read before any memory is taken for what they announce.
"""

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from analysis.data.dataset import Dataset, Labels, Pixels
from analysis.errors import DataError

MAX_BYTES = 2 * 2**30
# Above the second figure (bytes), a member may expand to so many times its size.
MAX_RATIO, RATIO_FREE = 200, 64 * 2**20
CHANNELS = (1, 3, 4)
_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Member:
    """What a member's header announces."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def check_npz(source: Path | bytes) -> dict[str, Member]:
    """Check an upload without expanding it, and say what it holds.

    Args:
        source: A file, or its content.

    Returns:
        Shape and dtype of ``x``, and of ``y`` if it is there.

    Raises:
        DataError: If it is no intact npz archive, ``x`` is missing, a member is not a plain array
            of numbers, or it expands to more than :data:`MAX_BYTES` or :data:`MAX_RATIO` times its
            size.
    """
    what = f"`{source.name}`" if isinstance(source, Path) else "The upload"
    try:
        with ZipFile(_open(source)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if "x.npy" not in members:
                names = sorted(_plain(name.removesuffix(".npy")) for name in members)[:5]
                raise DataError(
                    f"{what} must hold an array `x` (and `y` for labels), got "
                    f"{', '.join(names) or 'nothing'}. Save with `np.savez(file, x=x, y=y)`."
                )
            found = {
                name: _member(archive, members[f"{name}.npy"], f"{what}, array `{name}`,")
                for name in ("x", "y")
                if f"{name}.npy" in members
            }
        _check_shapes(found, what)
        return found
    except OSError as error:
        raise DataError(
            f"{what} must be a readable file, got: {error.strerror or error}."
        ) from error
    except DataError:
        raise
    except Exception as error:  # zlib, zipfile and numpy each have errors of their own
        raise DataError(_damaged(what, error)) from error


def read_npz(source: Path | bytes, name: str) -> Dataset:
    """Read images and labels.

    ``x`` is uint8, or float taken as it is; (N, C, H, W) or (N, H, W, C), told apart by the axis
    that has 1, 3 or 4 entries, or (N, H, W). ``y`` holds whole numbers, shape (N,).

    Args:
        source: A file, or its content.
        name: What the set's source is called.

    Raises:
        DataError: As :func:`check_npz`, and if shapes, dtypes or values are not these.
    """
    members = check_npz(source)
    what = f"`{source.name}`" if isinstance(source, Path) else "The upload"
    try:
        with np.load(_open(source), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in members}
    except Exception as error:  # as above
        raise DataError(_damaged(what, error)) from error
    images, notes = as_images(arrays["x"], what)
    labels = as_labels(arrays["y"], len(images), what) if "y" in arrays else None
    return Dataset(images, labels, source=name, notes=notes)


def as_images(x: NDArray[Any], what: str) -> tuple[Pixels, tuple[str, ...]]:
    """Return images (N, C, H, W), uint8 or float32, and notes on what was assumed."""
    _check_shapes({"x": Member(x.shape, x.dtype)}, what)
    notes: list[str] = []
    if x.ndim == 3:
        x = x[:, None]
        notes.append("x has no channel axis: read as one channel.")
    elif x.shape[1] in CHANNELS and x.shape[3] in CHANNELS:
        notes.append(f"x of shape {x.shape} could be read either way: read as (N, C, H, W).")
    elif x.shape[3] in CHANNELS:
        x = x.transpose(0, 3, 1, 2)
    elif x.shape[1] not in CHANNELS:
        raise DataError(
            f"{what} must hold `x` with 1, 3 or 4 channels on axis 1 or 3, got {x.shape}."
        )
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x), tuple(notes)
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(x, dtype=np.float32)
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x)).reshape(len(x), -1).any(axis=1).sum())
        raise DataError(
            f"{what} must hold finite pixels, got NaN or infinity in {bad} of {len(x)} images. "
            "Leave these images out."
        )
    if float(x.max()) > 2 and float(x.min()) >= 0:
        notes.append(
            f"Float pixels reach {float(x.max()):g}: they are taken as they are, while "
            "normalization is meant for 0..1."
        )
    return x, tuple(notes)


def as_labels(y: NDArray[Any], n: int, what: str) -> Labels:
    """Return class indices, int64 of shape (n,)."""
    _check_labels(Member(y.shape, y.dtype), n, what)
    if int(y.min()) < 0:
        raise DataError(
            f"{what} must hold class indices from 0 in `y`, got {int(y.min())}. Number the classes "
            "from 0, or leave out samples without a class."
        )
    return y.reshape(n).astype(np.int64)


def _check_shapes(members: dict[str, Member], what: str) -> None:
    """Check what headers announce, before anything is read."""
    x = members["x"]
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise DataError(
            f"{what} must hold `x` as uint8 (0..255) or float, got {x.dtype}. "
            "Convert with `x.astype(np.uint8)` if these are pixels in 0..255, and with "
            "`x.astype(np.float32)` if they are anything else, such as numbers of words: the model "
            "is given them as they are."
        )
    if len(x.shape) not in (3, 4) or not math.prod(x.shape):
        raise DataError(
            f"{what} must hold `x` of shape (N, C, H, W) or (N, H, W, C), got {x.shape}. "
            "Stack one array per image."
        )
    if "y" in members:
        _check_labels(members["y"], x.shape[0], what)


def _check_labels(y: Member, n: int, what: str) -> None:
    if y.dtype.kind not in "iu" or y.shape not in ((n,), (n, 1)):
        raise DataError(
            f"{what} must hold `y` as whole numbers of shape ({n},), one for each image, "
            f"got {y.dtype} of shape {y.shape}. Save one class index per image, or no `y`."
        )


def _plain(name: str) -> str:
    """Return a member's name without what would be more than text on a page."""
    return "".join(c if c.isalnum() or c in "-_./" else "_" for c in name[:40])


def _member(archive: ZipFile, info: ZipInfo, what: str) -> Member:
    if info.file_size > MAX_BYTES:
        raise DataError(
            f"{what} must expand to at most {MAX_BYTES / 2**30:g} GiB, "
            f"got {info.file_size / 2**30:.1f} GiB. Save fewer images."
        )
    if info.file_size > max(RATIO_FREE, MAX_RATIO * info.compress_size):
        raise DataError(
            f"{what} must expand to at most {MAX_RATIO} times its size, got "
            f"{info.file_size / max(info.compress_size, 1):.0f} times. Save it uncompressed."
        )
    with archive.open(info) as stream:
        header = BytesIO(stream.read(_HEADER_BYTES))
    version = npy.read_magic(header)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(header)
    if dtype.hasobject or dtype.kind not in "iuf":
        raise DataError(
            f"{what} must hold plain numbers, got {dtype}. Images of different sizes cannot be "
            "stacked: resize them first, or use `images:FOLDER`."
        )
    if header.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
        raise DataError(
            f"{what} must be as long as its header says, got {info.file_size} bytes for "
            f"{dtype} of shape {shape}. Save it again."
        )
    return Member(shape, dtype)


def _open(source: Path | bytes) -> BinaryIO | Path:
    return BytesIO(source) if isinstance(source, bytes) else source


def _damaged(what: str, error: Exception) -> str:
    return f"{what} must be an intact npz archive of arrays, got: {error}. Save it again."
