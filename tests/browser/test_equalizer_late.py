"""The bit equalizer beside a slow server: what comes late takes no selection back."""

import pytest
from playwright.sync_api import expect

from tests.browser.equalizing import bits, choose, columns, drag, echoed, open_at_eight
from tests.browser.server import Server
from tests.browser.watched import Tab

pytestmark = pytest.mark.browser

LATE_MS = 700
# Every message of the server reaches the page `lateMs` after it came, in order.
SLOW = """
  window.lateMs = 0;
  window.WebSocket = class extends WebSocket {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", (event) => {
        if (event.late) return;
        event.stopImmediatePropagation();
        const copy = new MessageEvent("message", { data: event.data });
        copy.late = true;
        setTimeout(() => this.dispatchEvent(copy), window.lateMs);
      });
    }
  };
"""


def selected(tab: Tab) -> list[int]:
    read = "all => all.flatMap((each, at) => each.matches('.selected') ? [at] : [])"
    return list(columns(tab).evaluate_all(read))


def test_late_messages_leave_a_selection_of_several_layers(server: Server, tab: Tab) -> None:
    tab.page.add_init_script(SLOW)
    open_at_eight(server, tab)
    tab.settled()
    tab.page.evaluate(f"window.lateMs = {LATE_MS}")
    drag(tab, 3, 5)
    choose(tab, 4)
    choose(tab, 6, modifiers=["Shift"])
    choose(tab, 9, modifiers=["ControlOrMeta"])
    assert selected(tab) == [4, 5, 6, 9]
    tab.page.wait_for_timeout(6 * LATE_MS)
    tab.settled()
    assert selected(tab) == [4, 5, 6, 9]
    expect(tab.main.locator(".column.focused.selected")).to_have_count(1)
    drag(tab, 5, 4)
    assert bits(tab)[3:11] == [5, 4, 4, 4, 8, 8, 4, 8]
    echoed(tab, server)
