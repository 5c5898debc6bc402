import json
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.errors import DataError
from analysis.events import Events, Finished, Progress
from tests.analysis.jobs.steps import (
    PATIENCE,
    Clock,
    Gate,
    Make,
    failing,
    listed,
    quick,
    run,
    submit,
)

ROOT = Path(__file__).parents[3]


def test_ended_jobs_come_back_as_they_were(make: Make) -> None:
    before = make()
    run(before, quick, "good")
    run(before, failing(DataError("bad")), "bad")
    assert before.close(PATIENCE)
    after = make()
    assert after.jobs() == before.jobs()
    assert after.result(after.jobs()[0].id) is None


def test_every_change_of_state_is_in_the_journal_at_once(
    make: Make, gate: Gate, tmp_path: Path
) -> None:
    manager = make(clock=Clock())
    running = submit(manager, gate, "a")
    assert gate.entered.wait(PATIENCE)
    waiting = submit(manager, quick, "b")
    assert listed(tmp_path / "jobs.json") == [("a", "running"), ("b", "queued")]
    manager.cancel(waiting)
    assert listed(tmp_path / "jobs.json") == [("a", "running"), ("b", "cancelled")]
    gate.go.set()
    manager.wait(running, PATIENCE)
    assert listed(tmp_path / "jobs.json") == [("a", "finished"), ("b", "cancelled")]
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.json"]


def test_progress_reaches_the_journal_at_most_once_a_second(make: Make, tmp_path: Path) -> None:
    clock = Clock()
    manager = make(clock=clock)
    written: list[int] = []

    def step() -> Events[None]:
        for done in range(1, 13):
            clock.now += 0.25
            yield Progress(done, 12)
            written.append(json.loads((tmp_path / "jobs.json").read_text())["jobs"][0]["done"])
        yield Finished(None)

    run(manager, step)
    assert written == [0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12]


def test_a_killed_process_leaves_its_active_jobs_interrupted_and_does_not_hang(
    make: Make, tmp_path: Path
) -> None:
    journal = tmp_path / "jobs.json"
    script = """
import sys, threading
from pathlib import Path
from analysis.events import Progress
from analysis.jobs import JobManager
entered = threading.Event()
def step():
    yield Progress(2, 9, "unit")
    entered.set()
    threading.Event().wait()
manager = JobManager(Path(sys.argv[1]))
manager.submit("a", "A", "score", "command", step)
manager.submit("b", "B", "score", "command", step)
entered.wait()
manager.cancel(manager.jobs()[1].id)
print("torch" in sys.modules)
"""
    # The main thread ends while the step stands still for ever: the interpreter must end too.
    done = subprocess.run(
        [sys.executable, "-c", script, str(journal)],
        cwd=ROOT,
        timeout=PATIENCE,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
    waiting, running = make().jobs()
    for job in (waiting, running):
        assert (job.state, job.active, job.cancelling) == ("interrupted", False, False)
        assert job.error == "The program ended before this job did; run it again to complete it."
        assert job.eta_seconds is None
    assert (running.done, running.total, running.message) == (2, 9, "unit")
    assert listed(journal) == [("a", "interrupted"), ("b", "interrupted")]


def test_an_interrupted_job_can_be_run_again(make: Make, tmp_path: Path, gate: Gate) -> None:
    other = make()
    submit(other, gate)
    assert gate.entered.wait(PATIENCE)
    content = json.loads((tmp_path / "jobs.json").read_text())
    content["jobs"][0]["eta_seconds"] = 30.0
    (tmp_path / "copy.json").write_text(json.dumps(content))
    manager = make("copy.json")
    assert manager.jobs()[0].eta_seconds is None
    assert run(manager, quick).state == "finished"
    assert [job.state for job in manager.jobs()] == ["finished", "interrupted"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b'{"schema": 2, "jobs": []}',
        b'{"schema": 1}',
        b'{"schema": 1, "jobs": [{"id": "a"}]}',
        b'{"schema": 1, "jobs": [7]}',
        b"[" * 200_000,
    ],
)
def test_a_damaged_journal_is_set_aside_with_a_warning(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / "jobs.json").write_bytes(content)
    manager = make(clock=Clock())
    assert manager.jobs() == ()
    assert (tmp_path / "jobs.json.damaged-1000").read_bytes() == content
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "set aside" in caplog.text
    assert run(manager, quick).state == "finished"
    assert listed(tmp_path / "jobs.json") == [("k", "finished")]


@pytest.mark.parametrize(
    ("field", "value"),
    [("state", "sleeping"), ("done", "3"), ("started", []), ("notes", [1]), ("extra", 1)],
)
def test_a_journal_with_a_wrong_field_is_damaged(
    make: Make, tmp_path: Path, field: str, value: object
) -> None:
    first = make()
    run(first, quick)
    first.close(PATIENCE)
    content = json.loads((tmp_path / "jobs.json").read_text())
    content["jobs"][0][field] = value
    (tmp_path / "other.json").write_text(json.dumps(content))
    assert make("other.json", clock=Clock()).jobs() == ()
    assert (tmp_path / "other.json.damaged-1000").exists()


def test_a_journal_that_cannot_be_written_is_noted_once_and_kills_no_job(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    manager = make(clock=clock)
    (tmp_path / "jobs.json").mkdir()  # no file can take the place of a folder

    def step() -> Events[str]:
        for done in range(5):
            clock.now += 10
            yield Progress(done, 5)
        yield Finished("value")

    ended = run(manager, step)
    assert ended.state == "finished"
    assert manager.result(ended.id) == "value"
    assert len(ended.notes) == 1
    assert ended.notes[0].startswith("The job list could not be saved (Is a directory)")
    assert len(caplog.records) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.json"]

    (tmp_path / "jobs.json").rmdir()
    assert run(manager, quick, "later").notes == ()
    assert listed(tmp_path / "jobs.json") == [("k", "finished"), ("later", "finished")]


def test_the_folder_of_the_journal_is_made(make: Make, tmp_path: Path) -> None:
    run(make("new/folder/jobs.json"), quick)
    assert listed(tmp_path / "new/folder/jobs.json") == [("k", "finished")]


def test_managers_with_different_journals_do_not_share_jobs(
    make: Make, tmp_path: Path, gate: Gate
) -> None:
    one, two = make("one.json"), make("two.json")
    held = submit(one, gate)
    assert gate.entered.wait(PATIENCE)
    assert run(two, quick).state == "finished"
    assert one.job(held).state == "running"
    assert two.close(PATIENCE)
    assert listed(tmp_path / "one.json") == [("k", "running")]
    assert listed(tmp_path / "two.json") == [("k", "finished")]
