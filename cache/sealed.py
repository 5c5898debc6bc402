"""Stored forms that notice when they were changed: entries (folders), parts and notes (files)."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cache import files, keys

MANIFEST, RECORD, ARRAYS = "manifest.json", "record.json", "arrays.npz"


class DamagedError(Exception):
    """Something stored is not what was written; the text completes "..., because"."""


def dump_note(values: Mapping[str, object]) -> bytes:
    """Return JSON values with a seal, the digest of all of them, on one line."""
    note = {name: keys.canonical(value) for name, value in values.items()}
    return json.dumps({**note, "seal": keys.digest(note)}, allow_nan=False).encode("ascii")


def load_note(data: bytes, what: str) -> dict[str, Any]:
    """Return the values that :func:`dump_note` was given, in their canonical JSON form.

    Raises:
        DamagedError: If the text is cut off, changed or no note at all.
    """
    try:
        note = json.loads(data)
    except ValueError as error:
        raise DamagedError(f"its {what} is no longer readable") from error
    if not isinstance(note, dict) or note.pop("seal", None) != keys.digest(note):
        raise DamagedError(f"its {what} does not match its checksum")
    return note


def write_entry(folder: Path, record: bytes, arrays: bytes, about: Mapping[str, object]) -> None:
    """Write the files of an entry into an empty folder, the manifest last."""
    contents = {RECORD: record, ARRAYS: arrays}
    for name, data in contents.items():
        files.write(folder / name, data)
    sums = {name: {"sha256": _sum(data), "size": len(data)} for name, data in contents.items()}
    files.write(folder / MANIFEST, dump_note({**about, "files": sums}))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an entry.

    Raises:
        DamagedError: If it is missing, cut off, changed, or of another entry.
    """
    try:
        data = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedError("its manifest is missing") from error
    manifest = load_note(data, "manifest")
    if manifest.get("key") != folder.name:
        raise DamagedError("its manifest belongs to another result")
    return manifest


def read_files(folder: Path, manifest: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return record and arrays of an entry, both checked against its manifest.

    Raises:
        DamagedError: If a file is missing or differs from what was written.
    """
    sums = manifest["files"]
    return _checked(folder / RECORD, sums[RECORD]), _checked(folder / ARRAYS, sums[ARRAYS])


def dump_part(name: str, record: bytes, arrays: bytes) -> bytes:
    """Return a part as one file: a line with its name and checksums, the record, the arrays."""
    head = {"name": name, "cut": len(record), "sha256": _sum(record + arrays)}
    return dump_note(head) + b"\n" + record + arrays


def load_part_name(path: Path) -> str:
    """Return the name of the part in a file.

    Raises:
        DamagedError: If the first line was changed.
    """
    with path.open("rb") as file:
        return str(load_note(file.readline(), "first line")["name"])


def load_part(data: bytes, name: str) -> tuple[bytes, bytes]:
    """Return record and arrays of a part.

    Raises:
        DamagedError: If the file differs from what was written, or is another part's.
    """
    line, _, body = data.partition(b"\n")
    head = load_note(line, "first line")
    if head["name"] != name:
        raise DamagedError("it belongs to another part")
    if head["sha256"] != _sum(body):
        raise DamagedError("its content does not match its checksum")
    return body[: head["cut"]], body[head["cut"] :]


def _checked(path: Path, expected: Mapping[str, Any]) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedError(f"{path.name} is missing") from error
    if len(data) != expected["size"]:
        raise DamagedError(f"{path.name} has {len(data)} bytes instead of {expected['size']}")
    if _sum(data) != expected["sha256"]:
        raise DamagedError(f"{path.name} does not match its checksum")
    return data


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
