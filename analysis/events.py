"""What a step says while it runs.

A step is a generator of events; the command line, a page and a test consume the same stream.
Closing the generator cancels the step.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Started:
    """A step began; ``cached`` says that its result was read from the store."""

    step: str
    title: str
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` units of work; ``message`` names the unit at hand."""

    done: int
    total: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know: recomputed, skipped, clipped, widened."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished(Generic[T]):
    """The last event of a step."""

    result: T
    cached: bool = False


Report: TypeAlias = Started | Progress | Note
Event: TypeAlias = Report | Finished[T]
Events: TypeAlias = Iterator[Report | Finished[T]]
# Inside a step: yields reports, returns the value.
Work: TypeAlias = Generator[Report, None, T]


def noted(work: Work[T]) -> Work[tuple[T, tuple[str, ...]]]:
    """Pass the reports of a piece of work on, and return its value with what its notes said."""
    notes: list[str] = []
    while True:
        try:
            report = next(work)
        except StopIteration as end:
            return cast(T, end.value), tuple(dict.fromkeys(notes))
        if isinstance(report, Note):
            notes.append(report.text)
        yield report


def result(events: Events[T]) -> T:
    """Run a step to its end and return its result.

    Raises:
        RuntimeError: If the step ends without a result.
    """
    for event in events:
        if isinstance(event, Finished):
            return event.result
    raise RuntimeError("the step ended without a Finished event")


def held_at(work: Work[T], done: int, total: int) -> Work[T]:
    """Pass the reports of a piece of work on, its progress as that of one place of a whole."""
    while True:
        try:
            report = next(work)
        except StopIteration as end:
            return cast(T, end.value)
        yield Progress(done, total, report.message) if isinstance(report, Progress) else report
