"""The bit equalizer for those who cannot use a mouse or see colours: axe-core, and the keyboard."""

from collections.abc import Callable
from importlib.resources import files

import pytest
from playwright.sync_api import expect

from tests.browser.equalizing import STUDY, bits, choose, columns, press
from tests.browser.server import Server
from tests.browser.watched import WAIT_MS, Tab

pytestmark = pytest.mark.browser

# axe looks into shadow roots by itself; the component is the only one with this class.
AXE = """async () => {
  const found = await axe.run(document, { resultTypes: ['violations'] });
  const target = (node) => node.target.flat(9).join(' ');
  return found.violations.flatMap(({ id, impact, help, nodes }) =>
    nodes.map((node) => ({ id, impact, help, html: node.html.slice(0, 160), target: target(node),
      why: node.any.concat(node.all, node.none).map((check) => check.message).join('; '),
      inside: inside(node) })));

  function inside({ target }) {
    let root = document;
    let element = null;
    for (const selector of [target].flat(9)) {
      element = root.querySelector(selector);
      root = element?.shadowRoot ?? root;
    }
    return Boolean(element?.closest('.equalizer'));
  }
}"""
SERIOUS = ("serious", "critical")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_the_component(
    scheme: str, server: Server, new_tab: Callable[..., Tab]
) -> None:
    tab = new_tab(scheme)
    tab.open(server.url("assignment", study=STUDY), "Bit assignment")
    expect(columns(tab).first).to_be_visible(timeout=WAIT_MS)
    choose(tab, 3)
    press(tab, "4")
    choose(tab, 6, modifiers=["ControlOrMeta"])
    press(tab, "t")
    menu = tab.main.get_by_role("combobox", name="Compare with another allocation")
    menu.select_option(index=1)
    tab.page.wait_for_timeout(400)
    tab.settled()
    tab.page.evaluate(
        files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    )
    found = tab.page.evaluate(AXE)
    for each in found:
        print(f"{scheme}: {'component' if each['inside'] else 'page'}: {each}")
    looked_into = tab.page.evaluate(
        "async () => (await axe.run(document)).passes.flatMap((rule) => rule.nodes)"
        ".some((node) => node.html.includes('segments'))"
    )
    assert looked_into
    assert [each for each in found if each["inside"] and each["impact"] in SERIOUS] == []


def test_everything_in_the_component_is_reached_and_used_by_keyboard(edited: Tab) -> None:
    names = []
    active = """() => { let at = document.activeElement;
      while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
      return [at.getAttribute('aria-label') || at.textContent.trim(), at.getAttribute('role')]; }"""
    edited.main.get_by_role("button", name="Weights", exact=True).focus()
    for _ in range(24):
        name, role = edited.page.evaluate(active)
        names.append("column" if role == "slider" else name)
        press(edited, "Tab")
    first = edited.main.locator(".detail a").first.inner_text()
    wanted = ["Weights", "Activations", "Compare with another allocation", "−1 all", "+1 all"]
    wanted += ["Set the format", "Reset to w8a8", "column", first, "Distributions"]
    places = [names.index(name) for name in wanted]
    assert places == sorted(places)
    assert names.count("column") == 1
    press(edited, *["Shift+Tab"] * (24 - places[7]))
    press(edited, "Home", "ArrowRight", "Shift+ArrowRight", "5", "t", "Escape", "ArrowUp")
    assert bits(edited)[:4] == [8, 6, 6, 8]
    assert not edited.errors
