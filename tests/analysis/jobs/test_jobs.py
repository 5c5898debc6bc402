import threading
from pathlib import Path

import pytest

from analysis.errors import AnalysisError, DataError, UnknownNameError
from analysis.events import Events, Finished, Note, Progress, Started
from analysis.jobs import KEPT_JOBS, KEPT_RESULTS, Job, JobManager
from cache.errors import StoreError
from tests.analysis.jobs.steps import PATIENCE, Clock, Gate, Make, failing, quick, run, submit


def test_a_finished_job_tells_what_its_step_said(make: Make) -> None:
    clock = Clock()
    manager = make(clock=clock)

    def step() -> Events[list[int]]:
        yield Started("score", "Scoring")
        yield Note("one layer is skipped")
        clock.now += 5
        yield Progress(3, 4, "layer1.0.conv1")
        yield Finished([1, 2], cached=True)

    id = submit(manager, step)
    assert manager.wait(id, PATIENCE) == Job(
        id=id,
        key="k",
        title="Title of k",
        step="score",
        command="python -m analysis score k",
        submitted=1000.0,
        state="finished",
        done=3,
        total=4,
        message="layer1.0.conv1",
        started=1000.0,
        finished=1005.0,
        notes=("one layer is skipped",),
        cached=True,
        result_key="k",
    )
    assert manager.result(id) == [1, 2]


def test_jobs_are_listed_newest_first(make: Make) -> None:
    manager = make()
    for key in "abc":
        run(manager, quick, key)
    assert [job.key for job in manager.jobs()] == ["c", "b", "a"]


def test_a_snapshot_does_not_change_with_its_job(make: Make, gate: Gate) -> None:
    manager = make()
    id = submit(manager, gate)
    assert gate.entered.wait(PATIENCE)
    before = manager.job(id)
    gate.go.set()
    assert manager.wait(id, PATIENCE).state == "finished"
    assert (before.state, before.done, before.active) == ("running", 0, True)


def test_waiting_ends_with_its_timeout_while_the_job_runs(make: Make, gate: Gate) -> None:
    manager = make()
    id = submit(manager, gate)
    assert gate.entered.wait(PATIENCE)
    assert manager.wait(id, 0.01).state == "running"


@pytest.mark.parametrize("call", ["job", "cancel", "result", "wait"])
def test_an_unknown_job_is_refused_by_name(make: Make, call: str) -> None:
    with pytest.raises(UnknownNameError, match="There is no job `nosuch`"):
        getattr(make(), call)("nosuch")


def test_a_manager_needs_a_worker(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`workers` must be at least 1, got 0"):
        JobManager(tmp_path / "jobs.json", workers=0)


def test_only_the_results_used_last_stay_in_memory(make: Make) -> None:
    manager = make()
    ids = [run(manager, lambda i=i: quick(i), f"k{i}").id for i in range(KEPT_RESULTS)]
    assert manager.result(ids[0]) == 0
    ids.append(run(manager, lambda: quick("new"), "new").id)
    assert [manager.result(id) for id in ids] == [0, None, *range(2, KEPT_RESULTS), "new"]


def test_only_the_last_jobs_are_kept_and_active_ones_always(make: Make, gate: Gate) -> None:
    manager = make(workers=2)
    held = submit(manager, gate, "held")
    assert gate.entered.wait(PATIENCE)
    first = run(manager, quick, "first")
    for i in range(KEPT_JOBS):
        run(manager, quick, f"k{i}")
    kept = [job.id for job in manager.jobs()]
    assert len(kept) == KEPT_JOBS
    assert held in kept
    assert first.id not in kept


# --- single flight -------------------------------------------------------------------------------


def test_equal_keys_from_many_threads_make_one_job(make: Make, gate: Gate) -> None:
    manager = make(workers=2)
    together = threading.Barrier(8)
    ids: list[str] = []

    def press() -> None:
        together.wait(PATIENCE)
        ids.append(submit(manager, gate))

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    gate.go.set()
    assert manager.wait(ids[0], PATIENCE).state == "finished"
    assert len(ids) == 8
    assert set(ids) == {ids[0]}
    assert len(manager.jobs()) == 1
    assert gate.starts == 1


def test_a_key_whose_job_has_ended_runs_anew(make: Make) -> None:
    manager = make()
    assert run(manager, quick).id != run(manager, quick).id


def test_different_keys_run_side_by_side_when_there_are_workers(make: Make, gate: Gate) -> None:
    manager = make(workers=2)
    id = submit(manager, gate, "slow")
    assert gate.entered.wait(PATIENCE)
    assert run(manager, quick, "fast").state == "finished"
    assert manager.job(id).state == "running"


def test_a_job_that_is_being_cancelled_is_not_joined_and_its_heir_waits_for_it(
    make: Make, gate: Gate
) -> None:
    manager = make(workers=2)
    old = submit(manager, gate)
    assert gate.entered.wait(PATIENCE)
    manager.cancel(old)
    new = submit(manager, quick)
    # A job of another key, submitted later, passes the one that waits.
    assert run(manager, quick, "other").state == "finished"
    assert manager.job(new).state == "queued"
    gate.go.set()
    assert manager.wait(new, PATIENCE).state == "finished"
    assert manager.job(old).state == "cancelled"


# --- failures ------------------------------------------------------------------------------------


def test_an_error_of_the_user_is_shown_as_it_is_and_not_logged(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    ended = run(make(), failing(DataError("The set must hold images, got 0.")))
    assert (ended.state, ended.error) == ("failed", "The set must hold images, got 0.")
    assert (ended.done, ended.total) == (1, 2)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ZeroDivisionError("by zero\nsecond line"), "ZeroDivisionError: by zero"),
        (RuntimeError(), "RuntimeError"),
        (SystemExit("bye"), "SystemExit: bye"),
    ],
)
def test_any_other_error_is_logged_and_the_worker_goes_on(
    make: Make, caplog: pytest.LogCaptureFixture, error: BaseException, text: str
) -> None:
    manager = make()
    ended = run(manager, failing(error))
    assert ended.state == "failed"
    assert ended.error == f"Unexpected error {text}, details in the log."
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]
    assert run(manager, quick).state == "finished"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8.00 PiB for an array"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_exhausted_memory_says_what_to_do(make: Make, error: BaseException) -> None:
    ended = run(make(), failing(error))
    assert ended.state == "failed"
    assert ended.error.startswith("This job needs more memory than is free; use fewer samples")


def test_a_step_that_cannot_begin_fails_its_job(make: Make) -> None:
    def make_events() -> Events[str]:
        raise AnalysisError("There must be a study, got none.")

    assert run(make(), make_events).error == "There must be a study, got none."


def test_a_full_disk_is_told_as_the_store_tells_it(make: Make) -> None:
    text = "The store must have free space, the disk is full."
    assert run(make(), failing(StoreError(text))).error == text


def test_a_step_without_a_result_fails(make: Make) -> None:
    ended = run(make(), lambda: iter([Progress(1, 1)]))
    assert ended.state == "failed"
    assert "ended without a Finished event" in ended.error
