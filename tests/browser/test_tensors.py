"""The distributions page and the initialization lab, as a person uses them."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

pytestmark = pytest.mark.browser

STUDY = "Demo: digits-resnet"


def described(server: Server, tab: Tab, **link: str) -> None:
    """Open the page with the distributions computed."""
    tab.open(server.url("distributions", study=STUDY, **link), "Distributions")
    start = tab.button("Describe the distributions")
    if start.count():
        start.click()
    tab.says("All layers in numbers")
    tab.settled()


def test_a_layer_is_explored_from_its_range_to_its_grid(server: Server, tab: Tab) -> None:
    described(server, tab)
    tab.says("Channel 32 alone widens the range of the weights")
    bars = tab.main.locator(".js-plotly-plot").first.locator(".bars .point path")
    expect(bars.first).to_be_visible(timeout=WAIT_MS)
    bars.first.click(force=True)
    expect(tab.page).to_have_url(re.compile("layer=conv1"), timeout=WAIT_MS)
    tab.says("Weights of conv1")
    for text in ("SQNR", "Average channel precision", "Clipped", "Bits left per channel"):
        tab.says(text)
    grid = tab.main.get_by_role("combobox", name="Grid")
    grid.click()
    tab.page.get_by_role("option", name="int3", exact=True).click()
    tab.says(re.compile("int3"))
    tab.main.get_by_text("Inputs", exact=True).click()
    tab.says("Inputs of conv1")
    tab.main.get_by_text("After activation", exact=True).click()
    tab.says("is added to another tensor first")
    assert not tab.errors
    assert max(tab.frames) < 1_000_000


def test_recalibrations_are_laid_over_and_measured(server: Server, tab: Tab) -> None:
    described(server, tab, layer="layer3.1.conv1")
    beside = tab.main.get_by_role("combobox", name="Beside them, those of")
    beside.click()
    tab.page.get_by_role("option", name="The float network, recalibrated").click()
    choice = tab.main.get_by_role("combobox", name="Recalibrate first, in this order")
    choice.click()
    tab.page.get_by_role("option", name="Cross-layer equalization").click()
    tab.page.keyboard.press("Escape")
    tab.button("Describe the float network, recalibrated").click()
    tab.says("float after equalization, as a line")
    tab.says("pairs equalized; channels divided by")
    tab.says("What was left as it was")
    tab.says("outlines: float after equalization")
    tab.button("Measure both").click()
    tab.says("paired,")
    assert not tab.errors


def test_options_of_a_recalibration_change_what_it_does(server: Server, tab: Tab) -> None:
    described(server, tab)
    tab.main.get_by_role("combobox", name="Beside them, those of").click()
    tab.page.get_by_role("option", name="The float network, recalibrated").click()
    tab.main.get_by_role("combobox", name="Recalibrate first, in this order").click()
    tab.page.get_by_role("option", name="High-bias absorption").click()
    tab.page.keyboard.press("Escape")
    tab.settled()
    tab.unfold("Options of High-bias absorption")
    tab.main.get_by_role("combobox", name="Padding").click()
    tab.page.get_by_role("option", name="interior").click()
    tab.settled()
    deviations = tab.main.get_by_role("spinbutton", name="Deviations")
    deviations.fill("0")
    deviations.press("Enter")
    tab.settled()
    tab.button("Describe the float network, recalibrated").click()
    tab.says("channels gave up to")
    tab.says("float after absorption:deviations=0:padding=interior, as a line")
    assert not tab.errors


def test_the_lab_trains_shows_and_goes_on(server: Server, tab: Tab) -> None:
    tab.open(server.url("initialization", study=STUDY), "Initialization")
    for label in ("Seeds", "Epochs"):
        tab.main.get_by_role("spinbutton", name=label).fill("1")
    # The click that leaves the field counts for what it then holds.
    tab.button("Train the networks").click()
    tab.says("Accuracy lost at 4 bits by initializer", 180_000)
    tab.settled()
    seeds = tab.main.get_by_role("spinbutton", name="Seeds")
    seeds.fill("2")
    seeds.press("Enter")
    tab.says("10 of 20 runs are there")
    tab.main.get_by_role("tab", name="Ranges through training").click()
    tab.says("Range of the weights through training")
    tab.main.get_by_role("tab", name="Layers", exact=True).click()
    tab.says("Ranges of the weights by epoch")
    tab.main.get_by_role("tab", name="This model and its start").click()
    tab.says("Range of the weights now and from initializers")
    assert not tab.errors
