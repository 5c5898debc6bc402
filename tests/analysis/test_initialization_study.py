"""The initialization study as a step: runs are kept one by one, and more seeds extend it."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import workflow
from analysis.errors import DataError, OptionError, UnknownNameError
from analysis.events import Note, Progress, result
from analysis.initialization.settings import RunSetting
from analysis.records import StudySpec
from analysis.records.initialization import PAPER
from analysis.workflow.initializing import run_step
from analysis.workspace import Workspace
from cache.store import Store
from tests.analysis.cli_studies import make_lab

INITIALIZERS = ("he_normal", "normal:0:0.4")


@pytest.fixture
def space(tmp_path):
    return Workspace(Store(tmp_path / "store"), allow_factory=True)


def study(space, seeds=1, **more):
    return workflow.initialization(
        workflow.Lab(space), INITIALIZERS, ("regular",), seeds=seeds, epochs=1, workers=1, **more
    )


def test_more_seeds_train_only_what_is_new_and_keep_the_rest(space):
    one = result(study(space).events(space.store))
    assert [(run.initializer, run.seed) for run in one.runs] == [(n, 0) for n in INITIALIZERS]
    events = list(study(space, seeds=2).events(space.store))
    assert any(isinstance(e, Note) and "2 of 4 runs are kept" in e.text for e in events)
    two = events[-1].result
    assert [(r.initializer, r.seed) for r in two.runs] == [
        (name, seed) for name in INITIALIZERS for seed in (0, 1)
    ]
    for run in one.runs:
        again = two.select(run.initializer, "regular")[0]
        assert np.array_equal(again.statistics, run.statistics, equal_nan=True)
        assert again.seconds == run.seconds  # read, not trained again


def test_a_cancelled_study_keeps_its_finished_runs(space):
    step = study(space, seeds=2)
    events = step.events(space.store)
    lab = workflow.Lab(space)
    assert workflow.finished_runs(space.store, lab, step) is None
    for event in events:
        assert isinstance(event, Progress) or not isinstance(event, Note)
        kept = workflow.finished_runs(space.store, lab, step)
        if kept is not None:
            break
    events.close()
    assert kept is not None
    assert 0 < len(kept.runs) < 4
    assert step.stored(space.store) is None


def test_the_number_of_processes_changes_no_number(space, tmp_path):
    other = Workspace(Store(tmp_path / "other"))
    one = result(study(space).events(space.store))
    two = result(
        workflow.initialization(
            workflow.Lab(other), INITIALIZERS, ("regular",), seeds=1, epochs=1, workers=2
        ).events(other.store)
    )
    for first, second in zip(one.runs, two.runs, strict=True):
        assert np.array_equal(first.statistics, second.statistics, equal_nan=True)
        assert np.array_equal(
            first.quantized_accuracy(PAPER), second.quantized_accuracy(PAPER), equal_nan=True
        )


def test_names_and_numbers_are_checked_before_anything_runs(space):
    lab = workflow.Lab(space)
    with pytest.raises(UnknownNameError, match="he_normal"):
        workflow.initialization(lab, ("he_norm",))
    with pytest.raises(UnknownNameError, match="separable"):
        workflow.initialization(lab, architectures=("separabel",))
    with pytest.raises(OptionError):
        workflow.initialization(lab, ("normal:0:-1",))
    with pytest.raises(OptionError, match="epochs"):
        workflow.initialization(lab, epochs=0)


def test_a_study_trains_on_its_own_images(tmp_path):
    lab = make_lab(tmp_path)
    said = lab.json(
        "initialization", "--train-on", "study", "--inits", "he_normal",
        "--architectures", "regular", "--seeds", 1, "--epochs", 1, "--workers", 1,
    )  # fmt: skip
    (run,) = said["runs"]
    assert run["n"] == 30  # the evaluation set of the lab's study
    assert set(run["quantized_accuracy"][PAPER]) == {"8", "6", "4", "3", "2"}
    assert said["summary"][0]["runs"] == 1
    assert said["effects"]


def test_a_study_without_labels_is_refused(tmp_path, space):
    make_lab(tmp_path)
    np.savez(
        tmp_path / "calibration.npz",
        x=np.random.default_rng(5).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8),
    )
    unlabelled = result(
        workflow.opening(
            space,
            StudySpec(
                model="factory:tests.analysis.cli_studies:build",
                calibration=f"npz:{tmp_path / 'calibration.npz'}",
                evaluation=f"npz:{tmp_path / 'evaluation.npz'}",
            ),
        )
    )
    with pytest.raises(DataError, match="has no labels"):
        workflow.Lab(space, unlabelled)


def test_a_run_has_a_key_of_its_own_that_data_and_setting_make(space):
    lab = workflow.Lab(space)
    setting = RunSetting(initializer="he_normal", architecture="regular", seed=0)
    keys = {
        run_step(lab, each).key
        for each in (setting, replace(setting, seed=1), replace(setting, epochs=7))
    }
    assert len(keys) == 3
