"""Files that come from a browser: checked here, kept under the digest of their content."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from analysis.errors import AnalysisError, DataError, WeightsError
from cache import files
from pages.ui import offered

MAX_BYTES = 500 * 2**20
WEIGHTS, DATA = "weights", "data"
EXTENSIONS = {WEIGHTS: ("safetensors", "pt", "pth", "th"), DATA: ("npz",)}
_MIB = 2**20
_ABANDONED_SECONDS = 3600.0
_SHOWN_NAME = 80


@dataclass(frozen=True, slots=True)
class Upload:
    """A checked file: what the browser called it, where it lies, what it holds in words."""

    name: str
    path: Path
    about: str


def keep(root: Path, kind: str, name: str, content: bytes) -> Upload:
    """Check an upload and keep it under ``root/uploads``; equal content is kept once.

    Args:
        root: Folder of the store.
        kind: :data:`WEIGHTS` or :data:`DATA`.
        name: What the browser calls the file: its ending counts, and it is shown; no path is made
            of it.
        content: The bytes.

    Raises:
        AnalysisError: If the ending, the size or the content is not as it must be.
        StoreError: If the file cannot be written.
    """
    shown = _shown(name)
    known = EXTENSIONS[kind]
    extension = name.rpartition(".")[2].lower()
    wrong = WeightsError if kind == WEIGHTS else DataError
    if extension not in known:
        raise wrong(
            f"An upload of {kind} must end in {' or '.join(f'.{e}' for e in known)}, got `{shown}`."
        )
    if not content:
        raise wrong(f"`{shown}` is empty. Choose the file again.")
    if len(content) > MAX_BYTES:
        raise wrong(
            f"An upload must have at most {MAX_BYTES // _MIB} MiB, got {len(content) / _MIB:.0f} "
            f"MiB in `{shown}`. Ask the operator to offer the file in the folder of BITLENS_DATA, "
            "or open it on the command line."
        )
    identity = sha256(content).hexdigest()
    path = root / "uploads" / f"{identity}.{extension}"
    with files.explained("keep an upload", root), files.staging(root) as staging:
        staged = staging / path.name
        files.write(staged, content)
        try:
            about = _CHECKS[kind](staged)
        except AnalysisError as error:
            raise type(error)(str(error).replace(path.name, shown)) from error
        files.write(staging / "note", json.dumps({"name": shown}).encode())
        files.replace(staged, path)
        files.replace(staging / "note", path.with_suffix(".json"))
    return Upload(shown, path, about)


def readable(text: str, root: Path) -> str:
    """Return a text for a browser: uploads by their owners' names, no folder of the machine."""
    for path in kept(root):
        if path.stem in text:
            shown = _name_of(path)
            text = text.replace(str(path), shown).replace(path.name, shown)
    place = offered.folder(offered.DATA_VARIABLE)
    if place is not None:
        text = text.replace(f"{place}/", "")
    return text.replace(str(root), root.name)


def kept(root: Path) -> tuple[Path, ...]:
    """Return every kept upload."""
    return tuple(p for p in files.children(root / "uploads") if p.suffix != ".json")


def unused(root: Path, texts: Iterable[str]) -> tuple[Path, ...]:
    """Return the uploads that no text names and that are older than an hour."""
    named = "\n".join(texts)
    return tuple(
        path
        for path in kept(root)
        if path.stem not in named and time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
    )


def remove(root: Path, paths: Iterable[Path]) -> int:
    """Remove uploads; return the bytes that this freed.

    Raises:
        StoreError: If they cannot be removed.
    """
    with files.explained("remove uploads", root):
        return sum(
            files.discard(root, path) + files.discard(root, path.with_suffix(".json"))
            for path in paths
        )


def _check_weights(path: Path) -> str:
    from analysis.models.weights import read_state_dict

    state = read_state_dict(path)
    numbers = sum(value.numel() for value in state.values())
    return f"{len(state):,} tensors, {numbers:,} numbers, all finite"


def _check_data(path: Path) -> str:
    from analysis.data.npz import check_npz

    members = check_npz(path)
    return " · ".join(
        f"{name}: {member.dtype} {' × '.join(map(str, member.shape))}"
        for name, member in members.items()
    ) + ("" if "y" in members else " · no labels")


_CHECKS: dict[str, Callable[[Path], str]] = {WEIGHTS: _check_weights, DATA: _check_data}


def _shown(name: str) -> str:
    """Return a file's name without folders and without anything that is not plain to print."""
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = "".join(c if c.isprintable() and c not in "`<>" else "_" for c in last)
    return plain[-_SHOWN_NAME:] or "unnamed"


def _name_of(path: Path) -> str:
    try:
        return _shown(str(json.loads(path.with_suffix(".json").read_bytes())["name"]))
    except (OSError, ValueError, KeyError, TypeError):
        return f"{path.stem[:12]}{path.suffix}"
