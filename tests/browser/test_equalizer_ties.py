"""Ties and samples in the bit equalizer, in a real browser: what a person sees and what is kept."""

from dataclasses import replace

import pytest
from playwright.sync_api import expect

from analysis import catalog
from analysis.allocation_file import allocation_json, uniform_allocation
from analysis.records import Candidate
from cache.store import Store
from tests.browser.equalizing import STUDY, bits, choose, columns, drag, echoed, press, table_of
from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

pytestmark = pytest.mark.browser


def letters(tab: Tab) -> str:
    """The letters of the ties under the columns, a dot for none."""
    read = """all => all.map(each => {
      const letter = each.querySelector('.letter');
      return letter.classList.contains('out') ? '.' : letter.textContent;
    }).join('')"""
    return str(columns(tab).evaluate_all(read))


def detail(tab: Tab) -> str:
    return tab.main.locator(".detail").inner_text()


def test_tied_layers_take_the_format_of_the_first_and_change_together(
    edited: Tab, server: Server
) -> None:
    choose(edited, 6)
    press(edited, "4")
    choose(edited, 3, modifiers=["ControlOrMeta"])
    press(edited, "t")
    assert letters(edited)[:8] == "...A..A."
    assert bits(edited)[3:7] == [4, 8, 8, 4]
    choose(edited, 3)
    press(edited, "ArrowDown")
    assert bits(edited)[3:7] == [3, 8, 8, 3]
    drag(edited, 6, 6)
    assert bits(edited)[3:7] == [6, 8, 8, 6]
    edited.main.get_by_role("button", name="−1 all").click()
    assert bits(edited)[2:8] == [7, 5, 7, 7, 5, 7]
    assert "tie A" in detail(edited)
    assert "2 tied" in edited.main.locator(".legend").inner_text()
    echoed(edited, server)
    press(edited, "Control+z", "Control+z", "Control+z", "Control+z")
    assert letters(edited).strip(".") == ""
    assert bits(edited)[3:7] == [8, 8, 8, 4]
    press(edited, "Control+y")
    assert letters(edited)[:8] == "...A..A."
    edited.main.get_by_role("button", name="Untie A").click()
    assert letters(edited).strip(".") == ""
    assert bits(edited)[3:7] == [4, 8, 8, 4]
    assert not edited.errors


def test_ties_that_share_a_layer_become_one_and_a_pin_holds_all_of_it(edited: Tab) -> None:
    choose(edited, 2)
    choose(edited, 3, modifiers=["Shift"])
    press(edited, "t")
    choose(edited, 6)
    choose(edited, 7, modifiers=["Shift"])
    press(edited, "t")
    assert letters(edited)[:9] == "..AA..BB."
    choose(edited, 3)
    choose(edited, 6, modifiers=["ControlOrMeta"])
    edited.main.get_by_role("button", name="Tie 2 layers").click()
    assert letters(edited)[:9] == "..AA..AA."
    choose(edited, 7)
    press(edited, "5", "p")
    choose(edited, 2)
    press(edited, "3")
    assert bits(edited)[2:8] == [5, 5, 8, 8, 5, 5]
    assert "which is pinned" in detail(edited)


def test_layers_pinned_to_different_formats_are_not_tied_and_it_is_said_why(edited: Tab) -> None:
    choose(edited, 3)
    press(edited, "5", "p")
    choose(edited, 0, modifiers=["ControlOrMeta"])
    press(edited, "t")
    assert letters(edited).strip(".") == ""
    assert "pinned to different weights" in detail(edited)
    choose(edited, 4)
    press(edited, "t")
    assert "Select several layers first" in detail(edited)


def test_ties_survive_a_change_of_pages_and_bind_the_solver_and_what_is_pasted(
    edited: Tab, server: Server
) -> None:
    choose(edited, 4)
    choose(edited, 9, modifiers=["ControlOrMeta"])
    press(edited, "t")
    edited.menu("Quantization").click()
    edited.at("Quantization")
    edited.menu("Bit assignment").click()
    edited.at("Bit assignment")
    expect(columns(edited).nth(4).locator(".letter")).to_have_text("A", timeout=WAIT_MS)
    edited.button("Solve for a budget").click()
    edited.page.get_by_text("2 tied layers take one format").wait_for(timeout=WAIT_MS)
    edited.page.get_by_role("button", name="Solve", exact=True).click()
    edited.says("Budget: size ≤ 0.6")
    expect(columns(edited).nth(4)).not_to_have_attribute("aria-valuenow", "8", timeout=WAIT_MS)
    assert bits(edited)[4] == bits(edited)[9]
    press(edited, "Escape")
    table = table_of(server.store)
    three, six = Candidate.parse("w3a8"), Candidate.parse("w6a8")
    wanted = replace(
        uniform_allocation(table, three),
        candidates=tuple(six if place == 9 else three for place in range(len(table.layers))),
    )
    edited.main.get_by_text("Paste or copy this allocation as JSON").click()
    pasted = allocation_json(wanted, study="x")
    edited.main.get_by_role("textbox", name="Paste").fill(pasted)
    edited.button("Use this allocation").click()
    edited.page.get_by_text("Tied layers take one format").wait_for(timeout=WAIT_MS)
    expect(columns(edited).nth(9)).to_have_attribute("aria-valuenow", "3", timeout=WAIT_MS)


def test_the_hardest_samples_of_a_layer_are_named_and_lead_to_their_page(
    edited: Tab, server: Server
) -> None:
    store = Store(server.store)
    study = catalog.studies(store)[STUDY]
    scores = catalog.solving_tables(store, study)["hessian_attention"]
    choose(edited, 5)
    name = table_of(server.store).names[5]
    assert scores.per_sample is not None
    column = scores.per_sample[:, scores.layers.index(name)]
    links = edited.main.locator(".detail a")
    expect(links).to_have_count(3)
    found = [int(each.split()[0].removeprefix("#")) for each in links.all_inner_texts()]
    assert found == (-column).argsort(kind="stable")[:3].tolist()
    links.nth(1).click()
    edited.at("Samples")
    number = edited.sidebar.get_by_role("spinbutton", name="Sample")
    expect(number).to_have_value(str(found[1]), timeout=WAIT_MS)
    layer = edited.sidebar.get_by_role("combobox", name="Layer")
    expect(layer).to_have_value(name, timeout=WAIT_MS)
    edited.menu("Bit assignment").click()
    edited.at("Bit assignment")
    edited.main.get_by_role("button", name="Distributions", exact=True).click()
    edited.at("Distributions")
    expect(layer).to_have_value(name, timeout=WAIT_MS)
    assert not edited.errors
