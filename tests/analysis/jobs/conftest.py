import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.jobs import JobManager
from tests.analysis.jobs.steps import PATIENCE, Clock, Gate, Make


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    managers = []

    def build(name: str = "jobs.json", workers: int = 1, clock: Clock | None = None) -> JobManager:
        manager = JobManager(tmp_path / name, workers, clock or time.time)
        managers.append(manager)
        return manager

    yield build
    for manager in managers:
        manager.close(PATIENCE)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.go.set()
