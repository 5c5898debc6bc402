"""Images from a folder: class folders, a ``labels.csv``, or just images."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from analysis.data.dataset import Dataset, Labels, choose
from analysis.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF")
# The usual evaluation crop: short side 256 for a crop of 224, in proportion for other sizes.
CROP, SHORT_SIDE = 224, 256
MAX_PIXELS = 64_000_000
MAX_BYTES = 4 * 2**30
MAX_UNREADABLE = 0.1
_MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr")


@dataclass(frozen=True, slots=True)
class _Listing:
    """The image files of a folder with their labels."""

    files: tuple[Path, ...]
    labels: Labels | None
    class_names: tuple[str, ...]


def read_folder(folder: Path, *, input_size: int, limit: int, seed: int, name: str) -> Dataset:
    """Read images as uint8 RGB, cropped to a square.

    The short side is brought to ``round(input_size * 256 / 224)`` (bilinear, antialiased), then the
    centre is cropped; images that already have this short side are not resampled. Of an odd margin
    the left and the top get the smaller half. Only the chosen files are opened.

    Args:
        folder: Folder with ``labels.csv`` (columns ``file`` and ``label``), or with a folder for
            each class, or with images.
        input_size: Side in pixels; 0 keeps the images' own size, which must then be one.
        limit: How many images to take, classes in proportion; 0 for all.
        seed: Of the choice.
        name: What the set's source is called.

    Raises:
        DataError: If there is no image, labels are incomplete, a path leads out of the folder, an
            image is too large, sizes differ, or more than a tenth cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"`{folder}` must be a folder of images, got no such folder.")
    listing = _list(folder)
    chosen = np.arange(len(listing.files))
    if 0 < limit < len(chosen):
        chosen = choose(len(chosen), limit, seed, listing.labels)
    if len(chosen) * 3 * input_size**2 > MAX_BYTES:
        raise DataError(
            f"The images must take at most {MAX_BYTES / 2**30:g} GiB, got {len(chosen)} of side "
            f"{input_size}. Take fewer samples."
        )
    images, kept, unreadable = _read([listing.files[i] for i in chosen], input_size)
    if len(unreadable) > MAX_UNREADABLE * len(chosen):
        raise DataError(
            f"At most {MAX_UNREADABLE:.0%} of the images in `{folder.name}` may be unreadable, got "
            f"{len(unreadable)} of {len(chosen)}, first: {unreadable[0]}. Repair or remove them."
        )
    notes: tuple[str, ...] = ()
    if unreadable:
        notes = (
            f"{len(unreadable)} of {len(chosen)} images could not be read and are left out, "
            f"first: {unreadable[0]}.",
        )
    labels = None if listing.labels is None else listing.labels[chosen[kept]]
    return Dataset(images, labels, listing.class_names, name, notes)


def _list(folder: Path) -> _Listing:
    if (folder / "labels.csv").is_file():
        return _from_csv(folder)
    groups = {
        sub.name: _images_in(sub)
        for sub in sorted(folder.iterdir())
        if sub.is_dir() and not sub.name.startswith(".")
    }
    groups = {name: files for name, files in groups.items() if files}
    if groups:
        names = [name for name, files in groups.items() for _ in files]
        labels, class_names = _indices(names)
        return _Listing(tuple(f for files in groups.values() for f in files), labels, class_names)
    files = _images_in(folder)
    if not files:
        raise DataError(
            f"`{folder}` must hold images ({', '.join(EXTENSIONS)}), class folders with images, or "
            "a labels.csv, got none of these."
        )
    return _Listing(files, None, ())


def _images_in(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(p for p in folder.iterdir() if p.suffix.lower() in EXTENSIONS))


def _from_csv(folder: Path) -> _Listing:
    path = folder / "labels.csv"
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"`{path}` must be a UTF-8 table, got: {error}.") from error
    if not rows or not {"file", "label"} <= rows[0].keys():
        columns = ", ".join(map(str, rows[0])) if rows else "no rows"
        raise DataError(
            f"`{path}` must have the columns `file` and `label`, got {columns}. "
            "Separate them by commas, with these names in the first line."
        )
    root, files = folder.resolve(), []
    for line, row in enumerate(rows, start=2):
        if not row["file"] or row["label"] in (None, ""):
            raise DataError(
                f"Every row of `{path}` must have a file and a label, got line {line} without. "
                "Complete or remove it."
            )
        file = folder / row["file"]
        if not file.resolve().is_relative_to(root):
            raise DataError(
                f"Files in `{path}` must lie in its folder, got `{row['file']}` in line {line}. "
                "Move the image there."
            )
        files.append(file)
    labels, class_names = _indices([row["label"].strip() for row in rows])
    return _Listing(tuple(files), labels, class_names)


def _indices(names: Sequence[str]) -> tuple[Labels, tuple[str, ...]]:
    """Class indices and class names: whole numbers stay, other names count in sorted order."""
    if all(name.isascii() and name.isdigit() and len(name) < 10 for name in names):
        return np.array([int(name) for name in names], np.int64), ()
    known = sorted(set(names))
    index = {name: i for i, name in enumerate(known)}
    return np.array([index[name] for name in names], np.int64), tuple(known)


def _read(
    files: Sequence[Path], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.intp], list[str]]:
    """Images of the readable files, their positions, and what was wrong with the others."""
    images: list[NDArray[np.uint8]] = []
    kept: list[int] = []
    unreadable: list[str] = []
    for position, file in enumerate(files):
        try:
            image = _open(file, size)
        except (OSError, SyntaxError, ValueError) as error:
            reason = str(error).replace(str(file), file.name)
            unreadable.append(f"{file.name} ({reason})")
            continue
        if images and image.shape != images[0].shape:
            raise DataError(
                f"Images must have one size when no input size is set, got {_size(images[0])} and "
                f"{_size(image)} ({file.name}). Set the input size, for instance 224."
            )
        if image.nbytes * len(files) > MAX_BYTES:
            raise DataError(
                f"The images must take at most {MAX_BYTES / 2**30:g} GiB, got {len(files)} of "
                f"{_size(image)}. Set an input size or take fewer samples."
            )
        images.append(image)
        kept.append(position)
    if not images:
        raise DataError(
            f"At least one image must be readable, got {len(files)} that are not, "
            f"first: {unreadable[0]}."
        )
    return np.stack(images), np.array(kept, np.intp), unreadable


def _open(file: Path, size: int) -> NDArray[np.uint8]:
    """Pixels of one image, uint8 of shape (3, H, W)."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(
                    f"An image must have at most {MAX_PIXELS / 1e6:g} million pixels, got "
                    f"{width} x {height} in `{file.name}`. Scale it down or remove it."
                )
            if image.mode not in _MODES:
                raise ValueError(f"pixels of kind {image.mode} instead of 8 bits a channel")
            rgb = image.convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"An image must have at most {MAX_PIXELS / 1e6:g} million pixels, got `{file.name}`: "
            f"{error} Scale it down or remove it."
        ) from error
    pixels = np.asarray(_crop(rgb, size) if size else rgb)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _crop(image: Image.Image, size: int) -> Image.Image:
    short = round(size * SHORT_SIDE / CROP)
    if min(image.size) != short:
        width, height = (side * short // min(image.size) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = ((side - size) // 2 for side in image.size)
    return image.crop((left, top, left + size, top + size))


def _size(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[2]} x {image.shape[1]}"
