"""A training on the quantization page: started, watched, cancelled, resumed and compared."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

pytestmark = pytest.mark.browser

STUDY = "Demo: digits-resnet"
START = "Quantize and measure"
STEPS = 300  # seconds on a quiet machine
NAME, NEAREST = "trained", "uniform w2a8, ends w8a8, nearest"
TITLE = re.compile(r"After ([\d,]+)( of [\d,]+)? steps: .* nats from float")
TRAIN_MS, OPEN_MS = 240_000, 5_000


def choose(tab: Tab, label: str, option: str) -> None:
    """Choose an option of a list of the page, by how it begins.

    A list closes when something above it grows; then it is opened again.
    """
    entry = tab.page.get_by_role("option", name=re.compile(f"^{option}")).first
    for last in (False, False, False, True):
        tab.main.get_by_role("combobox", name=label, exact=True).first.click()
        try:
            entry.click(timeout=WAIT_MS if last else OPEN_MS)
            break
        except PlaywrightTimeout:
            if last:
                raise
            tab.page.keyboard.press("Escape")
    tab.settled()


def fill(tab: Tab, role: str, label: str, text: str) -> None:
    """Type into a field of the page."""
    field = tab.main.get_by_role(role, name=label, exact=True).first
    field.fill(text)
    field.press("Enter")
    tab.settled()


def ask_for_training(tab: Tab, server: Server) -> None:
    """Open the page and choose EPTQ at two bits."""
    tab.open(server.url("quantization", study=STUDY), "Quantization")
    tab.main.get_by_text("Uniform bits", exact=True).click()
    tab.settled()
    choose(tab, "Weights", "int2")
    choose(tab, "Method", "EPTQ")
    tab.unfold("Options")
    fill(tab, "spinbutton", "Steps", str(STEPS))
    fill(tab, "textbox", "Name", NAME)


def drawn_steps(tab: Tab) -> int:
    """Return after how many steps the chart of a training was drawn last, 0 without a chart."""
    titles = tab.main.locator(".js-plotly-plot .gtitle").all_text_contents()
    found = [match for title in titles if (match := TITLE.search(title))]
    return int(found[0][1].replace(",", "")) if found else 0


def wait_until_drawn_beyond(tab: Tab, steps: int) -> int:
    """Wait until the chart shows more steps; return how many."""
    tab.page.wait_for_function(
        """steps => [...document.querySelectorAll('[data-testid=stMain] .js-plotly-plot .gtitle')]
            .map(title => title.textContent.match(/After ([\\d,]+)/))
            .some(found => found && Number(found[1].replaceAll(',', '')) > steps)""",
        arg=steps,
    )
    return drawn_steps(tab)


def test_a_training_is_watched_cancelled_resumed_and_compared(
    start_server: Callable[[Path], Server], store: Path, tab: Tab
) -> None:
    server = start_server(store)
    ask_for_training(tab, server)
    tab.says(re.compile(f"roughly .* {STEPS} steps of 32 samples, estimated from the time"))
    tab.button(START).click()
    expect(tab.button("Cancel")).to_be_visible(timeout=WAIT_MS)
    first = wait_until_drawn_beyond(tab, 0)
    grown = wait_until_drawn_beyond(tab, first)
    assert first < grown < STEPS
    tab.says(re.compile(r"loss [\d.]+"))

    tab.button("Cancel").click()
    tab.says(re.compile(r"The last run was cancelled at \d+%; finished parts are kept"))
    tab.settled()
    stood = drawn_steps(tab)
    assert grown <= stood < STEPS
    tab.says(re.compile(f"Stands after {stood} of {STEPS} steps"))

    tab.button("Resume").click()
    tab.says(re.compile(f"Goes on after {stood} of {STEPS} steps"))
    tab.says("Measured accuracy", TRAIN_MS)
    tab.settled()
    tab.says(f"Saved as {NAME}")
    assert drawn_steps(tab) == STEPS
    assert "What the method changed" in tab.body

    tab.main.get_by_text("Compare it with the others").click()
    tab.at("Comparison")
    choose(tab, "First", NAME)
    choose(tab, "Second", NEAREST)
    tab.says(re.compile(f"{NAME} is better than {NEAREST} by .* n = 597"))
    assert not tab.errors
    assert not tab.outside
    assert "Traceback" not in server.said()
