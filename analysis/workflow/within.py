"""One of several pieces of work, as part of the whole."""

from typing import TypeVar, cast

from analysis.events import Note, Progress, Started, Work

T = TypeVar("T")
# Each piece counts its own progress; the whole is shown in these units a piece.
UNITS = 1000


def within(work: Work[T], place: int, count: int, label: str, *, notes: bool = True) -> Work[T]:
    """Run one of ``count`` pieces of work; its progress never goes back within the whole.

    Args:
        work: The piece.
        place: How many pieces came before.
        count: How many there are in all.
        label: What to call the piece.
        notes: Whether to pass its notes on.
    """
    furthest = place * UNITS
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            yield Progress((place + 1) * UNITS, count * UNITS, f"{label}: done")
            return cast(T, end.value)
        if isinstance(event, Progress):
            here = place * UNITS + UNITS * event.done // max(event.total, 1)
            furthest = max(furthest, min(here, (place + 1) * UNITS - 1))
            yield Progress(furthest, count * UNITS, f"{label}: {event.message}")
        elif isinstance(event, Note):
            if notes:
                yield Note(f"{label}: {event.text}")
        elif not isinstance(event, Started):
            yield event
