"""One selected layer and sample: clicked in a chart, shown on every page, kept in the link."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

pytestmark = pytest.mark.browser

STUDY = "Demo: digits-resnet"


def click_bar(tab: Tab, chart: int, bar: int) -> None:
    """Click the top of a bar of the page's n-th chart."""
    place = tab.main.locator(".js-plotly-plot").nth(chart).locator(".bars .point path").nth(bar)
    x, y, width, _ = tab.place(place)
    # On a logarithmic axis bars go on far below the figure: their tops are in it.
    tab.page.mouse.click(x + width / 2, y + 8)


def test_a_click_on_a_bar_selects_the_layer_on_every_page(server: Server, tab: Tab) -> None:
    tab.open(server.url("sensitivity", study=STUDY), "Sensitivity")
    click_bar(tab, 0, 3)
    expect(tab.page).to_have_url(re.compile(r"layer=layer1\.1\.conv1"), timeout=WAIT_MS)
    layer = tab.sidebar.get_by_role("combobox", name="Layer")
    expect(layer).to_have_value("layer1.1.conv1", timeout=WAIT_MS)
    tab.says("Largest scores in layer1.1.conv1")
    tab.menu("Samples").click()
    tab.at("Samples")
    assert tab.selected("Layer") == "layer1.1.conv1"
    tab.says("Hardest samples in layer1.1.conv1")
    assert not tab.errors


def test_a_sample_is_selected_by_its_picture_and_kept_in_the_link(server: Server, tab: Tab) -> None:
    tab.open(server.url("samples", study=STUDY), "Samples")
    hardest = tab.main.get_by_role("button", name=re.compile(r"^#\d+ · \d$")).first
    expect(hardest).to_be_visible(timeout=WAIT_MS)
    number = re.findall(r"\d+", hardest.inner_text())[0]
    hardest.click()
    expect(tab.page).to_have_url(re.compile(rf"sample={number}\b"), timeout=WAIT_MS)
    tab.settled()
    tab.button("Predict every calibration sample").click()
    tab.says(f"Sample #{number}", 60_000)
    tab.says("Attribution drift", 60_000)
    tab.page.reload()
    tab.at("Samples")
    tab.says(f"Sample #{number}", 60_000)
    assert not tab.errors


def test_a_cold_link_opens_the_sample_it_names(server: Server, tab: Tab) -> None:
    tab.open(server.url("samples", study=STUDY, sample="17", layer="fc"), "Samples")
    assert tab.selected("Layer") == "fc"
    sample = tab.sidebar.get_by_role("spinbutton", name="Sample")
    expect(sample).to_have_value("17", timeout=WAIT_MS)
    tab.says("Hardest samples in fc")
