"""What tests of the bit equalizer share: its columns, edits and echoes."""

from itertools import pairwise
from pathlib import Path

from playwright.sync_api import Locator, expect
from torch import nn

from analysis import catalog
from analysis.allocation.edit import default_pins
from analysis.records import Allocation, LayerTable
from cache.store import Store
from pages.ui.holding import HELD, Held
from pages.ui.session import Key
from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

STUDY = "Demo: digits-resnet"
DEEP = "Deep: 200 linear layers"


def deep() -> nn.Module:
    """A network of 200 linear layers of different sizes."""
    widths = [256, *(16 + 8 * (at % 5) for at in range(199)), 10]
    layers: list[nn.Module] = [nn.Flatten()]
    for wide, narrow in pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def columns(tab: Tab) -> Locator:
    return tab.main.locator(".columns .column")


def bits(tab: Tab) -> list[int]:
    read = "all => all.map(each => Number(each.getAttribute('aria-valuenow')))"
    return list(columns(tab).evaluate_all(read))


def at(tab: Tab, layer: int) -> Locator:
    """The bar of a layer: the column's own box also holds its long label."""
    return columns(tab).nth(layer).locator(".fill")


def choose(tab: Tab, layer: int, **click: list[str]) -> None:
    at(tab, layer).click(**click)


def press(tab: Tab, *keys: str) -> None:
    for key in keys:
        tab.page.keyboard.press(key)


def drag(tab: Tab, layer: int, goal: int) -> None:
    """Drag a column's top, once it stands still, to the height of an integer format."""
    left, y, width, height = tab.place(at(tab, layer))
    bit = height / bits(tab)[layer]
    x, top = left + width / 2, y + 2
    tab.page.mouse.move(x, top)
    tab.page.mouse.down()
    tab.page.mouse.move(x, top + 20)
    tab.page.mouse.move(x, y + height - goal * bit, steps=6)
    tab.page.mouse.up()


def readout(tab: Tab, name: str) -> str:
    return tab.main.locator(".card").filter(has_text=name).locator(".value").inner_text()


def stored_draft(root: Path, name: str = STUDY) -> Allocation | None:
    store = Store(root)
    study = catalog.studies(store)[name]
    return store.get_part(catalog.study_id(study), Key.DRAFT, Allocation)


def echoed(tab: Tab, server: Server, name: str = STUDY) -> None:
    """Wait until the server holds what the columns show."""
    for _ in range(100):
        draft = stored_draft(server.store, name)
        shown = bits(tab)
        if draft and [len_bits(c.weight) for c in draft.candidates] == shown:
            return
        tab.page.wait_for_timeout(50)
    raise AssertionError(f"the server holds {draft}, the columns show {shown}")


def len_bits(name: str) -> int:
    return 32 if name == "float" else int(name.removeprefix("int"))


def table_of(root: Path, name: str = STUDY) -> LayerTable:
    """The layers of a study in a store."""
    store = Store(root)
    table = catalog.layer_table(store, catalog.studies(store)[name])
    assert table is not None
    return table


def open_at_eight(server: Server, tab: Tab) -> None:
    """Open the page of the demo with every layer at w8a8, the first and the last pinned."""
    store = Store(server.store)
    held = Held(pins=default_pins(table_of(server.store)))
    store.put_part(catalog.study_id(catalog.studies(store)[STUDY]), HELD, held)
    tab.open(server.url("assignment", study=STUDY), "Bit assignment")
    expect(columns(tab).first).to_be_visible(timeout=WAIT_MS)
    release = tab.main.get_by_role("button", name="Release")
    for key in ("Home", "End"):  # what an earlier test left there is not what is tested here
        choose(tab, 0)
        press(tab, key)
        release.click()
    tab.main.get_by_role("button", name="Reset to w8a8").click()
    for key in ("Home", "End"):
        choose(tab, 0)
        press(tab, key, "p")
    assert set(bits(tab)) == {8}
