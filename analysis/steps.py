"""A step: one piece of work with a key, run at most once, its result kept in the store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from analysis.events import Events, Finished, Note, Started, Work
from analysis.records import FloatArray, Record
from cache.keys import key
from cache.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Record):
    """A finished part of an unfinished result."""

    arrays: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class StoredParts:
    """The parts of the result under one key, kept in the store until the result is there."""

    store: Store
    key: str

    def load(self, name: str) -> Mapping[str, FloatArray] | None:
        """Return a part's arrays, None if it is not there or was found damaged."""
        part = self.store.get_part(self.key, name, Part)
        return None if part is None else part.arrays

    def save(self, name: str, arrays: Mapping[str, FloatArray]) -> None:
        """Keep a part's arrays."""
        self.store.put_part(self.key, name, Part(arrays=dict(arrays)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Generic[T]):
    """A piece of work, described before it runs.

    ``inputs`` are digests and keys of what it works on, ``options`` everything that was chosen;
    with ``name`` and ``version`` they make the key. ``command`` is the equal command line. ``work``
    is given the place to keep unfinished parts.
    """

    name: str
    version: int
    title: str
    command: str
    record: type[T]
    inputs: Mapping[str, str]
    options: Mapping[str, Any]
    work: Callable[[StoredParts], Work[T]]
    names: tuple[tuple[str, str], ...] = field(default=())

    @property
    def key(self) -> str:
        """Key of the result."""
        return key(self.name, self.version, self.inputs, self.options)

    def stored(self, store: Store) -> T | None:
        """Return the result if it was computed already."""
        return store.get(self.key, self.record)

    def events(self, store: Store, *, fresh: bool = False) -> Events[T]:
        """Run the step, or read its result; the last event carries it.

        Args:
            store: Where results are kept.
            fresh: Compute again even if there is a result.
        """
        notes: list[str] = []
        found = None if fresh else store.get(self.key, self.record, notes.append)
        yield Started(self.name, self.title, cached=found is not None)
        for note in notes:
            yield Note(note)
        if found is None:
            if fresh:
                store.delete(self.key)
                store.drop_parts(self.key)
            result = yield from self.work(StoredParts(store, self.key))
            store.put(self.key, result, step=self.name, inputs=self.inputs, options=self.options)
        else:
            result = found
        for kind, name in self.names:
            store.name(kind, name, self.key)
        yield Finished(result, cached=found is not None)

    def need(self, store: Store) -> Work[T]:
        """Obtain the result from inside another step, passing its reports on."""
        for event in self.events(store):
            if isinstance(event, Finished):
                return event.result
            yield event
        raise RuntimeError("the step ended without a Finished event")
