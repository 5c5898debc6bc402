"""The bit equalizer in a real browser: its sums, every way to edit, and that no edit is lost."""

import random
import statistics
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, expect
from torch import nn

from analysis import catalog, workflow
from analysis.allocation import allocation_costs
from analysis.allocation.budgets import cost_rows
from analysis.allocation_file import allocation_json, uniform_allocation
from analysis.commands import DEMO
from analysis.events import result
from analysis.prediction import predict
from analysis.records import (
    Allocation,
    Budget,
    BudgetUse,
    Candidate,
    LayerTable,
    ScoreTable,
    Study,
)
from analysis.workspace import Workspace
from cache.store import Store
from pages.equalizer import Start, payload
from pages.equalizer.component import script
from pages.equalizer.payload import NAMES, codes
from pages.ui.session import Key
from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

pytestmark = pytest.mark.browser

STUDY = "Demo: digits-resnet"
DEEP = "Deep: 200 linear layers"
RESOURCES = {"size": 0.6, "size_mib": 0.05, "bops": 0.4, "avg_bits": 4.5, "act": 0.7, "ace": 0.5}


def deep() -> nn.Module:
    """A network of 200 linear layers of different sizes."""
    widths = [256, *(16 + 8 * (at % 5) for at in range(199)), 10]
    layers: list[nn.Module] = [nn.Flatten()]
    for wide, narrow in pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.fixture(scope="module")
def deep_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the deep network opened and scored."""
    store = Store(tmp_path_factory.mktemp("deep") / "store")
    space = Workspace(store)
    spec = replace(DEMO, name=DEEP, model="factory:tests.browser.test_equalizer:deep")
    study = result(workflow.opening(space, spec, trusted=True))
    result(workflow.score(space, study, "weight_mse").events(store))
    return store.root


@pytest.fixture(scope="module")
def deep_server(deep_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(deep_store, tmp_path_factory.mktemp("log") / "log.txt")
    yield running
    running.kill()


def columns(tab: Tab) -> Locator:
    return tab.main.locator(".columns .column")


def bits(tab: Tab) -> list[int]:
    read = "all => all.map(each => Number(each.getAttribute('aria-valuenow')))"
    return list(columns(tab).evaluate_all(read))


def at(tab: Tab, layer: int) -> Locator:
    """The bar of a layer: the column's own box also holds its long label."""
    return columns(tab).nth(layer).locator(".fill")


def choose(tab: Tab, layer: int, **click: list[str]) -> None:
    at(tab, layer).click(**click)


def press(tab: Tab, *keys: str) -> None:
    for key in keys:
        tab.page.keyboard.press(key)


def drag(tab: Tab, layer: int, goal: int) -> None:
    """Drag a column's top to the height of an integer format."""
    box = at(tab, layer).bounding_box()
    assert box is not None
    bit = box["height"] / bits(tab)[layer]
    x, top = box["x"] + box["width"] / 2, box["y"] + 2
    tab.page.mouse.move(x, top)
    tab.page.mouse.down()
    tab.page.mouse.move(x, top + 20)
    tab.page.mouse.move(x, box["y"] + box["height"] - goal * bit, steps=6)
    tab.page.mouse.up()


def readout(tab: Tab, name: str) -> str:
    return tab.main.locator(".card").filter(has_text=name).locator(".value").inner_text()


def stored_draft(root: Path, name: str = STUDY) -> Allocation | None:
    store = Store(root)
    study = catalog.studies(store)[name]
    return store.get_part(catalog.study_id(study), Key.DRAFT, Allocation)


def echoed(tab: Tab, server: Server, name: str = STUDY) -> None:
    """Wait until the server holds what the columns show."""
    for _ in range(100):
        draft = stored_draft(server.store, name)
        shown = bits(tab)
        if draft and [len_bits(c.weight) for c in draft.candidates] == shown:
            return
        tab.page.wait_for_timeout(50)
    raise AssertionError(f"the server holds {draft}, the columns show {shown}")


def len_bits(name: str) -> int:
    return 32 if name == "float" else int(name.removeprefix("int"))


@pytest.fixture
def edited(server: Server, tab: Tab) -> Tab:
    """The page of the demo, every layer at w8a8."""
    tab.open(server.url("assignment", study=STUDY), "Bit assignment")
    expect(columns(tab).first).to_be_visible(timeout=WAIT_MS)
    release = tab.main.get_by_role("button", name="Release")
    for key in ("Home", "End"):  # what an earlier test left there is not what is tested here
        choose(tab, 0)
        press(tab, key)
        release.click()
    tab.main.get_by_role("button", name="Reset to w8a8").click()
    for key in ("Home", "End"):
        choose(tab, 0)
        press(tab, key, "p")
    assert set(bits(tab)) == {8}
    return tab


def test_keys_change_bits_move_between_layers_and_select(edited: Tab, server: Server) -> None:
    choose(edited, 2)
    press(edited, "ArrowDown", "ArrowDown", "ArrowRight", "4")
    assert bits(edited)[:5] == [8, 8, 6, 4, 8]
    press(edited, "Shift+ArrowRight", "ArrowUp")
    assert bits(edited)[:6] == [8, 8, 6, 5, 16, 8]
    press(edited, "Escape", "End", "ArrowLeft", "1", "6", "ArrowRight", "ArrowDown")
    assert bits(edited)[-2:] == [16, 8]
    press(edited, "Home", "ArrowDown")
    assert bits(edited)[0] == 8
    press(edited, "Control+a", "3")
    assert bits(edited) == [8, *[3] * (len(bits(edited)) - 2), 8]
    press(edited, "Control+z", "Control+z")
    assert bits(edited)[2:6] == [6, 5, 16, 8]
    press(edited, "Control+Shift+Z", "Control+y")
    assert set(bits(edited)[1:-1]) == {3}
    echoed(edited, server)
    assert not edited.errors


def test_dragging_moves_a_column_or_the_whole_selection_as_one_step(
    edited: Tab, server: Server
) -> None:
    drag(edited, 3, 5)
    assert bits(edited)[:5] == [8, 8, 8, 5, 8]
    choose(edited, 4)
    choose(edited, 6, modifiers=["Shift"])
    choose(edited, 9, modifiers=["ControlOrMeta"])
    drag(edited, 5, 4)
    assert bits(edited)[3:11] == [5, 4, 4, 4, 8, 8, 4, 8]
    edited.main.get_by_role("button", name="Undo").click()
    assert bits(edited)[3:11] == [5, 8, 8, 8, 8, 8, 8, 8]
    edited.main.get_by_role("button", name="Redo").click()
    assert bits(edited)[3:11] == [5, 4, 4, 4, 8, 8, 4, 8]
    echoed(edited, server)


def test_a_pinned_column_is_held_until_it_is_released(edited: Tab, server: Server) -> None:
    drag(edited, 0, 3)
    assert bits(edited)[0] == 8
    choose(edited, 0)
    edited.main.get_by_role("button", name="Release").click()
    choose(edited, 0)
    press(edited, "3")
    assert bits(edited)[0] == 3
    choose(edited, 5)
    press(edited, "5", "p", "ArrowDown")
    assert bits(edited)[5] == 5
    edited.main.get_by_role("button", name="−1 all").click()
    assert bits(edited)[5] == 5
    assert bits(edited)[4] == 7
    echoed(edited, server)


def test_activations_of_a_group_move_together_and_are_pointed_out(
    edited: Tab, server: Server
) -> None:
    study = catalog.studies(Store(server.store))[STUDY]
    table = catalog.layer_table(Store(server.store), study)
    assert table is not None
    group = next(names for names in table.groups.values() if len(names) > 1)
    places = [table.names.index(name) for name in group]
    edited.main.get_by_role("button", name="Activations", exact=True).click()
    choose(edited, places[0])
    press(edited, "4")
    found = bits(edited)
    assert [at for at, value in enumerate(found) if value == 4] == places
    expect(edited.main.locator(".column.mates")).to_have_count(len(places))
    edited.main.get_by_role("button", name="Weights", exact=True).click()
    assert set(bits(edited)) == {8}


def test_a_solution_fills_the_columns_and_one_undo_takes_it_back(edited: Tab) -> None:
    choose(edited, 3)
    press(edited, "2")
    before = bits(edited)
    edited.button("Solve for a budget").click()
    edited.page.get_by_role("button", name="Solve", exact=True).click()
    edited.says("Budget: size ≤ 0.6")
    expect(columns(edited).nth(9)).not_to_have_attribute("aria-valuenow", "8", timeout=WAIT_MS)
    assert bits(edited) != before
    assert readout(edited, "Budget").endswith("left")
    press(edited, "Escape")
    edited.main.get_by_role("button", name="Undo").click()
    assert bits(edited) == before


def test_a_pasted_allocation_reaches_the_columns_and_a_foreign_one_is_refused(
    edited: Tab, server: Server
) -> None:
    study = catalog.studies(Store(server.store))[STUDY]
    table = catalog.layer_table(Store(server.store), study)
    assert table is not None
    wanted = uniform_allocation(table, Candidate.parse("w3a8"))
    edited.main.get_by_text("Paste or copy this allocation as JSON").click()
    field = edited.main.get_by_role("textbox", name="Paste")
    field.fill(allocation_json(wanted, study="x"))
    edited.button("Use this allocation").click()
    expect(columns(edited).nth(3)).to_have_attribute("aria-valuenow", "3", timeout=WAIT_MS)
    assert bits(edited) == [8, *[3] * (len(table.layers) - 2), 8]
    field.fill('{"allocation": {"no.such.layer": "w4a8"}}')
    edited.button("Use this allocation").click()
    edited.says("no.such.layer")


def test_float_is_drawn_by_its_name_and_is_not_lost_by_steps(edited: Tab, server: Server) -> None:
    choose(edited, 4)
    choose(edited, 5, modifiers=["Shift"])
    edited.main.get_by_role("combobox", name="Set the format").select_option("float")
    assert bits(edited)[3:7] == [8, 32, 32, 8]
    assert columns(edited).nth(4).locator(".number").text_content() == "float"
    press(edited, "Escape")
    choose(edited, 9)
    edited.main.get_by_role("button", name="−1 all").click()
    assert bits(edited)[3:7] == [7, 32, 32, 7]
    echoed(edited, server)


def test_no_keystroke_is_dropped_or_taken_back_while_the_server_echoes(
    edited: Tab, server: Server
) -> None:
    choose(edited, 7)
    columns(edited).nth(7).evaluate(
        """column => { window.seen = []; new MutationObserver(() => {
             const now = Number(column.getAttribute('aria-valuenow'));
             if (now !== window.seen.at(-1)) window.seen.push(now);
           }).observe(column, { attributes: true, attributeFilter: ['aria-valuenow'] }); }"""
    )
    typed = [7, 6, 5, 4, 5, 6, 7, 6] * 4
    for number, value in enumerate(typed):
        press(edited, str(value))
        edited.page.wait_for_timeout((20, 60, 170, 340)[number % 4])
    edited.page.wait_for_timeout(1500)
    kept = [value for value, last in zip(typed, [8, *typed], strict=False) if value != last]
    assert edited.page.evaluate("window.seen") == kept
    echoed(edited, server)
    edited.page.reload()
    edited.at("Bit assignment")
    expect(columns(edited).nth(7)).to_have_attribute("aria-valuenow", str(typed[-1]))


def test_an_edit_just_before_a_click_elsewhere_is_part_of_what_the_click_does(
    edited: Tab, server: Server
) -> None:
    choose(edited, 3)
    press(edited, "5")
    edited.menu("Quantization").click()
    edited.at("Quantization")
    edited.menu("Bit assignment").click()
    edited.at("Bit assignment")
    expect(columns(edited).nth(3)).to_have_attribute("aria-valuenow", "5", timeout=WAIT_MS)


def test_the_selected_layer_is_that_of_the_app_both_ways(edited: Tab) -> None:
    choose(edited, 4)
    name = columns(edited).nth(4).get_attribute("aria-label")
    layer = edited.sidebar.get_by_role("combobox", name="Layer")
    expect(layer).to_have_value(str(name), timeout=WAIT_MS)
    layer.click()
    edited.page.get_by_role("option", name="fc", exact=True).click()
    focused = edited.main.locator(".column.focused")
    expect(focused).to_have_attribute("aria-label", "fc", timeout=WAIT_MS)


def test_200_layers_are_read_out_in_50_ms_and_echoed(deep_server: Server, tab: Tab) -> None:
    tab.open(deep_server.url("assignment", study=DEEP), "Bit assignment")
    expect(columns(tab)).to_have_count(200, timeout=WAIT_MS)
    choose(tab, 3)
    times, echoes = [], []
    for number in range(12):
        press(tab, str(2 + number % 6))
        equalizer = tab.main.locator(".equalizer")
        times.append(float(equalizer.get_attribute("data-readout-ms") or "inf"))
        echoes.append(equalizer.evaluate(ANSWER))
    echoed(tab, deep_server, DEEP)
    tab.settled()
    print(
        f"200 layers: readout {statistics.median(times):.1f} ms (at most {max(times):.1f}), "
        f"server echo {statistics.median(echoes):.0f} ms (at most {max(echoes):.0f}), "
        f"largest frame {max(tab.frames) / 1000:.0f} kB"
    )
    assert max(tab.frames) < 1_000_000
    assert not tab.errors


# Milliseconds from the last edit to the server's answer to it.
ANSWER = """equalizer => new Promise(resolve => {
  const { dataset } = equalizer;
  const wait = () => dataset.answered === dataset.edits
    ? resolve(performance.now() - Number(dataset.editedAt))
    : requestAnimationFrame(wait);
  wait();
})"""

CALCULATE = """([script, data, cases]) => {
  const module = script.replace('export default function', 'function');
  const { readModel, totals } = new Function(`${module}; return { readModel, totals };`)();
  const model = readModel(data);
  return cases.map(({ weights, activations }) => totals(model, weights, activations));
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
    budgets = [Budget(resource=r, limit=limit) for r, limit in RESOURCES.items()]
    uses = [BudgetUse(resource=b.resource, limit=b.limit, used=0.0) for b in budgets]
    data = payload(table, Start(cases[0], (), 0), scores=scores, budgets=uses)
    found = tab.page.evaluate(CALCULATE, [script(), data, [codes(case) for case in cases]])
    for case, sums in zip(cases, found, strict=True):
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
        own = tuple((candidate,) for candidate in case.candidates)
        for budget, use in zip(budgets, sums["budgets"], strict=True):
            rows = cost_rows(table, own, budget)
            total = max(row.total((0,) * len(own)) for row in rows)
            assert use["total"] == total
            assert use["limit"] == rows[0].limit
            assert use["kept"] == (total <= rows[0].limit)
