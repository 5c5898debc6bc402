"""Steps, a clock and short hands for the tests of jobs."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

from analysis.events import Events, Finished, Progress, Started
from analysis.jobs import Job, JobManager

PATIENCE = 10.0  # seconds until a test that hangs fails

Make = Callable[..., JobManager]


class Clock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """A step that stands still between two events until it is let go."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        self.starts = 0
        self.closed_in: list[str] = []

    def __call__(self) -> Events[str]:
        self.starts += 1
        try:
            yield Started("gate", "Gate")
            yield Progress(0, 2, "first")
            self.entered.set()
            assert self.go.wait(PATIENCE)
            yield Progress(1, 2, "second")
            yield Finished("through")
        finally:
            self.closed_in.append(threading.current_thread().name)


def submit(manager: JobManager, step: Callable[[], Events[object]], key: str = "k") -> str:
    return manager.submit(key, f"Title of {key}", "score", f"python -m analysis score {key}", step)


def run(manager: JobManager, step: Callable[[], Events[object]], key: str = "k") -> Job:
    return manager.wait(submit(manager, step, key), PATIENCE)


def quick(value: object = "value") -> Events[object]:
    yield Finished(value)


def failing(error: BaseException) -> Callable[[], Events[str]]:
    def step() -> Events[str]:
        yield Progress(1, 2)
        raise error

    return step


def listed(journal: Path) -> list[tuple[str, str]]:
    return [(job["key"], job["state"]) for job in json.loads(journal.read_text())["jobs"]]
