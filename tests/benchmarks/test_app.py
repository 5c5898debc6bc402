"""Start of the app to the first useful page, and its memory on the demo: `make bench`.

Wall times and bytes, unlike the ratios beside it: they are printed, and held to the bounds only
loosely, since machines are shared.
"""

import re
import time
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from tests.browser.conftest import ARGUMENTS
from tests.browser.find_browser import find_browser
from tests.browser.server import Server

SECONDS, MIB = 6.0, 1200.0


def peak_mib(pid: int) -> float:
    """Return the largest resident size of a process so far, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def test_the_first_page_is_there_soon_and_the_demo_takes_little_memory(benchmark, tmp_path):
    starts = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)

        def first_page() -> Server:
            begin = time.monotonic()
            server = Server(tmp_path / f"store-{len(starts)}", tmp_path / "log")
            page = browser.new_page()
            page.goto(server.url())
            page.get_by_role("button", name="Open").first.wait_for(timeout=60_000)
            starts.append(time.monotonic() - begin)
            server.page = page
            return server

        def start() -> None:
            first_page().kill()

        benchmark.pedantic(start, rounds=3, warmup_rounds=1)
        server = first_page()
        page = server.page
        page.get_by_role("button", name="Open").first.click()
        page.get_by_role("link", name="Assign bits").click(timeout=60_000)
        page.get_by_role("button", name="Score the layers").click(timeout=60_000)
        solve = page.get_by_role("button", name="Solve for a budget")
        expect(solve).to_be_enabled(timeout=120_000)
        page.get_by_role("button", name="Quantize and measure").click()
        measured = page.get_by_test_id("stMetric").filter(has_text="Measured accuracy")
        measured.wait_for(timeout=120_000)
        peak = peak_mib(server.process.pid)
        server.kill()
        browser.close()
    best = min(starts[1:])
    benchmark.extra_info |= {"seconds to first page": starts, "peak MiB": peak}
    print(
        f"\nfirst page after {best:.2f} s at best, {max(starts):.2f} s at worst (bound {SECONDS} s)"
    )
    print(f"peak resident memory {peak:.0f} MiB (bound {MIB:.0f} MiB)")
    assert best <= SECONDS
    assert peak <= MIB
