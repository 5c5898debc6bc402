"""Every page, light and dark: complete, without errors, and small on the wire."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.server import Server
from tests.browser.watched import Tab

pytestmark = pytest.mark.browser

PAGES = {
    "overview": "Bitlens",
    "data": "Study",
    "sensitivity": "Sensitivity",
    "agreement": "Agreement",
    "samples": "Samples",
    "distributions": "Distributions",
    "initialization": "Initialization",
    "assignment": "Bit assignment",
    "quantization": "Quantization",
    "curves": "Accuracy curves",
    "comparison": "Comparison",
    "export": "Export",
    "jobs": "Jobs and store",
}
MAX_FRAME = 1_000_000  # bytes


def keep_screenshot(tab: Tab, name: str) -> None:
    """Write a picture of the whole page to the folder BITLENS_SCREENSHOTS, if it is set."""
    folder = os.environ.get("BITLENS_SCREENSHOTS")
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    height = tab.main.evaluate("main => main.scrollHeight")
    width = tab.page.viewport_size["width"]
    tab.page.set_viewport_size({"width": width, "height": max(1000, min(int(height), 6000))})
    tab.settled()
    tab.page.screenshot(path=Path(folder) / f"{name}.png", animations="disabled")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_complete_without_errors_and_without_large_messages(
    path: str, scheme: str, server: Server, new_tab: Callable[..., Tab]
) -> None:
    tab = new_tab(color_scheme=scheme, width=int(os.environ.get("BITLENS_WIDTH", "1400")))
    link = server.url("" if path == "overview" else path, study="Demo: digits-resnet")
    tab.open(link, PAGES[path])
    keep_screenshot(tab, f"{path}-{scheme}")
    assert "Traceback" not in tab.body
    assert tab.main.get_by_test_id("stException").count() == 0
    assert not tab.errors
    assert not tab.outside
    assert tab.frames
    assert max(tab.frames) < MAX_FRAME
