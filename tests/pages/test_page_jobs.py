"""The page of jobs and store: what runs, what ended, what is kept."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.errors import DataError
from analysis.events import Events, Finished, Note, Progress, Started
from analysis.journal import Job
from analysis.records import Study
from pages.ui import job_list, resources, store_view, uploads

MAIN = Path(__file__).parents[2] / "pages" / "main.py"


def page() -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    return at.switch_page("jobs.py").run()


def said(at: AppTest) -> str:
    kinds = ("markdown", "info", "error", "success", "warning", "subheader")
    return "\n".join(e.value for kind in kinds for e in at.get(kind))


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Lets a waiting job go on; set at the end of the test at the latest."""
    event = threading.Event()
    yield event
    event.set()


def submit(key: str, gate: threading.Event, title: str = "Long work") -> str:
    started = threading.Event()

    def events() -> Events[int]:
        yield Started("score", title)
        yield Note("A layer was skipped.")
        yield Progress(3, 10, "conv3")
        started.set()
        while not gate.wait(0.01):
            yield Progress(3, 10, "conv3")
        yield Finished(1)

    id = resources.jobs().submit(key, title, "score", "python -m analysis score", events)
    assert started.wait(10)
    return id


def test_an_empty_store_and_no_job_are_said_plainly(cache_dir: Path) -> None:
    at = page()
    assert not at.exception
    assert "Nothing runs" in said(at)
    assert {m.label: m.value for m in at.metric}["Results"] == "0"


def test_a_running_job_is_seen_by_every_session_and_can_be_cancelled(
    cache_dir: Path, gate: threading.Event
) -> None:
    id = submit("a", gate)
    first, second = page(), page()
    for at in (first, second):
        assert not at.exception
        assert "1 waiting or running" in said(at)
        assert "Long work" in said(at)
        assert "A layer was skipped." in said(at)
        assert any(c.value == "python -m analysis score" for c in at.code)
    second.button(key=f"cancel-{id}").click().run()
    assert resources.jobs().wait(id, timeout=10).state == "cancelled"
    first.run()
    assert "Nothing runs." in said(first)
    assert "cancelled" in said(first)
    assert "3 of 10 units done" in said(first)


def test_a_failed_job_shows_its_sentence_and_uploads_by_name(cache_dir: Path) -> None:
    content = b"x"
    folder = cache_dir / "uploads"
    folder.mkdir(parents=True)
    (folder / f"{'a' * 64}.npz").write_bytes(content)
    (folder / f"{'a' * 64}.json").write_text('{"name": "mine.npz"}')

    def events() -> Events[int]:
        yield Started("study", "Open")
        raise DataError(f"Images must fit, got `{'a' * 64}.npz`.")

    id = resources.jobs().submit("b", "Open", "study", "python -m analysis study", events)
    assert resources.jobs().wait(id, timeout=10).state == "failed"
    at = page()
    assert not at.exception
    assert "Images must fit, got `mine.npz`." in said(at)


def test_many_ended_jobs_are_listed_in_a_table(cache_dir: Path, gate: threading.Event) -> None:
    gate.set()
    ids = [submit(str(i), gate, f"Work {i}") for i in range(10)]
    for id in ids:
        resources.jobs().wait(id, timeout=10)
    at = page()
    assert not at.exception
    assert "10 ended" in said(at)
    assert list(at.dataframe[0].value["Job"]) == ["Work 1", "Work 0"]


def test_the_store_is_summed_up_by_step_and_verified(demo_study: Study) -> None:
    at = page()
    assert not at.exception
    assert list(at.dataframe[0].value["Step"]) == ["layers", "study"]
    next(b for b in at.button if b.label == "Verify").click().run()
    assert "All 2 results are sound" in said(at)


def test_damage_is_listed_by_verify(demo_study: Study) -> None:
    store = resources.store()
    victim = next(iter((store.root / "v1").glob("*/*/record.json")))
    victim.write_bytes(victim.read_bytes()[:-5])
    at = page()
    next(b for b in at.button if b.label == "Verify").click().run()
    assert not at.exception
    assert "Problems found: " in said(at)
    assert "quarantined" in list(at.dataframe[-1].value["Kind"])


def test_clearing_keeps_what_has_a_name_and_removes_the_rest(demo_study: Study) -> None:
    store = resources.store()
    store.put("f" * 64, demo_study, step="loose", inputs={}, options={})
    at = page()
    at.number_input(key="clear-days").set_value(0).run()
    assert "**kept**" in said(at)
    at.button(key="clear-confirmed").click().run()
    assert not at.exception
    assert "are free again" in said(at)
    assert {entry.step for entry in store.entries()} == {"layers", "study"}


def test_nothing_is_cleared_while_a_job_runs(cache_dir: Path, gate: threading.Event) -> None:
    submit("a", gate)
    assert page().button(key="clear-confirmed").disabled


def test_a_summary_says_state_duration_and_age() -> None:
    now = time.time()
    job = Job(
        id="1", key="k", title="t", step="s", command="c", submitted=now - 7300,
        state="failed", done=1, total=4, started=now - 7290, finished=now - 7200,
    )  # fmt: skip
    assert job_list.summary(job) == "failed · 1.5 min · 1 of 4 units done · 2 h ago"


def test_sizes_are_said_in_bytes_or_mebibytes() -> None:
    assert store_view.mib(512) == "512 B"
    assert store_view.mib(3 * 2**20) == "3 MiB"
    assert uploads.MAX_BYTES <= 512 * 2**20
