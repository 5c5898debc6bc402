"""The bit equalizer and the rest of the app: no edit is lost between browser and server."""

import pytest
from playwright.sync_api import expect

from analysis.allocation_file import allocation_json, uniform_allocation
from analysis.records import Candidate
from tests.browser.equalizing import bits, choose, columns, echoed, press, readout, table_of
from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

pytestmark = pytest.mark.browser


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
    table = table_of(server.store)
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
