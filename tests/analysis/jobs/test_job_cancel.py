import threading
from pathlib import Path

import pytest

from analysis.errors import AnalysisError
from analysis.events import Events, Finished, Progress
from tests.analysis.jobs.steps import PATIENCE, Gate, Make, listed, quick, run, submit


def test_a_running_job_is_cancelled_at_its_next_event_and_its_step_restores(
    make: Make, gate: Gate
) -> None:
    manager = make()
    id = submit(manager, gate)
    assert gate.entered.wait(PATIENCE)
    asked = manager.cancel(id)
    assert (asked.state, asked.cancelling) == ("running", True)
    assert gate.closed_in == []
    gate.go.set()
    ended = manager.wait(id, PATIENCE)
    assert (ended.state, ended.cancelling, ended.error) == ("cancelled", False, "")
    assert ended.result_key == ""
    assert manager.result(id) is None
    assert gate.closed_in == ["job-worker-0"]


def test_a_queued_job_is_cancelled_at_once_and_never_starts(make: Make, gate: Gate) -> None:
    manager = make()
    submit(manager, gate, "first")
    assert gate.entered.wait(PATIENCE)
    waiting = Gate()
    id = submit(manager, waiting, "second")
    assert manager.job(id).state == "queued"
    assert manager.cancel(id).state == "cancelled"
    gate.go.set()
    assert run(manager, quick, "third").state == "finished"
    assert waiting.starts == 0


def test_cancelling_a_job_that_has_ended_changes_nothing(make: Make) -> None:
    manager = make()
    ended = run(manager, quick)
    assert manager.cancel(ended.id) == ended


def test_a_step_that_is_done_when_cancelled_keeps_its_result(make: Make) -> None:
    manager = make()

    def step() -> Events[str]:
        manager.cancel(manager.jobs()[0].id)
        yield Finished("in time")

    ended = run(manager, step)
    assert (ended.state, ended.cancelling) == ("finished", False)
    assert manager.result(ended.id) == "in time"


def test_a_step_that_fails_to_restore_is_not_called_cancelled(make: Make) -> None:
    manager = make()

    def step() -> Events[str]:
        try:
            manager.cancel(manager.jobs()[0].id)
            yield Progress(0, 1)
        finally:
            raise KeyError("hook")

    ended = run(manager, step)
    assert ended.state == "failed"
    assert ended.error == "Unexpected error KeyError: 'hook', details in the log."


# --- shutdown ------------------------------------------------------------------------------------


def test_closing_cancels_running_and_queued_jobs_within_a_second(
    make: Make, tmp_path: Path
) -> None:
    manager = make()
    entered, restored = threading.Event(), threading.Event()

    def endless() -> Events[None]:
        try:
            while True:
                entered.set()
                threading.Event().wait(0.01)  # a unit of work
                yield Progress(0, 0)
        finally:
            restored.set()

    submit(manager, endless, "running")
    submit(manager, quick, "queued")
    assert entered.wait(PATIENCE)
    assert manager.close(timeout=1.0)
    assert restored.is_set()
    assert [job.state for job in manager.jobs()] == ["cancelled", "cancelled"]
    assert listed(tmp_path / "jobs.json") == [("running", "cancelled"), ("queued", "cancelled")]


def test_closing_does_not_wait_for_a_step_that_stands_still(
    make: Make, tmp_path: Path, gate: Gate
) -> None:
    manager = make()
    id = submit(manager, gate)
    assert gate.entered.wait(PATIENCE)
    assert not manager.close(timeout=0.01)
    assert (manager.job(id).state, manager.job(id).cancelling) == ("running", True)
    # Left to the next process as active, so that it comes back as interrupted.
    assert listed(tmp_path / "jobs.json") == [("k", "running")]
    gate.go.set()
    assert manager.wait(id, PATIENCE).state == "cancelled"


def test_closing_twice_is_harmless(make: Make) -> None:
    manager = make()
    run(manager, quick)
    assert manager.close(PATIENCE)
    assert manager.close(PATIENCE)


def test_a_closed_manager_takes_no_job(make: Make) -> None:
    manager = make()
    manager.close(PATIENCE)
    with pytest.raises(AnalysisError, match="shutting down and cannot take `Title of k`"):
        submit(manager, quick)
