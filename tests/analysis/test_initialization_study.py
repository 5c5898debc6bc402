"""The initialization study as a step: runs are kept one by one, and more seeds extend it."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import workflow
from analysis.commands import DEMO
from analysis.data.digits import load_split
from analysis.errors import DataError, OptionError, UnknownNameError
from analysis.events import Note, Progress, result
from analysis.initialization.failures import BEHIND, failures
from analysis.initialization.settings import RunSetting
from analysis.records import InitStudy, StudySpec
from analysis.records.initialization import PAPER
from analysis.workflow.initializing import judged, run_step
from analysis.workspace import Workspace
from cache.store import Store
from tests.analysis.cli_studies import make_lab
from tests.reference.initialization import planted_run, small_data

INITIALIZERS = ("he_normal", "normal:0:0.4")


@pytest.fixture(autouse=True)
def _few_images(monkeypatch):
    """What is kept and what is trained anew does not depend on how many images there are."""
    monkeypatch.setattr("analysis.workflow.initializing.digits_lab_data", small_data)


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


def test_the_number_of_processes_is_no_part_of_the_key(space):
    lab = workflow.Lab(space)
    one, two = (
        workflow.initialization(lab, INITIALIZERS, ("regular",), seeds=1, workers=workers)
        for workers in (1, 2)
    )
    assert one.key == two.key
    assert [run_step(lab, RunSetting(**options)).key for options in one.options["runs"]] == [
        run_step(lab, RunSetting(**options)).key for options in two.options["runs"]
    ]


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


def test_images_that_are_too_small_are_refused_before_anything_runs(tmp_path, space):
    opened = result(workflow.opening(space, DEMO))
    flat = replace(opened, model=replace(opened.model, input_shape=(1, 1, 12)))
    with pytest.raises(DataError, match=r"8 x 8 pixels at least.*\(1, 1, 12\)"):
        workflow.Lab(space, flat)


def test_images_are_called_by_the_model_where_the_study_has_no_name(space):
    opened = result(workflow.opening(space, DEMO))
    assert workflow.Lab(space).title == "the embedded digits"
    assert workflow.Lab(space, opened).title == DEMO.name
    nameless = replace(opened, spec=replace(opened.spec, name=""))
    assert workflow.Lab(space, nameless).title == "demo:digits-resnet"


def test_runs_are_judged_by_the_best_that_is_stored_of_their_kind(space):
    lab = workflow.Lab(space)
    labels = load_split("evaluation")[1]
    assert lab.guessing == max(np.bincount(labels)) / len(labels)
    poor, good, longer, other = (
        planted_run("normal:0:30", accuracy=0.43),
        planted_run("he_normal", accuracy=0.95),
        replace(planted_run("he_normal", accuracy=0.97), epochs=2),
        planted_run("he_normal", "separable", accuracy=0.99),
    )
    alone = InitStudy(runs=(poor,), data="")
    best = [judged(space.store, lab, alone).best]
    for run in (poor, longer, other, good):
        setting = RunSetting(
            initializer=run.initializer,
            architecture=run.architecture,
            seed=run.seed,
            epochs=run.epochs,
        )
        step = run_step(lab, setting)
        space.store.put(step.key, run, step=step.name, inputs=step.inputs, options=step.options)
        best.append(judged(space.store, lab, alone).best)
    assert best == [{"regular": 0.43}] * 4 + [{"regular": 0.95}]
    assert list(failures(alone, judged(space.store, lab, alone)).values()) == [BEHIND]


def test_a_run_has_a_key_of_its_own_that_data_and_setting_make(space):
    lab = workflow.Lab(space)
    setting = RunSetting(initializer="he_normal", architecture="regular", seed=0)
    keys = {
        run_step(lab, each).key
        for each in (setting, replace(setting, seed=1), replace(setting, epochs=7))
    }
    assert len(keys) == 3
