"""What is known about a job, and the file in which the next process finds it."""

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, get_type_hints

logger = logging.getLogger(__name__)

SCHEMA = 1

State: TypeAlias = Literal["queued", "running", "finished", "failed", "cancelled", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is known about a job at one moment.

    Times are seconds since the epoch. ``eta_seconds`` is None until the pace is known. A running
    job that was told to stop has ``cancelling`` set until its step gives way. ``command`` is the
    equal command line. ``result_key`` is the job's key once its result exists, else empty.
    """

    id: str
    key: str
    title: str
    step: str
    command: str
    submitted: float
    state: State = "queued"
    cancelling: bool = False
    done: int = 0
    total: int = 0
    message: str = ""
    started: float | None = None
    finished: float | None = None
    eta_seconds: float | None = None
    notes: tuple[str, ...] = ()
    error: str = ""
    cached: bool = False
    result_key: str = ""

    @property
    def active(self) -> bool:
        """Whether the job waits or runs."""
        return self.state in ("queued", "running")

    @property
    def fraction(self) -> float:
        """Share of the work that is done, in 0..1."""
        if self.state == "finished":
            return 1.0
        return min(max(self.done / self.total, 0.0), 1.0) if self.total > 0 else 0.0


def write_journal(journal: Path, jobs: Iterable[Job]) -> None:
    """Replace the journal atomically.

    Raises:
        OSError: If it cannot be written; the old file is kept then.
    """
    text = json.dumps({"schema": SCHEMA, "jobs": [asdict(job) for job in jobs]})
    part = journal.with_name(f"{journal.name}.part")
    journal.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(journal)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def read_journal(journal: Path, now: float) -> tuple[Job, ...]:
    """Read the jobs, oldest first; none if there is no file.

    A file that cannot be read is renamed after the time ``now``, with a warning in the log.
    """
    try:
        content = json.loads(journal.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}, got {content['schema']!r}")
        return tuple(_read(entry) for entry in content["jobs"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        aside = journal.with_name(f"{journal.name}.damaged-{int(now)}")
        try:
            journal.replace(aside)
        except OSError as failure:
            logger.warning("the job journal %s is unreadable (%s): %s", journal, error, failure)
        else:
            logger.warning("the job journal is damaged (%s); set aside as %s", error, aside)
        return ()


def _read(entry: dict[str, Any]) -> Job:
    job = Job(**{**entry, "notes": tuple(entry["notes"])})
    for name, kind in get_type_hints(Job).items():
        value = getattr(job, name)
        if name == "state":
            fits = value in get_args(State)
        elif name == "notes":
            fits = all(isinstance(note, str) for note in value)
        else:
            fits = isinstance(value, kind)
        if not fits:
            raise ValueError(f"`{name}` of a job cannot be {value!r}")
    return replace(job, eta_seconds=None)
