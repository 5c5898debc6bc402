"""Scores of single weights, from the study to the quantized network and to other scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import workflow
from analysis.allocation_file import uniform_allocation
from analysis.commands import DEMO
from analysis.curvature.elements import ElementScores
from analysis.errors import QuantizationError
from analysis.events import Finished, Note, Progress, Started, result
from analysis.records import Budget, Candidate, QuantSettings, Study
from analysis.workflow.curve_plan import CurvePlan
from analysis.workflow.elements import SAMPLES, scored_elements
from analysis.workflow.recalibrating import recalibrated
from analysis.workflow.recipe import Recipe
from analysis.workspace import Workspace
from cache.store import Store
from tests.reference.work import finish

HMSE = QuantSettings(weight_range="hmse")
SPEC = replace(DEMO, samples=96, evaluation_samples=64)
CANDIDATES = (Candidate.parse("w2a8"), Candidate.parse("w4a8"))


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(Store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def study(space: Workspace) -> Study:
    return result(workflow.opening(space, SPEC))


def recipe_of(
    space: Workspace, study: Study, settings: QuantSettings, *names: str, candidate: str = "w3a8"
) -> Recipe:
    table = result(workflow.layers(space, study).events(space.store))
    allocation = uniform_allocation(table, Candidate.parse(candidate))
    return Recipe(allocation, settings=settings, recalibrations=names)


def steps(space: Workspace, study: Study, weight_range: str) -> tuple[dict[str, bool], float]:
    """Return which steps ran, whether each was read from the store, and the measured KL."""
    recipe = recipe_of(space, study, QuantSettings(weight_range=weight_range))
    events = list(workflow.quantize(space, study, recipe).events(space.store))
    ran = {e.step: e.cached for e in events if isinstance(e, Started)}
    return ran, events[-1].result.measured.kl


def test_scores_are_asked_for_when_ranges_need_them_and_computed_once(space, study):
    ran, plain = steps(space, study, "mse")
    assert "elements" not in ran
    assert scored_elements(space, study).stored(space.store) is None
    ran, weighted = steps(space, study, "hmse")
    assert ran["elements"] is False
    assert weighted < plain
    found = scored_elements(space, study).stored(space.store)
    assert isinstance(found, ElementScores)
    assert (found.n, found.probes) == (min(study.calibration.n, SAMPLES), 0)
    network = space.live(study).network
    assert {name: scores.shape for name, scores in found.scores.items()} == {
        layer.name: layer.weight_shape for layer in network.table.layers
    }
    scored = workflow.score(space, study, "weight_mse", candidates=CANDIDATES, settings=HMSE)
    events = list(scored.events(space.store))
    ran = {e.step: e.cached for e in events if isinstance(e, Started)}
    assert ran == {"score": False, "statistics": True, "elements": True}


def test_scores_are_those_of_the_network_as_it_was_recalibrated(space, study):
    # Equalization multiplies weights by factors that cancel in the logits, so that derivatives are
    # divided by them: their squared products with the weights stay.
    plain, equalized = (scored_elements(space, study, names) for names in ((), ("equalization",)))
    assert plain.key != equalized.key
    products = []
    for step, names in ((plain, ()), (equalized, ("equalization",))):
        scores = result(step.events(space.store)).scores
        network = finish(recalibrated(space, study, names))
        weights = {x.name: network.weight(x).double().numpy() for x in network.table.layers}
        products.append({name: scores[name] * weights[name] ** 2 for name in weights})
        last = weights
    before = {x.name: space.live(study).network.weight(x) for x in network.table.layers}
    assert any(not np.allclose(last[name], before[name].numpy()) for name in last)
    for name, product in products[0].items():
        assert np.allclose(product, products[1][name], rtol=1e-3, atol=1e-5 * product.max())


def test_ranges_after_a_recalibration_take_its_own_scores(space, study):
    recipe = recipe_of(space, study, HMSE, "equalization")
    events = list(workflow.quantize(space, study, recipe).events(space.store))
    found = scored_elements(space, study, ("equalization",))
    assert found.stored(space.store) is not None
    assert "elements" in {e.step for e in events if isinstance(e, Started)}
    plain = recipe_of(space, study, QuantSettings(), "equalization")
    least = result(workflow.quantize(space, study, plain).events(space.store))
    assert events[-1].result.measured.kl < least.measured.kl


def test_a_key_names_the_scores_that_ranges_come_from_and_no_others(space, study):
    plain, weighted = (recipe_of(space, study, each).key for each in (QuantSettings(), HMSE))
    assert "elements" not in plain
    assert SAMPLES in weighted["elements"]
    step = scored_elements(space, study)
    assert {"samples", "probes", "seed"} <= set(step.options)


def test_an_interrupted_scoring_goes_on_and_ends_with_the_same_scores(space, study, tmp_path: Path):
    whole = result(scored_elements(space, study).events(space.store))
    other = Workspace(Store(tmp_path))
    result(workflow.opening(other, SPEC))
    step = scored_elements(other, study)
    events = step.events(other.store)
    done = [next(e.done for e in events if isinstance(e, Progress)) for _ in range(3)]
    events.close()
    assert 0 < done[-1] < whole.n
    rest = list(step.events(other.store))
    assert next(e.done for e in rest if isinstance(e, Progress)) == done[-1]
    assert any(f"{done[-1]} of {whole.n} samples are kept" in e.text for e in rest
               if isinstance(e, Note))  # fmt: skip
    assert isinstance(rest[-1], Finished)
    for name, scores in rest[-1].result.scores.items():
        assert np.array_equal(scores, whole.scores[name])


def test_ranges_of_activations_by_scores_are_refused_before_anything_starts(space, study):
    settings = QuantSettings(activation_range="hmse")
    with pytest.raises(QuantizationError, match="values alone"):
        recipe_of(space, study, settings)
    with pytest.raises(QuantizationError, match="values alone"):
        workflow.score(space, study, "weight_mse", settings=settings)


def test_a_network_that_keeps_float_weights_needs_no_scores(space, study, tmp_path: Path):
    other = Workspace(Store(tmp_path))
    result(workflow.opening(other, SPEC))
    only = (Candidate("float", "int8"),)
    scored = workflow.score(other, study, "layer_mse", candidates=only, settings=HMSE)
    ran = {e.step for e in scored.events(other.store) if isinstance(e, Started)}
    assert "statistics" in ran
    assert "elements" not in ran


def test_what_is_solved_and_measured_on_such_scores_uses_them_throughout(space, study):
    scored = workflow.score(space, study, "weight_mse", candidates=CANDIDATES, settings=HMSE)
    plain = workflow.score(space, study, "weight_mse", candidates=CANDIDATES)
    assert scored.key != plain.key
    table, least = (result(step.events(space.store)) for step in (scored, plain))
    # Ranges that weigh the elements give up some of the plain squared error.
    assert table.values.sum() > least.values.sum()
    plan = CurvePlan(
        metrics=("weight_mse",), points=2, random=0, candidates=CANDIDATES, settings=HMSE
    )
    found = result(workflow.curve(space, study, plan).events(space.store))
    assert not found.absent
    assert len(found.points) >= 4
    uniform = recipe_of(space, study, HMSE, candidate="w2a8")
    made = workflow.quantize(space, study, uniform).stored(space.store)
    assert made is not None
    assert made.measured.kl in {point.measured.kl for point in found.points}


def test_metrics_agree_and_compete_under_such_ranges(space, study):
    agreed, plain = (
        workflow.agree(space, study, ["weight_mse"], candidates=CANDIDATES, settings=settings)
        for settings in (HMSE, QuantSettings())
    )
    assert agreed.key != plain.key
    found = result(agreed.events(space.store))
    assert found.metrics == ("weight_mse",)
    budget = Budget(resource="size", limit=0.4)
    contest = workflow.contest(
        space, study, ["weight_mse"], budget, candidates=CANDIDATES, settings=HMSE
    )
    won = result(contest.events(space.store))
    assert [c.settings.weight_range for c in won.configurations] == ["hmse"]
