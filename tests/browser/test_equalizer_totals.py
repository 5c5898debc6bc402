"""The sums of the bit equalizer against those of Python, in a real browser."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import catalog
from analysis.allocation import allocation_costs
from analysis.allocation.budgets import cost_rows
from analysis.cost_tables import NAMES
from analysis.models.cost import size_bits
from analysis.models.peak import find_peak
from analysis.prediction import predict
from analysis.quant.formats import bits_of
from analysis.records import (
    Allocation,
    Budget,
    BudgetUse,
    Candidate,
    LayerTable,
    ScoreTable,
    Study,
)
from cache.store import Store
from pages.equalizer import Start, payload
from pages.equalizer.component import script
from pages.equalizer.payload import codes
from tests.browser.equalizing import DEEP, STUDY
from tests.browser.server import Server
from tests.browser.watched import Tab

pytestmark = pytest.mark.browser

RESOURCES = {"size": 0.6, "size_mib": 0.05, "bops": 0.4, "avg_bits": 4.5, "act": 0.7, "ace": 0.5}

CALCULATE = """([script, data, cases]) => {
  const module = script.replace('export default function', 'function');
  const { readModel, totals, stepDown } = new Function(
    `${module}; return { readModel, totals, stepDown };`)();
  const model = readModel(data);
  return cases.map(({ weights, activations, moved }) => ({
    ...totals(model, weights, activations),
    steps: moved.map((layers) => stepDown(model, weights, activations, layers)),
  }));
}"""


def random_allocation(table: LayerTable, draw: random.Random) -> Allocation:
    activations = {group: draw.choice(NAMES) for group in table.groups}
    return Allocation(
        layers=table.names,
        candidates=tuple(
            Candidate(draw.choice(NAMES), activations[layer.activation_group])
            for layer in table.layers
        ),
    )


def alike(case: Allocation, draw: random.Random) -> list[int]:
    """Some layers whose weights have one format, as tied ones have."""
    first = draw.choice(case.candidates)
    places = [at for at, each in enumerate(case.candidates) if each.weight == first.weight]
    return draw.sample(places, min(len(places), draw.choice((1, 1, 2, 3))))


def check_step(
    table: LayerTable, scores: ScoreTable, case: Allocation, moved: list[int], step: dict | None
) -> None:
    """Compare a step down of some layers together with what Python says of both allocations."""
    if step is None:
        assert bits_of(case.candidates[moved[0]].weight) == 2
        return
    candidates = list(case.candidates)
    for at in moved:
        candidates[at] = Candidate(NAMES[step["code"]], candidates[at].activation)
    after = replace(case, candidates=tuple(candidates))
    sizes = [size_bits(table, [bits_of(c.weight) for c in a.candidates]) for a in (case, after)]
    assert step["savedBits"] == sizes[0] - sizes[1]
    if step["cost"] is not None:
        change = predict(scores, after).value - predict(scores, case).value
        assert step["cost"] == pytest.approx(change, rel=1e-9, abs=1e-9)


def random_scores(table: LayerTable, study: Study, store: Store) -> ScoreTable:
    """Scores of every fifth combination, some layers and signs of either kind, with pairs."""
    found = catalog.score_tables(store, study)[0]
    draw = np.random.default_rng(3)
    names = table.names[1:][:30][::-1]
    candidates = tuple(Candidate(w, a) for w in NAMES for a in NAMES)[::5]
    values = draw.lognormal(-6, 3, (len(names), len(candidates)))
    shape = (len(names), len(candidates)) * 2
    pairs = draw.normal(0, 1e-3, shape) * (draw.random(shape) < 0.3)
    pairs = pairs + pairs.transpose(2, 3, 0, 1)
    for place in range(len(names)):
        pairs[place, :, place] = 0
    return replace(
        found,
        layers=names,
        candidates=candidates,
        values=values - 0.001,
        interactions=pairs,
        stderr=None,
        per_sample=None,
        similarity=None,
    )


@pytest.mark.parametrize("name", [STUDY, "Long: cancelled", DEEP])
def test_the_browser_computes_what_python_does(
    name: str, server: Server, deep_store: Path, tab: Tab
) -> None:
    store = Store(deep_store if name == DEEP else server.store)
    study = catalog.studies(store)[name]
    table = catalog.layer_table(store, study)
    assert table is not None
    source = (
        (study, store)
        if name == DEEP
        else (catalog.studies(Store(server.store))[STUDY], Store(server.store))
    )
    scores = random_scores(table, *source)
    draw = random.Random(1)
    cases = [random_allocation(table, draw) for _ in range(60)]
    moved = [[alike(case, draw) for _ in range(6)] for case in cases]
    budgets = [Budget(resource=r, limit=limit) for r, limit in RESOURCES.items()]
    uses = [BudgetUse(resource=b.resource, limit=b.limit, used=0.0) for b in budgets]
    data = payload(table, Start(cases[0], (), (), 0), scores=scores, budgets=uses)
    sent = [codes(case) | {"moved": own} for case, own in zip(cases, moved, strict=True)]
    found = tab.page.evaluate(CALCULATE, [script(), data, sent])
    for case, own, sums in zip(cases, moved, found, strict=True):
        for layers, step in zip(own, sums["steps"], strict=True):
            check_step(table, scores, case, layers, step)
        costs, predicted = allocation_costs(table, case), predict(scores, case)
        assert sums["sizeMiB"] == costs.size_mib
        assert sums["sizeRatio"] == costs.size_ratio
        assert sums["compression"] == costs.compression
        assert sums["bops"] == costs.bops
        assert sums["bopsRatio"] == costs.bops_ratio
        assert sums["averageWeightBits"] == costs.avg_weight_bits
        assert sums["averageActivationBits"] == costs.avg_activation_bits
        assert sums["predicted"]["missing"] == len(predicted.missing)
        assert sums["predicted"]["value"] == pytest.approx(predicted.value, rel=1e-12, abs=1e-15)
        single = tuple((candidate,) for candidate in case.candidates)
        for budget, use in zip(budgets, sums["budgets"], strict=True):
            rows = cost_rows(table, single, budget)
            total = max(row.total((0,) * len(single)) for row in rows)
            assert use["total"] == total
            assert use["limit"] == rows[0].limit
            assert use["kept"] == (total <= rows[0].limit)
            if budget.resource == "act":
                peak = find_peak(table, [bits_of(each.activation) for each in case.candidates])
                assert peak is not None
                assert use["fixedShare"] == pytest.approx(peak.share, rel=1e-12)
    steps = [step for sums in found for step in sums["steps"] if step]
    assert any(step["cost"] is not None for step in steps)
