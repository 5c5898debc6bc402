import dataclasses
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.errors import AnalysisError, OptionError
from analysis.events import Progress
from analysis.initialization import pool
from analysis.initialization.frames import pack, unpack
from analysis.initialization.pool import run_many
from analysis.initialization.settings import RunSetting
from analysis.records.initialization import InitRun
from tests.reference.initialization import small_data
from tests.reference.work import finish

DATA = small_data()
SETTINGS = [
    RunSetting(initializer=name, architecture="separable", seed=seed, epochs=1)
    for seed in (0, 1)
    for name in ("he_normal", "uniform_small")
]
# The least that two workers can share.
THREE = SETTINGS[:3]


@pytest.fixture
def started(monkeypatch):
    """The worker processes that a test starts."""
    found: list[subprocess.Popen[bytes]] = []
    start = pool._process

    def remember() -> subprocess.Popen[bytes]:
        found.append(start())
        return found[-1]

    monkeypatch.setattr(pool, "_process", remember)
    return found


def same(first: InitRun, second: InitRun) -> bool:
    for field in dataclasses.fields(InitRun):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, np.ndarray):
            if a.dtype != b.dtype or not np.array_equal(a, b, equal_nan=True):
                return False
        elif field.name != "seconds" and a != b:
            return False
    return True


def test_two_processes_give_what_one_gives_and_leave_the_main_script_alone(
    started, monkeypatch, tmp_path: Path
):
    # A Streamlit server's main module is the page that runs, driven from a thread; multiprocessing
    # would run that script in every worker.
    script, log = tmp_path / "app.py", tmp_path / "log"
    script.write_text(f"open({str(log)!r}, 'a').write('run again')")
    main = types.ModuleType("__main__")
    main.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    arrived: list[tuple[RunSetting, InitRun]] = []
    results: list[tuple[InitRun, ...]] = []

    def work() -> None:
        many = run_many(THREE, DATA, 2, lambda *pair: arrived.append(pair), (8,))
        results.append(finish(many))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not log.exists()
    alone = finish(run_many(THREE, DATA, 1, lambda *_: None, (8,)))
    for run, other, setting in zip(results[0], alone, THREE, strict=True):
        assert same(run, other)
        assert (run.initializer, run.seed) == (setting.initializer, setting.seed)
    assert len(arrived) == len(THREE)
    assert {setting for setting, _ in arrived} == set(THREE)
    assert all((run.initializer, run.seed) == (s.initializer, s.seed) for s, run in arrived)
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_closing_ends_the_workers_at_once(started):
    work = run_many(SETTINGS, DATA, 2, lambda *_: None)
    event = next(work)
    # Out of one: another total starts the estimate of the time left anew.
    assert event == Progress(0, 1, "starting 2 processes, a few seconds")
    assert len(started) == 2
    assert all(process.poll() is None for process in started)
    work.close()
    assert all(process.poll() is not None for process in started)
    assert not [t for t in threading.enumerate() if t.name.endswith("(_drive)")]


def test_runs_that_were_finished_before_a_cancellation_are_kept():
    kept: list[RunSetting] = []
    work = run_many(SETTINGS, DATA, 1, lambda setting, _: kept.append(setting), (8,))
    for event in work:
        if isinstance(event, Progress) and event.done == 2:
            break
    work.close()
    assert kept == SETTINGS[:1]


def test_progress_counts_epochs_and_says_how_many_runs_are_done():
    events = list(run_many(SETTINGS[:2], DATA, 1, lambda *_: None, (8,)))
    # One epoch and the quantization each.
    assert {event.total for event in events} == {4}
    assert [event.done for event in events] == [1, 1, 2, 3, 3, 4]
    assert events[0].message.startswith(f"0 of 2 runs · {SETTINGS[0].title}: epoch 1 of 1")
    assert events[-1].message == f"2 of 2 runs · {SETTINGS[1].title}: done"


def test_a_run_that_diverged_has_done_all_of_its_units():
    lost = RunSetting(initializer="normal:0:1e9", architecture="regular_nobn", seed=0, epochs=5)
    events = list(run_many([lost, SETTINGS[0]], DATA, 1, lambda *_: None, (8,)))
    assert {event.total for event in events} == {8}
    assert next(e.done for e in events if e.message.startswith("1 of 2 runs")) == 6


def test_a_worker_that_ends_by_itself_is_an_error_that_says_so(monkeypatch, started):
    monkeypatch.setattr(pool, "WORKER", "analysis.initialization.absent")
    with pytest.raises(AnalysisError, match="ended by itself"):
        finish(run_many(SETTINGS, DATA, 2, lambda *_: None))
    assert all(process.poll() is not None for process in started)


def test_the_number_of_workers_is_checked():
    for workers in (0, 65):
        with pytest.raises(OptionError, match="`workers` must lie in"):
            finish(run_many(SETTINGS, DATA, workers, lambda *_: None))


def test_nothing_to_do_is_done_at_once():
    assert finish(run_many([], DATA, 2, lambda *_: None)) == ()


def test_data_survives_the_way_to_a_worker():
    found = unpack(pack(DATA))
    assert found.digest == DATA.digest
    for name in ("train_x", "train_y", "calibration_x", "evaluation_x", "evaluation_y"):
        assert torch.equal(getattr(found, name), getattr(DATA, name))
