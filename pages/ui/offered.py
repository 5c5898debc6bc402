"""What the operator of the server offers: data below BITLENS_DATA, studies in BITLENS_STUDIES.

A browser names an offer by its id, never by a path; the id is looked up among what is there.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from analysis.errors import DataError, StudyError
from analysis.records import StudySpec

DATA_VARIABLE, STUDIES_VARIABLE = "BITLENS_DATA", "BITLENS_STUDIES"
MAX_OFFERS = 500
_CIFAR_FILES = ("data_batch_1", "test_batch")


@dataclass(frozen=True, slots=True)
class Offer:
    """A set of images: its id, what it is called, the spec that loads it."""

    id: str
    label: str
    spec: str


def folder(variable: str) -> Path | None:
    """Return the resolved folder that an environment variable names, None if there is none."""
    chosen = os.environ.get(variable, "")
    place = Path(chosen).expanduser().resolve() if chosen else None
    return place if place is not None and place.is_dir() else None


def data_sets() -> dict[str, Offer]:
    """Return npz files and image folders up to two levels below BITLENS_DATA, by id."""
    root = folder(DATA_VARIABLE)
    found: dict[str, Offer] = {}
    for kind, path in _walk(root, root, 2) if root is not None else ():
        assert root is not None
        name = path.relative_to(root).as_posix()
        identity = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        found[identity] = Offer(identity, f"{name} ({kind})", f"{kind}:{path}")
        if len(found) == MAX_OFFERS:
            break
    return found


def data_spec(identity: str) -> str:
    """Return the spec of an offered set.

    Raises:
        DataError: If nothing with this id is offered.
    """
    offers = data_sets()
    if identity not in offers:
        raise DataError(
            "The data must be one of those that the operator offers, got one that is not there "
            "(any more). Choose from the list."
        )
    return offers[identity].spec


def study_files() -> dict[str, Path]:
    """Return the operator's study files by name."""
    root = folder(STUDIES_VARIABLE)
    if root is None:
        return {}
    return {p.stem: p for p in sorted(root.glob("*.toml")) if _inside(p, root) and p.is_file()}


def study_spec(name: str) -> StudySpec:
    """Return the study of an operator's file, its paths absolute.

    Raises:
        StudyError: If there is no such file, or it cannot be read.
        UnknownNameError: If it has a setting that no study has.
    """
    from analysis.study import absolute_spec, read_spec

    offers = study_files()
    if name not in offers:
        raise StudyError(
            "The study must be one of those that the operator offers, got one that is not there "
            "(any more). Choose from the list."
        )
    spec = absolute_spec(read_spec(offers[name]), offers[name].parent)
    return spec if spec.name else replace(spec, name=name)


def _walk(place: Path, root: Path, levels: int) -> Iterator[tuple[str, Path]]:
    for path in sorted(place.iterdir()):
        if path.name.startswith(".") or not _inside(path, root):
            continue
        if path.is_file() and path.suffix == ".npz":
            yield "npz", path
        elif path.is_dir():
            kind = _kind(path)
            if kind:
                yield kind, path
            elif levels > 1 and os.access(path, os.R_OK | os.X_OK):
                yield from _walk(path, root, levels - 1)


def _kind(path: Path) -> str:
    """Return how a folder can be read as a set of images, empty if it cannot."""
    from analysis.data.folder import EXTENSIONS

    try:
        if any((path / name).is_file() for name in _CIFAR_FILES):
            return "cifar10"
        if (path / "labels.csv").is_file():
            return "images"
        for entry in path.iterdir():
            if entry.suffix.lower() in EXTENSIONS:
                return "images"
            if entry.is_dir() and not entry.name.startswith("."):
                first = next((e for e in entry.iterdir() if e.suffix.lower() in EXTENSIONS), None)
                if first is not None:
                    return "images"
    except OSError:
        return ""
    return ""


def _inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):
        return False
