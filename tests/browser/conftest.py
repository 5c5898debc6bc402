"""Real servers, a real browser and a store that was prepared through the library."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

from analysis import workflow
from analysis.allocation_file import uniform_allocation
from analysis.commands import DEMO
from analysis.events import result
from analysis.records import Candidate, StudySpec
from analysis.workspace import Workspace
from cache.store import Store
from tests.browser.equalizing import DEEP, open_at_eight
from tests.browser.find_browser import find_browser
from tests.browser.server import Server
from tests.browser.watched import Tab

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Calibration samples of studies whose scores take seconds, and minutes.
SOME, MANY = 600, 4_000
LONG = {"cancelled": SOME, "left alone": SOME, "interrupted": MANY}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium was found: install one or set BITLENS_BROWSER to its path")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def new_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens tabs, each in a session of its own."""
    contexts = []

    def open_tab(color_scheme: str = "light", width: int = 1400) -> Tab:
        context = browser.new_context(
            viewport={"width": width, "height": 1000}, color_scheme=color_scheme
        )
        contexts.append(context)
        return Tab(context.new_page())

    yield open_tab
    for context in contexts:
        context.close()


@pytest.fixture
def tab(new_tab: Callable[..., Tab]) -> Tab:
    """A tab of this test alone."""
    return new_tab()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the demo opened, scored, solved for and measured, and with the long studies."""
    folder = tmp_path_factory.mktemp("prepared")
    store = Store(folder / "store")
    space = Workspace(store)
    study = result(workflow.opening(space, DEMO))
    table = result(workflow.layers(space, study).events(store))
    for metric in ("hessian_attention", "output_kl"):
        result(workflow.score(space, study, metric).events(store))
    for bits in ("w8a8", "w4a8", "w2a8"):
        allocation = uniform_allocation(table, Candidate.parse(bits))
        result(workflow.quantize(space, study, workflow.Recipe(allocation)).events(store))
    for name, n in LONG.items():
        result(workflow.opening(space, long_study(folder, name, n)))
    return store.root


@pytest.fixture
def store(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the prepared store for this test alone."""
    return Path(shutil.copytree(prepared, tmp_path / "store"))


@pytest.fixture(scope="session")
def server(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that tests share, on the prepared store; its log is printed at the end."""
    folder = tmp_path_factory.mktemp("server")
    store = Path(shutil.copytree(prepared, folder / "store"))
    running = Server(store, folder / "log.txt")
    yield running
    running.kill()
    print(running.said())


@pytest.fixture(scope="session")
def deep_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a network of 200 layers opened and scored."""
    store = Store(tmp_path_factory.mktemp("deep") / "store")
    space = Workspace(store)
    spec = replace(DEMO, name=DEEP, model="factory:tests.browser.equalizing:deep")
    study = result(workflow.opening(space, spec, trusted=True))
    result(workflow.score(space, study, "weight_mse").events(store))
    return store.root


@pytest.fixture
def edited(server: Server, tab: Tab) -> Tab:
    """The assignment page of the demo, every layer at w8a8."""
    open_at_eight(server, tab)
    return tab


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[[Path], Server]]:
    """Starts fresh servers on given stores."""
    servers: list[Server] = []

    def start(store: Path) -> Server:
        servers.append(Server(store, tmp_path / f"log-{len(servers)}.txt"))
        return servers[-1]

    yield start
    for each in servers:
        each.kill()
        print(each.said())


def long_study(folder: Path, name: str, n: int) -> StudySpec:
    """Return a study of the demo whose calibration set is large, noise and its own."""
    seed = list(LONG).index(name)
    images = np.random.default_rng(seed).integers(0, 256, (n, 1, 16, 16), dtype=np.uint8)
    path = folder / f"noise-{seed}.npz"
    np.savez(path, x=images)
    model = "demo:digits-mobilenet" if n == SOME else DEMO.model
    return replace(DEMO, name=f"Long: {name}", model=model, calibration=f"npz:{path}")
