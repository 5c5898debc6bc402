"""What the bit equalizer says of a solver's answer, and no longer says once that is edited."""

import re

import pytest
from playwright.sync_api import expect

from analysis.records import BudgetUse
from pages.equalizer import Start, payload
from pages.equalizer.component import script
from pages.equalizer.payload import codes
from tests.browser.equalizing import choose, open_at_eight, press, stored_draft, table_of
from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

pytestmark = pytest.mark.browser

WORDS = """([script, data, cases]) => {
  const module = script.replace('export default function', 'function');
  const { readModel, totals, budgetWords } = new Function(
    `${module}; return { readModel, totals, budgetWords };`)();
  const model = readModel(data);
  return cases.map(({ weights, activations }) =>
    budgetWords(totals(model, weights, activations).budgets[0]));
}"""


def card(tab: Tab, name: str):
    return tab.main.locator(".card").filter(has_text=name)


def test_the_form_closes_and_the_certificate_goes_with_the_first_edit_and_returns_with_undo(
    server: Server, tab: Tab
) -> None:
    open_at_eight(server, tab)
    tab.button("Solve for a budget").click()
    tab.page.get_by_test_id("stPopoverBody").get_by_role("button", name="Solve").click()
    budget = card(tab, "Budget: size ≤ 0.6")
    expect(budget).to_contain_text("optimum certified", timeout=WAIT_MS)
    expect(tab.page.get_by_test_id("stPopoverBody")).to_have_count(0, timeout=WAIT_MS)
    choose(tab, 3)
    press(tab, "2")
    expect(budget).not_to_contain_text("certified")
    press(tab, "Control+z")
    expect(budget).to_contain_text("optimum certified")
    assert not tab.errors


def test_a_limit_is_shown_with_all_its_digits(server: Server, tab: Tab) -> None:
    open_at_eight(server, tab)
    tab.button("Solve for a budget").click()
    form = tab.page.get_by_test_id("stPopoverBody")
    limit = form.get_by_role("spinbutton", name="Size, share of w8a8", exact=True)
    limit.fill("0.60527")
    limit.press("Enter")
    tab.settled()
    expect(limit).to_have_value("0.60527")
    form.get_by_role("button", name="Solve").click()
    expect(card(tab, "Budget: size ≤ 0.60527")).to_contain_text("certified", timeout=WAIT_MS)


def test_a_layer_without_a_score_leaves_the_prediction_unknown(server: Server, tab: Tab) -> None:
    open_at_eight(server, tab)
    predicted = card(tab, "Predicted loss increase")
    expect(predicted).to_contain_text(re.compile(r"\d nats"))
    choose(tab, 3)
    press(tab, "7")
    expect(predicted.locator(".value")).to_have_text("unknown")
    expect(predicted).to_contain_text("1 layer without a score at these bits")


def test_pins_and_ties_outlive_a_reload(server: Server, tab: Tab) -> None:
    open_at_eight(server, tab)
    choose(tab, 3)
    choose(tab, 5, modifiers=["Control"])
    press(tab, "t")
    choose(tab, 8)
    press(tab, "p")
    legend = tab.main.locator(".legend")
    expect(legend).to_contain_text("3 pinned")
    tab.page.wait_for_timeout(1000)  # the echo that keeps them is under way
    tab.settled()
    tab.page.reload()
    tab.at("Bit assignment")
    expect(legend).to_contain_text("3 pinned", timeout=WAIT_MS)
    expect(legend).to_contain_text("2 tied")


def test_a_budget_that_only_the_solver_knows_is_told_for_its_own_answer(
    server: Server, tab: Tab
) -> None:
    open_at_eight(server, tab)
    table, solved = table_of(server.store), stored_draft(server.store)
    assert solved is not None
    use = BudgetUse(resource="latency_ms", limit=4.0, used=3.5)
    start = Start(solved, (), (), 0)
    data = payload(table, start, budgets=[use], solved=solved, remark="not proven")
    other = codes(solved) | {"weights": [0, *codes(solved)["weights"][1:]]}
    own, edited = tab.page.evaluate(WORDS, [script(), data, [codes(solved), other]])
    assert own == ["Budget: time ≤ 4 ms", "0.500 ms left", "3.50 ms used · not proven", "good"]
    assert edited[:2] == ["Budget: time ≤ 4 ms", "not followed"]
