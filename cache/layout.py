"""Where everything lies below the root of a store.

Keys are checked before they touch a path; names never touch one, only their digest does.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cache import files
from cache.errors import StoreError

_KEY = re.compile(r"[0-9a-f]{64}")


def default_root() -> Path:
    """Return the folder of the store: BITLENS_CACHE, else ``cache/data`` of this checkout."""
    chosen = os.environ.get("BITLENS_CACHE", "")
    return Path(chosen).expanduser() if chosen else Path(__file__).resolve().parent / "data"


def check_key(key: str) -> str:
    """Return a key that may become part of a path.

    Raises:
        StoreError: If it is not 64 lower-case hexadecimal digits.
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise StoreError(
            f"A key must be 64 lower-case hexadecimal digits, got {str(key)[:80]!r}; "
            "`python -m analysis cache ls --json` lists those there are."
        )
    return key


def hashed(name: str) -> str:
    """Return the digest that stands for a name in a path."""
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders and files of the store below ``root``."""

    root: Path

    @property
    def quarantine(self) -> Path:
        """What was found damaged."""
        return self.root / "quarantine"

    def entry(self, key: str) -> Path:
        """Folder of a result."""
        return self.root / "v1" / check_key(key)[:2] / key

    def entries(self) -> Iterator[Path]:
        """Folders of all results, those of damaged ones among them."""
        for fan in files.children(self.root / "v1"):
            yield from (path for path in files.children(fan) if _KEY.fullmatch(path.name))

    def parts(self, key: str) -> Path:
        """Folder of the parts of a result."""
        return self.root / "parts" / check_key(key)

    def part(self, key: str, name: str) -> Path:
        """File of a part."""
        return self.parts(key) / f"{hashed(name)}.part"

    def part_folders(self) -> tuple[Path, ...]:
        """Folders of the parts of all results."""
        return files.children(self.root / "parts")

    def part_files(self) -> Iterator[Path]:
        """Files of all parts."""
        for folder in self.part_folders():
            yield from files.children(folder)

    def kind(self, kind: str) -> Path:
        """Folder of the names of a kind."""
        return self.root / "names" / hashed(kind)

    def pointer(self, kind: str, name: str) -> Path:
        """File of a name."""
        return self.kind(kind) / f"{hashed(name)}.json"

    def pointers(self) -> Iterator[Path]:
        """Files of all names."""
        for folder in files.children(self.root / "names"):
            yield from files.children(folder)
