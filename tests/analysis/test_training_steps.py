"""A method that trains, from the study to the stored configuration and the file."""

from pathlib import Path

import pytest

from analysis import workflow
from analysis.allocation_file import uniform_allocation
from analysis.commands import DEMO
from analysis.events import Finished, Progress, Started, result
from analysis.options import build
from analysis.ptq import PTQ_METHODS
from analysis.quantized_files import evaluate_file, quantized_file
from analysis.records import Candidate, Study, Trained
from analysis.workflow.recipe import Recipe, training
from analysis.workspace import Workspace
from cache.store import Store
from tests.reference.work import finish

STEPS = 30


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(Store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def study(space: Workspace) -> Study:
    return result(workflow.opening(space, DEMO))


@pytest.fixture(scope="module")
def recipe(space: Workspace, study: Study) -> Recipe:
    table = result(workflow.layers(space, study).events(space.store))
    options = build(PTQ_METHODS["eptq"].options, {"steps": STEPS, "batch_size": 16})
    return Recipe(uniform_allocation(table, Candidate.parse("w3a8")), "eptq", options)


def test_a_trained_configuration_is_measured_and_the_training_is_not_repeated(space, study, recipe):
    first = result(workflow.quantize(space, study, recipe).events(space.store))
    assert first.method == "eptq"
    assert any("rounded to nearest" in note for note in first.notes)
    found = training(space, study, recipe).stored(space.store)
    assert isinstance(found, Trained)
    assert len(found.log) == STEPS
    again = Workspace(space.store)
    events = list(workflow.quantize(again, study, recipe).events(space.store, fresh=True))
    cached = {e.step: e.cached for e in events if isinstance(e, Started)}
    assert cached["train"]
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.result.measured.kl == first.measured.kl
    assert last.result.measured.top1 == first.measured.top1
    assert last.result.notes == first.notes


def test_an_interrupted_step_goes_on_where_its_parts_end(space, study, recipe, tmp_path: Path):
    whole = training(space, study, recipe).stored(space.store)
    other = Workspace(Store(tmp_path))
    result(workflow.opening(other, DEMO))
    events = training(other, study, recipe).events(other.store)
    for event in events:
        if isinstance(event, Progress) and event.total == STEPS and event.done > STEPS // 2:
            events.close()
            break
    assert training(other, study, recipe).stored(other.store) is None
    resumed = result(training(other, study, recipe).events(other.store))
    assert any(note.startswith("Goes on after") for note in resumed.notes)
    assert resumed.arrays.keys() == whole.arrays.keys()
    assert all((resumed.arrays[name] == whole.arrays[name]).all() for name in whole.arrays)


def test_the_file_of_a_trained_network_measures_what_was_measured(space, study, recipe, tmp_path):
    measured = result(workflow.quantize(space, study, recipe).events(space.store)).measured
    path = tmp_path / "trained.safetensors"
    path.write_bytes(finish(quantized_file(space, study, recipe)))
    found = result(evaluate_file(space, study, path).events(space.store))
    assert (found.top1, found.kl) == (measured.top1, measured.kl)
