"""Progress on standard error: a bar on a terminal, lines otherwise."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from time import monotonic
from typing import TextIO, TypeVar, cast

from analysis.events import Event, Events, Finished, Note, Progress, Report, Started, Work

T = TypeVar("T")

BAR_CELLS = 24
SECONDS_BETWEEN_BARS, SECONDS_BETWEEN_LINES = 0.1, 2.0
# Lines stay in a log: a slow step that hardly moves writes fewer.
SHARE_BETWEEN_LINES, SECONDS_WITHOUT_LINE = 0.1, 20.0


@dataclass(slots=True)
class Reporter:
    """Writes what a step reports; ``stream`` is standard error unless given."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    _begin: float = 0.0
    _written: float = 0.0
    _share: float = 0.0
    _first: bool = True
    _bar: bool = False
    _noted: set[str] = field(default_factory=set)

    def run(self, events: Events[T]) -> tuple[T, bool]:
        """Run a step to its end; return its result and whether that was stored already.

        Whatever interrupts it closes the step, which keeps its finished parts.
        """
        self._begin = monotonic()
        self._written = 0.0 if self.stream.isatty() else self._begin
        self._first = True
        try:
            with closing(cast("_Closing[T]", events)) as running:
                for event in running:
                    if isinstance(event, Finished):
                        return event.result, event.cached
                    self._report(event)
        finally:
            self._clear()
        raise RuntimeError("the step ended without a Finished event")

    def work(self, work: Work[T]) -> T:
        """Run work that is no step of its own."""
        return self.run(_finishing(work))[0]

    def _report(self, event: Report) -> None:
        if isinstance(event, Started):
            # Stored results that a step only reads on its way are no news.
            if self._first or not event.cached:
                self._line(f"{event.title}{' (stored)' if event.cached else ''}")
            self._first, self._share = False, 0.0
        elif isinstance(event, Note):
            # What a stored result had to say comes again with the result made of it.
            if event.text not in self._noted:
                self._line(f"note: {event.text}")
            self._noted.add(event.text)
        else:
            self._progress(event)

    def _progress(self, event: Progress) -> None:
        now, terminal = monotonic(), self.stream.isatty()
        pause = SECONDS_BETWEEN_BARS if terminal else SECONDS_BETWEEN_LINES
        if now - self._written < pause or event.total <= 0:
            return
        share = min(event.done / event.total, 1.0)
        moved = abs(share - self._share) >= SHARE_BETWEEN_LINES
        if not terminal and not moved and now - self._written < SECONDS_WITHOUT_LINE:
            return
        self._written, self._share = now, share
        spent = now - self._begin
        left = f", {_duration(spent / share - spent)} left" if 0 < share < 1 and spent > 1 else ""
        if not terminal:
            self._line(f"  {share:4.0%}  {event.message}{left}")
            return
        full = round(share * BAR_CELLS)
        text = f"{'█' * full}{'░' * (BAR_CELLS - full)} {share:4.0%}  {event.message}{left}"
        self.stream.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")
        self.stream.flush()
        self._bar = True

    def _line(self, text: str) -> None:
        self._clear()
        self.stream.write(f"{text}\n")
        self.stream.flush()

    def _clear(self) -> None:
        if self._bar:
            self.stream.write("\r\x1b[K")
            self._bar = False


class _Closing(Iterator[Event[T]]):
    """What every generator is: an iterator that can be closed."""

    def close(self) -> None:
        """End it."""


def _finishing(work: Work[T]) -> Events[T]:
    result = yield from work
    yield Finished(result)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
