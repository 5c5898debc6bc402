"""Long work: progress, cancelling, closed tabs, second sessions, a restart of the server."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

pytestmark = pytest.mark.browser

START, RESUME, SCORED = "Score the layers", "Resume", "Most sensitive samples"
BACKWARD = re.compile(r"backward pass \d+ of|errors of")
FINISH_MS = 180_000
CANCEL_SECONDS, END_SECONDS = 10, 15  # loose: 1.5 s and some seconds are the aims


def start_scoring(tab: Tab, server: Server, study: str, button: str = START) -> None:
    """Start scoring a study and wait until its progress moves."""
    tab.open(server.url("sensitivity", study=study), "Sensitivity")
    tab.button(button).click()
    expect(tab.button("Cancel")).to_be_visible(timeout=WAIT_MS)
    wait_for_progress(tab, 1)


def wait_for_progress(tab: Tab, percent: int) -> None:
    """Wait until the progress bar of the page shows so much."""
    tab.page.wait_for_function(
        "percent => Number(document.querySelector('[data-testid=stMain] [role=progressbar]')"
        "?.getAttribute('aria-valuenow')) >= percent",
        arg=percent,
    )


def wait_until_finished(server: Server, study: str) -> None:
    """Wait, without any tab, until the job list of the server says that a study is scored."""
    deadline = time.monotonic() + FINISH_MS / 1000
    states: list[str] = []
    while "finished" not in states:
        assert time.monotonic() < deadline, states
        time.sleep(0.5)
        jobs = json.loads((server.store / "jobs.json").read_text())["jobs"]
        states = [job["state"] for job in jobs if job["title"].endswith(study)]


def test_a_cancelled_job_is_shown_as_cancelled_and_goes_on_where_it_was(
    server: Server, tab: Tab
) -> None:
    study = "Long: cancelled"
    start_scoring(tab, server, study)
    tab.says(BACKWARD)
    wait_for_progress(tab, 10)
    begin = time.monotonic()
    tab.button("Cancel").click()
    tab.says("The last run was cancelled")
    seconds = time.monotonic() - begin
    print(f"cancel shown after {seconds:.2f} s")
    assert seconds < CANCEL_SECONDS
    expect(tab.sidebar.get_by_text("No job is running.")).to_be_visible(timeout=WAIT_MS)
    begin = time.monotonic()
    tab.button(RESUME).click()
    tab.says(SCORED, FINISH_MS)
    print(f"the rest took {time.monotonic() - begin:.1f} s")
    assert "n = 600" in tab.body


def test_closing_the_tab_stops_nothing_and_every_session_sees_the_job(
    server: Server, new_tab: Callable[..., Tab]
) -> None:
    study = "Long: left alone"
    first = new_tab()
    start_scoring(first, server, study)
    other = new_tab()
    other.open(server.url("jobs"), "Jobs and store")
    other.says("1 waiting or running")
    other.says(f"Sample-layer attention of {study}")
    first.page.close()
    other.page.close()
    wait_until_finished(server, study)
    again = new_tab()
    again.open(server.url("sensitivity", study=study), "Sensitivity")
    again.says(SCORED)
    again.open(server.url("jobs"), "Jobs and store")
    again.says("Nothing runs.")


def test_a_restart_ends_the_job_and_keeps_what_was_finished(
    start_server: Callable[[Path], Server], store: Path, tab: Tab
) -> None:
    first = start_server(store)
    start_scoring(tab, first, "Long: interrupted")
    seconds = first.terminate(END_SECONDS)
    print(f"the server ended after {seconds:.2f} s")
    jobs = json.loads((store / "jobs.json").read_text())["jobs"]
    assert [job["state"] for job in jobs] == ["cancelled"]
    second = start_server(store)
    tab.open(second.url("jobs"), "Jobs and store")
    tab.says("Nothing runs.")
    job = tab.main.get_by_text(re.compile("attention of Long: interrupted.*cancelled"))
    expect(job.first).to_be_visible(timeout=WAIT_MS)
    tab.open(second.url("sensitivity", study="Long: interrupted"), "Sensitivity")
    tab.says("The last run was cancelled")
    tab.open(second.url("sensitivity", study="Demo: digits-resnet"), "Sensitivity")
    tab.says(SCORED)
    assert "Traceback" not in first.said() + second.said()


def test_a_killed_server_loses_only_the_batch_at_hand(
    start_server: Callable[[Path], Server], store: Path, tab: Tab
) -> None:
    study = "Long: interrupted"
    first = start_server(store)
    start_scoring(tab, first, study)
    tab.says(BACKWARD)
    wait_for_progress(tab, 5)
    first.kill()
    second = start_server(store)
    tab.open(second.url("jobs"), "Jobs and store")
    job = tab.main.get_by_text(re.compile(f"attention of {study}.*interrupted"))
    expect(job.first).to_be_visible(timeout=WAIT_MS)
    start_scoring(tab, second, study, RESUME)
    tab.says("batches are kept from an earlier run")
    tab.button("Cancel").click()
    tab.says("The last run was cancelled")
    assert "Traceback" not in second.said()
