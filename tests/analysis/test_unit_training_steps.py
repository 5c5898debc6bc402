"""AdaRound from the study to the stored configuration: what is kept on the way, and what after."""

from pathlib import Path

from analysis import workflow
from analysis.allocation_file import uniform_allocation
from analysis.commands import DEMO
from analysis.events import Progress, Started, result
from analysis.options import build
from analysis.ptq import PTQ_METHODS
from analysis.ptq.unit_log import COLUMNS
from analysis.records import Candidate
from analysis.steps import StoredParts
from analysis.workflow.recipe import Recipe, training
from analysis.workspace import Workspace
from cache.store import Store

ITERATIONS = 2


def opened(folder: Path):
    space = Workspace(Store(folder))
    study = result(workflow.opening(space, DEMO))
    table = result(workflow.layers(space, study).events(space.store))
    options = build(PTQ_METHODS["adaround"].options, {"iterations": ITERATIONS, "batch_size": 16})
    return (
        space,
        study,
        Recipe(uniform_allocation(table, Candidate.parse("w3a8")), "adaround", options),
    )


def test_finished_units_are_kept_and_an_interrupted_step_ends_with_the_same(tmp_path: Path):
    space, study, recipe = opened(tmp_path / "one")
    first = result(workflow.quantize(space, study, recipe).events(space.store))
    whole = training(space, study, recipe).stored(space.store)
    assert whole.logged == COLUMNS
    assert whole.log.shape[1] == len(COLUMNS)
    events = list(workflow.quantize(space, study, recipe).events(space.store, fresh=True))
    assert {e.step: e.cached for e in events if isinstance(e, Started)}["train"]
    assert events[-1].result.measured.kl == first.measured.kl

    other, study, recipe = opened(tmp_path / "other")
    step = training(other, study, recipe)
    parts = StoredParts(other.store, step.key)
    events = step.events(other.store)
    for event in events:
        if isinstance(event, Progress) and parts.load("unit.2") is not None:
            events.close()
            break
    assert len(parts.load("units")["log"]) == 3
    resumed = result(step.events(other.store))
    assert any(note.startswith("Goes on after 3 of ") for note in resumed.notes)
    assert resumed.arrays.keys() == whole.arrays.keys()
    assert all((resumed.arrays[name] == whole.arrays[name]).all() for name in whole.arrays)
    assert (resumed.log == whole.log).all()
