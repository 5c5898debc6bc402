"""A store for processes that read the same few records again and again."""

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from cache import files
from cache.store import OnDamage, Store, stamp

T = TypeVar("T")


@dataclass(slots=True)
class _Memory:
    """Records as they were read, those that were asked for last at the end."""

    records: OrderedDict[str, tuple[object, int, Any]] = field(default_factory=OrderedDict)
    total: int = 0
    lock: Lock = field(default_factory=Lock)


@dataclass(frozen=True, slots=True)
class RememberingStore(Store):
    """A store that keeps the results it read last, up to ``limit`` bytes of their files.

    A result is read anew once its entry was removed or replaced, by whomever. Records are shared
    between callers: they must not change them.
    """

    limit: int = 256 * 2**20
    _memory: _Memory = field(default_factory=_Memory, compare=False, repr=False)

    def get(self, key: str, cls: type[T], on_damage: OnDamage | None = None) -> T | None:
        """Return a stored result as :meth:`Store.get` does, from memory where it is unchanged."""
        folder = self._at.entry(key)
        memory = self._memory
        with files.explained("read a stored result", self.root):
            before = stamp(folder)
        with memory.lock:
            kept = memory.records.get(key)
            if kept is not None and kept[0] == before and isinstance(kept[2], cls):
                memory.records.move_to_end(key)
                return kept[2]
        found = Store.get(self, key, cls, on_damage)
        with files.explained("read a stored result", self.root):
            unchanged = found is not None and before is not None and stamp(folder) == before
            size = files.size(folder) if unchanged else 0
        with memory.lock:
            if key in memory.records:
                memory.total -= memory.records.pop(key)[1]
            if unchanged:
                memory.records[key] = before, size, found
                memory.total += size
                while memory.total > self.limit:
                    memory.total -= memory.records.popitem(last=False)[1][1]
        return found
