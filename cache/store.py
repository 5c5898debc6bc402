"""The result store: records under keys, their unfinished parts, and names that point to keys.

Below the root lie ``v1/<k[:2]>/<key>/`` with ``record.json``, ``arrays.npz`` and ``manifest.json``,
``parts/<key>/``, ``names/``, ``quarantine/`` for what was found damaged, and ``tmp/``. Several
threads, processes and sessions may use one root at a time; a store object holds no state.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from cache import codec, files, keys, sealed
from cache.errors import CodecError, StoreError
from cache.layout import Layout, check_key, hashed
from cache.sealed import DamagedError

T = TypeVar("T")
OnDamage = Callable[[str], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored result: what it is and what it was made from.

    ``record`` is the name of its class; ``created`` is in UTC; ``size_bytes`` counts its files.
    ``inputs``, ``options`` and ``environment`` are as given, tuples and arrays in their JSON form.
    """

    key: str
    step: str
    record: str
    created: datetime
    size_bytes: int
    inputs: Mapping[str, str]
    options: Mapping[str, Any]
    environment: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the store that is not as it should be.

    ``kind`` is ``damaged``, ``quarantined``, ``leftover`` or ``dangling``; ``path`` is relative to
    the root.
    """

    kind: str
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Store:
    """A result store below ``root``, which is made by the first write.

    Every method raises :class:`~cache.errors.StoreError` when the folder cannot be read or written,
    and for a key that is not 64 hexadecimal digits. ``on_damage`` is called with one sentence when
    something stored was found damaged and set aside; by default the sentence is logged.
    """

    root: Path

    @property
    def _at(self) -> Layout:
        return Layout(self.root)

    # --- results ----------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        record: object,
        *,
        step: str,
        inputs: Mapping[str, str],
        options: Mapping[str, Any] | object,
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        """Store a result and drop its parts; a result that is there already is kept.

        Args:
            key: Key of the result, see :func:`cache.keys.key`.
            record: A frozen dataclass.
            step: Name of the step that made it.
            inputs: Role of each input to its key or digest.
            options: Options record or named values.
            environment: What may differ between equal results (host, versions, threads).

        Raises:
            CodecError: If the record cannot be stored.
            TypeError: If options or environment hold a value without a canonical form.
        """
        folder = self._at.entry(key)
        text, arrays = codec.dumps(record)
        about = {
            "key": key,
            "step": step,
            "record": type(record).__name__,
            "created": datetime.now(UTC).isoformat(),
            "inputs": dict(inputs),
            "options": _named_values(options),
            "environment": dict(environment or {}),
        }
        with files.explained(f"write the result of step `{step}`", self.root):
            if not self.contains(key):
                with files.staging(self.root) as staging:
                    sealed.write_entry(staging, text, arrays, about)
                    self._publish(staging, folder)
            files.discard(self.root, self._at.parts(key))

    def get(self, key: str, cls: type[T], on_damage: OnDamage | None = None) -> T | None:
        """Return a stored result, or None if there is none or it had to be set aside as damaged.

        Raises:
            CodecError: If the result under this key is a record of another class.
        """
        folder = self._at.entry(key)
        with files.explained("read a stored result", self.root):
            for _ in range(5):
                before = stamp(folder)
                step, found = "", cls.__name__
                try:
                    manifest = sealed.read_manifest(folder)
                    step, found = manifest["step"], manifest["record"]
                    if found == cls.__name__:
                        return codec.loads(cls, *sealed.read_files(folder, manifest))
                except (DamagedError, CodecError) as error:
                    reason = str(error)
                if found != cls.__name__:
                    raise CodecError(
                        f"A {cls.__name__} was asked for, but key {key[:12]} holds a {found}."
                    )
                if not folder.exists():
                    return None
                if stamp(folder) != before:
                    continue  # another process removed or replaced the entry meanwhile
                moved = self._quarantine(folder)
                if moved is None:
                    return None
                if stamp(moved) == before:
                    name = f"result of step `{step}`" if step else "result"
                    what = f"The stored {name} ({key[:12]}) had to be set aside"
                    _tell(on_damage, what, reason, "it will be computed again")
                    return None
                self._publish(moved, folder)  # replaced at the last moment: it goes back
                files.discard(self.root, moved)
        return None

    def contains(self, key: str) -> bool:
        """Tell whether there is a result under a key; :meth:`get` may still find it damaged."""
        with files.explained("read a stored result", self.root):
            return (self._at.entry(key) / sealed.MANIFEST).is_file()

    def delete(self, key: str) -> bool:
        """Remove a result; return whether there was one."""
        with files.explained("remove a stored result", self.root):
            return files.discard(self.root, self._at.entry(key)) > 0

    def entries(self) -> tuple[Entry, ...]:
        """Return every result with a sound manifest, oldest first; see :meth:`verify`."""
        found = []
        with files.explained("list its results", self.root):
            for folder in self._at.entries():
                try:
                    found.append(_entry(sealed.read_manifest(folder), files.size(folder)))
                except DamagedError:
                    continue
        return tuple(sorted(found, key=lambda entry: (entry.created, entry.key)))

    # --- parts of unfinished results --------------------------------------------------------------

    def put_part(self, key: str, name: str, record: object) -> None:
        """Store a part of the result that is being made under ``key``; the last one written stays.

        Raises:
            CodecError: If the record cannot be stored.
        """
        data = sealed.dump_part(name, *codec.dumps(record))
        self._write_file(self._at.part(key, name), data, f"write the part `{name}` of a result")

    def get_part(
        self, key: str, name: str, cls: type[T], on_damage: OnDamage | None = None
    ) -> T | None:
        """Return a part, or None if there is none or it was damaged and therefore dropped."""
        path = self._at.part(key, name)
        with files.explained("read a part of a result", self.root):
            try:
                return codec.loads(cls, *sealed.load_part(path.read_bytes(), name))
            except FileNotFoundError:
                return None
            except (DamagedError, CodecError) as error:
                files.discard(self.root, path)
                what = f"The part `{name}` of an unfinished result ({key[:12]}) had to be dropped"
                _tell(on_damage, what, str(error), "it will be computed again")
        return None

    def parts(self, key: str) -> tuple[str, ...]:
        """Return the names of the parts under a key, sorted; one that is damaged has no name."""
        names = []
        with files.explained("list the parts of a result", self.root):
            for path in files.children(self._at.parts(key)):
                try:
                    names.append(sealed.load_part_name(path))
                except (DamagedError, FileNotFoundError):
                    continue
        return tuple(sorted(names))

    def drop_parts(self, key: str) -> None:
        """Remove every part under a key."""
        with files.explained("remove the parts of a result", self.root):
            files.discard(self.root, self._at.parts(key))

    # --- names ------------------------------------------------------------------------------------

    def name(self, kind: str, name: str, key: str) -> None:
        """Let a name of some kind ("configuration") point to a result, in place of an earlier one.

        Raises:
            StoreError: If the name is blank.
        """
        check_key(key)
        if not name.strip():
            raise StoreError(f"The name of a {kind} must not be blank; type at least one letter.")
        data = sealed.dump_note({"kind": kind, "name": name, "key": key})
        self._write_file(self._at.pointer(kind, name), data, f"write the name of a {kind}")

    def named(self, kind: str, on_damage: OnDamage | None = None) -> dict[str, str]:
        """Return the names of a kind, sorted, and the keys they point to."""
        found = {}
        with files.explained(f"list the names of each {kind}", self.root):
            for path in files.children(self._at.kind(kind)):
                try:
                    note = _pointer(path)
                except FileNotFoundError:
                    continue
                except DamagedError as error:
                    if self._quarantine(path) is not None:
                        what = f"A saved name of a {kind} had to be set aside"
                        _tell(on_damage, what, str(error), "save it again under its name")
                    continue
                found[note["name"]] = note["key"]
        return dict(sorted(found.items()))

    def unname(self, kind: str, name: str) -> bool:
        """Remove a name, not what it points to; return whether there was one."""
        with files.explained(f"remove the name of a {kind}", self.root):
            return files.discard(self.root, self._at.pointer(kind, name)) > 0

    # --- care -------------------------------------------------------------------------------------

    def verify(self) -> tuple[Problem, ...]:
        """Read everything and return what is damaged, set aside, left over or points nowhere."""
        problems: list[Problem] = []

        def add(kind: str, path: Path, text: str) -> None:
            problems.append(Problem(kind, path.relative_to(self.root).as_posix(), text))

        with files.explained("read its files", self.root):
            for folder in self._at.entries():
                try:
                    sealed.read_files(folder, sealed.read_manifest(folder))
                except DamagedError as error:
                    if folder.exists():
                        add("damaged", folder, f"A result is damaged: {error}.")
            for path in self._at.part_files():
                try:
                    sealed.load_part(path.read_bytes(), sealed.load_part_name(path))
                except FileNotFoundError:
                    continue
                except DamagedError as error:
                    add("damaged", path, f"A part of a result is damaged: {error}.")
            for path in self._at.pointers():
                try:
                    note = _pointer(path)
                except FileNotFoundError:
                    continue
                except DamagedError as error:
                    add("damaged", path, f"A saved name is damaged: {error}.")
                    continue
                if not self.contains(note["key"]):
                    text = f"The {note['kind']} `{note['name']}` points to a result that is gone."
                    add("dangling", path, text)
            for path in files.children(self._at.quarantine):
                text = f"{files.size(path)} bytes were set aside as damaged; clear removes them."
                add("quarantined", path, text)
            for path in files.leftovers(self.root):
                text = f"{files.size(path)} bytes of a write that never ended; clear removes them."
                add("leftover", path, text)
        return tuple(problems)

    def clear(self, older_than_seconds: float | None = None, *, keep_named: bool = True) -> int:
        """Remove results, parts, what was set aside, and leftovers of writes that never ended.

        Args:
            older_than_seconds: Keep what was written since; None removes whatever its age.
            keep_named: Keep the results that a name points to. Names are never removed here.

        Returns:
            Bytes freed.
        """
        with files.explained("remove stored results", self.root):
            kept = self._named_keys() if keep_named else set()
            candidates = [f for f in self._at.entries() if f.name not in kept]
            candidates += [*self._at.part_files(), *files.children(self._at.quarantine)]
            if older_than_seconds is not None:
                candidates = [p for p in candidates if files.age(p) >= older_than_seconds]
            candidates += files.leftovers(self.root)
            freed = sum(files.discard(self.root, path) for path in candidates)
            for folder in self._at.part_folders():
                with suppress(OSError):  # a folder that is in use is not empty and stays
                    folder.rmdir()
        return freed

    def _named_keys(self) -> set[str]:
        found = set()
        for path in self._at.pointers():
            try:
                found.add(_pointer(path)["key"])
            except (FileNotFoundError, DamagedError):
                continue
        return found

    # --- moves ------------------------------------------------------------------------------------

    def _publish(self, staging: Path, folder: Path) -> None:
        try:
            files.replace(staging, folder)
        except OSError as error:
            if not files.is_occupied(error):
                raise
            # A finished entry of another writer stays; one without manifest makes way.
            if not (folder / sealed.MANIFEST).is_file():
                moved = self._quarantine(folder)
                if moved is not None and stamp(moved) is not None:
                    files.discard(self.root, moved)  # finished at the last moment: an equal one
                self._publish(staging, folder)

    def _write_file(self, path: Path, data: bytes, action: str) -> None:
        with files.explained(action, self.root), files.staging(self.root) as staging:
            files.write(staging / path.name, data)
            files.replace(staging / path.name, path)

    def _quarantine(self, path: Path) -> Path | None:
        moved = self._at.quarantine / f"{path.name}-{secrets.token_hex(4)}"
        try:
            files.replace(path, moved)
        except FileNotFoundError:
            return None
        return moved


def stamp(folder: Path) -> bytes | None:
    """Return the manifest as it is, which tells one writing of an entry from another."""
    try:
        return (folder / sealed.MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _pointer(path: Path) -> dict[str, Any]:
    note = sealed.load_note(path.read_bytes(), "content")
    if path.stem != hashed(note["name"]):
        raise DamagedError("its content belongs to another name")
    return note


def _named_values(options: Mapping[str, Any] | object) -> dict[str, Any]:
    if isinstance(options, Mapping):
        return dict(options)
    if is_dataclass(options) and not isinstance(options, type):
        return {f.name: getattr(options, f.name) for f in fields(options)}
    raise TypeError(f"options must be a mapping or a dataclass, got {options!r}")


def _entry(manifest: Mapping[str, Any], size_bytes: int) -> Entry:
    return Entry(
        key=manifest["key"],
        step=manifest["step"],
        record=manifest["record"],
        created=datetime.fromisoformat(manifest["created"]),
        size_bytes=size_bytes,
        inputs=manifest["inputs"],
        options={n: keys.float_from_json(v) for n, v in manifest["options"].items()},
        environment=manifest["environment"],
    )


def _tell(on_damage: OnDamage | None, what: str, reason: str, remedy: str) -> None:
    (on_damage or logger.warning)(f"{what}, because {reason.rstrip('.')}; {remedy}.")
