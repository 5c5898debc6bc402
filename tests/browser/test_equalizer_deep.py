"""The bit equalizer with 200 layers: how soon it reads out an edit, and how soon that is echoed."""

import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.equalizing import DEEP, choose, columns, echoed, press
from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

pytestmark = pytest.mark.browser

# Milliseconds from the last edit to the server's answer to it.
ANSWER = """equalizer => new Promise(resolve => {
  const { dataset } = equalizer;
  const wait = () => dataset.answered === dataset.edits
    ? resolve(performance.now() - Number(dataset.editedAt))
    : requestAnimationFrame(wait);
  wait();
})"""


@pytest.fixture(scope="module")
def deep_server(deep_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(deep_store, tmp_path_factory.mktemp("log") / "log.txt")
    yield running
    running.kill()


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
