"""Links: the first request of a fresh server, and what survives a change of page."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from playwright.sync_api import expect

from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

pytestmark = pytest.mark.browser

MENU = {
    "Overview",
    "Study",
    "Sensitivity",
    "Bit assignment",
    "Quantization",
    "Comparison",
    "Export",
    "Jobs and store",
}
NOT_FIRST = "Long: left alone"


def test_a_cold_deep_link_opens_its_page_with_the_study_and_layer_it_names(
    start_server: Callable[[Path], Server], store: Path, tab: Tab
) -> None:
    server = start_server(store)
    tab.open(server.url("assignment", study=NOT_FIRST, layer="blocks.1.expand.0"), "Bit assignment")
    assert set(tab.shown_menu()) >= MENU
    assert tab.selected("Study") == NOT_FIRST
    assert tab.selected("Layer") == "blocks.1.expand.0"
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
    assert "Page not found" not in tab.body
    assert not tab.errors


def test_a_cold_deep_link_to_an_empty_store_says_what_to_do(
    start_server: Callable[[Path], Server], tmp_path: Path, tab: Tab
) -> None:
    server = start_server(tmp_path / "empty")
    tab.open(server.url("sensitivity"), "Sensitivity")
    tab.says("No study is open yet.")
    assert set(tab.shown_menu()) >= MENU
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
    tab.main.get_by_role("link", name="Open the demo on the overview").click()
    tab.at("Bitlens")


def test_a_link_to_an_unknown_study_says_so_and_shows_another(server: Server, tab: Tab) -> None:
    tab.open(server.url("", study="NOPE"), "Bitlens")
    warning = tab.sidebar.get_by_text("There is no study NOPE here")
    expect(warning).to_be_visible(timeout=WAIT_MS)


def test_a_link_names_its_study_even_where_it_is_the_first(server: Server, tab: Tab) -> None:
    tab.open(server.url(""), "Bitlens")
    first = tab.selected("Study")
    named = re.compile(r"[?&]study=" + re.escape(quote_plus(first)))
    expect(tab.page).to_have_url(named, timeout=WAIT_MS)
    tab.menu("Study").click()
    tab.at("Study")
    expect(tab.page).to_have_url(named, timeout=WAIT_MS)
    tab.page.go_back()
    tab.at("Bitlens")
    assert tab.selected("Study") == first


def test_study_and_layer_survive_page_changes_and_a_reload(server: Server, tab: Tab) -> None:
    tab.open(server.url("", study=NOT_FIRST), "Bitlens")
    tab.sidebar.get_by_role("combobox", name="Layer").click()
    tab.page.get_by_role("option", name="blocks.1.expand.0", exact=True).click()
    tab.settled()
    for title in ("Sensitivity", "Bit assignment", "Study"):
        tab.menu(title).click()
        tab.at(title)
        assert tab.selected("Layer") == "blocks.1.expand.0"
        assert tab.selected("Study") == NOT_FIRST
        assert "layer=blocks.1.expand.0" in tab.page.url
        assert "study=Long" in tab.page.url
    tab.page.reload()
    tab.at("Study")
    assert tab.selected("Layer") == "blocks.1.expand.0"
