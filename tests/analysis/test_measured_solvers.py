import pytest

from analysis import catalog, workflow
from analysis.allocation import prefix
from analysis.allocation.evolution import EvolutionOptions
from analysis.allocation.prefix import PrefixOptions
from analysis.events import result
from analysis.records import Candidate, StudySpec
from analysis.workflow import measuring
from analysis.workspace import Workspace
from cache.store import Store
from tests.analysis.cli_studies import MODEL, images
from tests.reference.work import finish

CANDIDATES = tuple(Candidate.parse(f"w{bits}a8") for bits in (2, 3, 4, 5, 6, 8))


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    spec = StudySpec(
        model=MODEL,
        calibration=f"npz:{images(folder / 'train.npz', 12, 0)}",
        evaluation=f"npz:{images(folder / 'test.npz', 60, 1)}",
        name="small",
    )
    workspace = Workspace(Store(folder / "cache"), allow_factory=True)
    return workspace, finish(workflow.open_study(workspace, spec))


def solved(opened, solver, options):
    workspace, study = opened
    scores = workflow.score(workspace, study, "weight_mse", candidates=CANDIDATES)
    step = workflow.allocate(
        workspace, study, scores, (), solver, options=options, pin_first_last=False
    )
    return result(step.events(workspace.store))


def test_what_a_solver_measures_is_what_the_allocation_measures(opened):
    workspace, study = opened
    options = PrefixOptions(allowed_drop=100.0, search="sequential")
    found = solved(opened, "prefix", options)
    assert {c.text for c in found.allocation.candidates} == {"w2a8"}
    measured = workflow.quantize(workspace, study, workflow.Recipe(found.allocation))
    kept = measured.stored(workspace.store)
    assert kept is not None
    assert prefix.drop(kept.measured) == -kept.measured.versus_float.difference
    assert found.notes[0].startswith("15 of 15 steps down")


def test_what_a_search_measures_enters_no_list(opened):
    workspace, study = opened
    before = set(catalog.configurations(workspace.store, study))
    options = EvolutionOptions(evaluations=6, population=3)
    found = solved(opened, "evolution", options)
    assert "6 allocations were measured" in found.notes[0]
    assert set(catalog.configurations(workspace.store, study)) == before


def test_a_longer_search_measures_only_what_is_new(opened, monkeypatch):
    passes, plain = [], measuring.logits
    monkeypatch.setattr(measuring, "logits", lambda *a, **k: passes.append(1) or plain(*a, **k))
    for evaluations, expected in ((5, 5), (8, 8), (5, 8)):
        options = EvolutionOptions(evaluations=evaluations, population=3, seed=1)
        solved(opened, "evolution", options)
        assert len(passes) <= expected
    assert len(passes) > 5
