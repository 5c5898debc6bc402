"""Where data comes from: ``demo:digits``, ``npz:``, ``images:`` and ``cifar10:`` specs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from analysis.data.cifar import TEST_FILES, TRAIN_FILES, read_batches
from analysis.data.dataset import Dataset
from analysis.data.digits import CLASS_NAMES, load_split
from analysis.data.folder import read_folder
from analysis.data.npz import MAX_BYTES, read_npz
from analysis.errors import DataError, StudyError, UnknownNameError

PATH_KINDS = ("npz", "images", "cifar10")
KINDS = ("demo", *PATH_KINDS)
ROLES = ("calibration", "evaluation")
DIGITS = "digits"


def load_data(
    spec: str,
    *,
    role: str = "calibration",
    input_size: int = 0,
    limit: int = 0,
    seed: int = 0,
    base: Path | None = None,
) -> Dataset:
    """Load the set of images that a spec names.

    Args:
        spec: ``demo:digits`` or ``demo:digits/SPLIT``, ``npz:FILE``, ``images:FOLDER`` or
            ``cifar10:FOLDER`` (the python version).
        role: ``calibration`` or ``evaluation``: which of the source's own splits, where it has any.
        input_size: Side in pixels that images are brought to; 0 keeps their own.
        limit: How many samples to take, classes in proportion; 0 for all.
        seed: Of that choice.
        base: Folder that relative paths are looked up in first; then comes the current one.

    Raises:
        StudyError: If the spec has another form.
        UnknownNameError: If there is no such demo set, split or role.
        DataError: If the data cannot be read or used.
    """
    if role not in ROLES:
        raise UnknownNameError("role of a set", role, ROLES)
    kind, _, rest = spec.partition(":")
    if kind not in KINDS or not rest:
        raise StudyError(
            "Data must be `demo:digits`, `npz:FILE`, `images:FOLDER` or `cifar10:FOLDER`, "
            f"got `{spec}`. Put the kind before the path."
        )
    if kind == "images":
        return read_folder(
            locate(rest, base), input_size=input_size, limit=limit, seed=seed, name=spec
        )
    if kind == "demo":
        loaded = _digits(rest, role)
    elif kind == "npz":
        loaded = read_npz(locate(rest, base), spec)
    else:
        loaded = _cifar10(locate(rest, base), role, spec)
    return resized(loaded.take(limit, seed), input_size)


def locate(path: str, base: Path | None) -> Path:
    """Return where a relative path lies: in ``base`` if it is there, else the current folder."""
    place = Path(path).expanduser()
    if base is not None and not place.is_absolute() and (base / place).exists():
        return base / place
    return place


def resized(dataset: Dataset, size: int) -> Dataset:
    """Bring images in memory to a square: short side to ``size``, then the centre.

    Bilinear with antialiasing; 0 or the images' own size change nothing. A note says what was done.

    Raises:
        DataError: If the result would take more than :data:`analysis.data.npz.MAX_BYTES`.
    """
    channels, height, width = dataset.sample_shape
    if size == 0 or height == width == size:
        return dataset
    needed = len(dataset) * channels * size * size * dataset.images.itemsize
    if needed > MAX_BYTES:
        raise DataError(
            f"The images must take at most {MAX_BYTES / 2**30:g} GiB, got {len(dataset)} of side "
            f"{size}. Take fewer samples."
        )
    short = min(height, width)
    target = (height * size // short, width * size // short)
    top, left = ((side - size) // 2 for side in target)
    out = np.empty((len(dataset), channels, size, size), dataset.images.dtype)
    for start in range(0, len(dataset), 256):
        part = torch.from_numpy(dataset.images[start : start + 256].astype(np.float32))
        part = F.interpolate(part, target, mode="bilinear", antialias=True)
        part = part[:, :, top : top + size, left : left + size]
        if out.dtype == np.uint8:
            part = part.round_().clamp_(0, 255)
        out[start : start + 256] = part.numpy().astype(out.dtype)
    note = f"Resized from {width} x {height} to {size} x {size}."
    return replace(dataset, images=out, notes=(*dataset.notes, note))


def _digits(name: str, role: str) -> Dataset:
    name, _, split = name.partition("/")
    if name != DIGITS:
        raise UnknownNameError("demo set", name, (DIGITS,))
    images, labels = load_split(split or role)
    return Dataset(images, labels, CLASS_NAMES, f"demo:{name}/{split or role}")


def _cifar10(folder: Path, role: str, spec: str) -> Dataset:
    """The training batches calibrate, the test batch evaluates."""
    batches = read_batches(folder, TEST_FILES if role == "evaluation" else TRAIN_FILES)
    notes: tuple[str, ...] = ()
    if batches.missing:
        notes = (f"Batches that are not there: {', '.join(batches.missing)}.",)
    return Dataset(batches.images, batches.labels, batches.class_names, spec, notes)
