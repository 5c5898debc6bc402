"""Files that are there whole or not at all.

Everything is written into a folder of its own under ``tmp`` of the same volume, forced to disk and
then renamed into place; everything is removed by renaming it away first. So no reader ever sees
half of anything.
"""

import errno
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from cache.errors import StoreError

TEMPORARY = "tmp"

# A write takes seconds, so an older temporary folder has lost its writer.
ABANDONED_AFTER_SECONDS = 3600.0

_FULL = {errno.ENOSPC, errno.EDQUOT}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_OCCUPIED = {errno.ENOTEMPTY, errno.EEXIST}


@contextmanager
def explained(action: str, root: Path) -> Iterator[None]:
    """Turn an error of the operating system into one sentence for the user.

    Args:
        action: What was tried, after "must be able to".
        root: Folder of the store.

    Raises:
        StoreError: In place of any ``OSError``.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            rest = (
                "the disk is full; free some space (`python -m analysis cache clear` empties the "
                "store) or let BITLENS_CACHE name a folder on another disk."
            )
        elif error.errno in _CLOSED:
            rest = (
                f"access is refused ({os.strerror(error.errno or 0)}); change the rights of the "
                "folder or let BITLENS_CACHE name another one."
            )
        else:
            rest = f"it fails ({error}); check the disk or let BITLENS_CACHE name another folder."
        raise StoreError(f"The store must be able to {action} in {root}, but {rest}") from error


@contextmanager
def staging(root: Path) -> Iterator[Path]:
    """Give an empty folder on the store's volume; what is left in it at the end is removed."""
    folder = _temporary(root)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(path: Path, data: bytes) -> None:
    """Write a new file and force it to disk.

    Raises:
        OSError: If the file exists or cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace(source: Path, target: Path) -> None:
    """Move a file, or a folder, to its place; a file replaces what was there.

    Raises:
        OSError: If it cannot be moved, a folder onto an occupied one among others
            (see :func:`is_occupied`).
    """
    _sync(source.parent if source.is_file() else source)
    for attempt in range(8):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
            break
        except (FileNotFoundError, FileExistsError):
            # Another process may sweep the parent away before, between and in the two calls.
            if attempt == 7 or target.is_dir() or not source.exists():
                raise
    with suppress(FileNotFoundError):  # it was in its place, and another process removed it since
        _sync(target.parent)


def is_occupied(error: OSError) -> bool:
    """Tell whether :func:`replace` failed because another writer was first."""
    return error.errno in _OCCUPIED


def discard(root: Path, path: Path) -> int:
    """Remove a file or folder at once for every reader; return the bytes that this freed."""
    away = _temporary(root)
    try:
        os.rename(path, away)
    except FileNotFoundError:
        return 0
    before = size(away)
    if not away.is_dir():
        away.unlink(missing_ok=True)
    for _ in range(5):
        # A write that had found the folder before it was renamed may still land in it.
        shutil.rmtree(away, ignore_errors=True)
        if not away.exists():
            break
    return before - size(away)


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files under a folder; 0 if it is gone."""
    try:
        return sum(map(size, path.iterdir())) if path.is_dir() else path.stat().st_size
    except FileNotFoundError:
        return 0


def age(path: Path) -> float:
    """Return the seconds since a file or folder was written; -1 if it is gone."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return -1.0


def children(folder: Path) -> tuple[Path, ...]:
    """Return what a folder holds, by name; nothing if there is no such folder."""
    try:
        return tuple(sorted(folder.iterdir()))
    except (FileNotFoundError, NotADirectoryError):
        return ()


def leftovers(root: Path) -> tuple[Path, ...]:
    """Return temporary files and folders whose writer is gone."""
    return tuple(path for path in children(root / TEMPORARY) if _is_abandoned(path))


def _temporary(root: Path) -> Path:
    parent = root / TEMPORARY
    parent.mkdir(parents=True, exist_ok=True)
    return parent / f"{_host()}-{os.getpid()}-{secrets.token_hex(8)}"


def _host() -> str:
    return sha256(platform.node().encode()).hexdigest()[:8]


def _is_abandoned(path: Path) -> bool:
    if age(path) > ABANDONED_AFTER_SECONDS:
        return True
    host, _, rest = path.name.partition("-")
    process = rest.partition("-")[0]
    if host != _host() or not process.isdigit() or os.name != "posix":
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _sync(folder: Path) -> None:
    """Force the entries of a folder to disk, where folders can be opened at all."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
