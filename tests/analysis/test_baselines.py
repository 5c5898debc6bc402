import pytest

from analysis import workflow
from analysis.baselines import UNIFORM, job_key, measure_all, uniform_steps, unmeasured
from analysis.commands import DEMO
from analysis.events import Finished, Progress, Work, result
from analysis.records import LayerTable, Study
from analysis.workspace import Workspace
from cache.store import Store


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Study, LayerTable]:
    workspace = Workspace(Store(tmp_path_factory.mktemp("store")))
    study = finish(workflow.open_study(workspace, DEMO))
    return workspace, study, result(workflow.layers(workspace, study).events(workspace.store))


def finish(work: Work[Study]) -> Study:
    while True:
        try:
            next(work)
        except StopIteration as done:
            study: Study = done.value
            return study


def test_every_layer_but_the_pinned_ones_gets_the_uniform_candidate(opened) -> None:
    workspace, study, table = opened
    pinned = {layer.name for layer in table.layers if layer.pinned}
    for candidate, step in zip(UNIFORM, uniform_steps(workspace, study, table), strict=True):
        chosen = step.options["allocation"]
        assert {chosen[name] for name in pinned} == {"w8a8"}
        assert {chosen[name] for name in set(chosen) - pinned} == {candidate.text}
        assert f"--allocation uniform:{candidate.text}" in step.command


def test_progress_never_goes_back_and_ends_at_the_total(opened) -> None:
    workspace, study, table = opened
    steps = uniform_steps(workspace, study, table, UNIFORM[:2])
    assert unmeasured(workspace.store, steps) == UNIFORM[:2]
    events = list(measure_all(workspace.store, steps))
    done = [event.done for event in events if isinstance(event, Progress)]
    assert done == sorted(done)
    assert done[-1] == events[-2].total
    assert isinstance(events[-1], Finished)
    assert [c.allocation for c in events[-1].result] == [
        step.stored(workspace.store).allocation for step in steps
    ]
    assert unmeasured(workspace.store, steps) == ()


def test_what_was_measured_before_a_cancel_is_kept(opened) -> None:
    workspace, study, table = opened
    steps = uniform_steps(workspace, study, table, UNIFORM[2:4])
    events = measure_all(workspace.store, steps)
    for event in events:
        if isinstance(event, Progress) and event.message.endswith(": measured"):
            break
    events.close()
    assert unmeasured(workspace.store, steps) == UNIFORM[3:4]


def test_the_job_is_another_one_for_other_candidates(opened) -> None:
    workspace, study, table = opened
    all_of_them = uniform_steps(workspace, study, table)
    assert job_key(study, all_of_them) == job_key(study, uniform_steps(*opened))
    assert job_key(study, all_of_them) != job_key(study, all_of_them[:2])
