"""What a training will take, by earlier ones and by the float network."""

from pathlib import Path

import pytest

from analysis import catalog, workflow
from analysis.allocation_file import uniform_allocation
from analysis.commands import DEMO
from analysis.events import result
from analysis.options import build
from analysis.ptq import PTQ_METHODS
from analysis.records import Candidate, Study
from analysis.workflow.recipe import Recipe, training
from analysis.workflow.training_cost import length_name, length_of, training_cost
from analysis.workspace import Workspace
from cache.store import Store


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace(Store(tmp_path))


@pytest.fixture
def study(space: Workspace) -> Study:
    return result(workflow.opening(space, DEMO))


def recipe(space: Workspace, study: Study, method: str, **options: object) -> Recipe:
    table = result(workflow.layers(space, study).events(space.store))
    allocation = uniform_allocation(table, Candidate.parse("w4a8"))
    return Recipe(allocation, method, build(PTQ_METHODS[method].options, options))


def test_before_anything_was_timed_only_the_length_is_known(space, study):
    cost = training_cost(space, study, recipe(space, study, "eptq", steps=70, batch_size=16))
    assert (cost.length, cost.batch_size, cost.each) == (70, 16, "")
    assert cost.seconds is None
    assert cost.trainings == 0


def test_without_a_training_a_step_is_five_float_passes_over_its_batch(space, study):
    result(workflow.float_outputs(space, study).events(space.store))
    measured = catalog.float_outputs(space.store, study).measured
    cost = training_cost(space, study, recipe(space, study, "eptq", steps=70, batch_size=16))
    assert cost.seconds == pytest.approx(5 * 70 * 16 * measured.seconds / measured.n)
    assert cost.trainings == 0


def test_a_stored_training_gives_the_time_per_sample_and_step(space, study):
    short = recipe(space, study, "eptq", steps=2, batch_size=4)
    result(workflow.quantize(space, study, short, name="short").events(space.store))
    seconds = training(space, study, short).stored(space.store).seconds
    cost = training_cost(space, study, recipe(space, study, "eptq", steps=30, batch_size=8))
    assert cost.seconds == pytest.approx(seconds * 15 * 2)
    assert cost.trainings == 1
    # The same training under another name is one training.
    result(workflow.quantize(space, study, short, name="again").events(space.store))
    assert training_cost(space, study, short).trainings == 1
    other = training_cost(space, study, recipe(space, study, "adaround", iterations=9))
    assert other.trainings == 0


def test_methods_that_go_unit_by_unit_count_iterations_of_each(space, study):
    layers = training_cost(space, study, recipe(space, study, "adaround", iterations=9))
    blocks = training_cost(space, study, recipe(space, study, "brecq", iterations=9))
    assert (layers.length, layers.each) == (9, "layer")
    assert (blocks.length, blocks.each) == (9, "block")
    single = training_cost(space, study, recipe(space, study, "brecq", units="layer"))
    assert single.each == "layer"


@pytest.mark.parametrize("method", PTQ_METHODS.names())
def test_a_method_that_trains_says_how_long_and_no_other_does(method):
    trains = "training" in PTQ_METHODS[method].needs
    options = PTQ_METHODS[method].options()
    assert bool(length_name(options)) == trains
    assert (length_of(options) > 0) == trains
