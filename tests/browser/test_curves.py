"""Accuracy curves in a real browser: measure a small one, click a point, load its bits."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

pytestmark = pytest.mark.browser

STUDY = "Demo: digits-resnet"


def fill(field: Locator, value: str) -> None:
    field.fill(value)
    field.press("Enter")


def test_a_curve_is_measured_clicked_and_loaded_into_the_draft(
    start_server: Callable[[Path], Server], store: Path, tab: Tab
) -> None:
    server = start_server(store)
    tab.open(server.url("curves", study=STUDY), "Accuracy curves")
    fill(tab.main.get_by_role("spinbutton", name="Budgets"), "3")
    tab.settled()
    fill(tab.main.get_by_role("spinbutton", name="Random each"), "2")
    tab.settled()
    tab.says("at most 20 allocations")
    tab.button("Measure the curves").click()
    tab.says("to size-only compared")
    chart = tab.main.locator(".js-plotly-plot").first
    # The random cloud comes first; the point after it is the metric's at the smallest budget.
    point = chart.locator(".scatterlayer .trace").nth(1).locator(".points path").nth(1)
    x, y, width, height = tab.place(point)
    tab.page.mouse.click(x + width / 2, y + height / 2)
    tab.says("hessian_attention + milp at")
    tab.button("Load into the draft").click()
    tab.settled()
    tab.menu("Bit assignment").click()
    tab.at("Bit assignment")
    card = tab.main.get_by_test_id("stMetric").filter(has_text="Measured accuracy")
    expect(card).to_contain_text("n = 597", timeout=WAIT_MS)
    assert not tab.errors
    assert not tab.outside
