"""A browser tab that remembers what went wrong in it, and how to wait for what a page says."""

import re
from dataclasses import dataclass, field

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, WebSocket, expect

WAIT_MS = 90_000
HOME = "http://127.0.0.1:"
# Streamlit's page asks for these beside a deep link first, then at the root of the server.
PROBES = ("/_stcore/health", "/_stcore/host-config")

SETTLED = """() =>
  document.querySelector('[data-test-script-state="notRunning"]') &&
  !document.querySelector('[data-testid=stMain] :is([data-stale=true], [data-testid=stSkeleton])')
"""


STILL = """async target => {
  await Promise.allSettled(target.getAnimations().map(each => each.finished));
  let before = null;
  for (;;) {
    await new Promise(requestAnimationFrame);
    const { x, y, width, height } = target.getBoundingClientRect();
    const now = [x, y, width, height];
    if (before && now.every((value, i) => value === before[i])) return now;
    before = now;
  }
}"""


@dataclass
class Tab:
    """A tab that remembers what went wrong in it.

    ``errors`` are those of the console and of scripts, ``outside`` the requests that left the
    machine, ``frames`` the sizes of received websocket frames in bytes.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    clicks: int = 0

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._ask)
        self.page.on("websocket", self._watch)

    def open(self, url: str, heading: str) -> None:
        """Go to a link and wait until the page of this heading has been drawn to its end."""
        self.page.goto(url)
        self.at(heading)

    def at(self, heading: str) -> None:
        """Wait until the page of this heading has been drawn to its end."""
        title = self.page.get_by_role("heading", name=heading, level=1, exact=True)
        expect(title).to_be_visible(timeout=WAIT_MS)
        self.settled()

    def settled(self) -> None:
        """Wait until the script has ended and nothing stale or unfinished is shown."""
        self.page.wait_for_function(SETTLED)

    def says(self, text: str | re.Pattern[str], timeout: float = WAIT_MS) -> None:
        """Wait until the page shows a text."""
        expect(self.main.get_by_text(text).first).to_be_visible(timeout=timeout)

    def click(self, target: Locator) -> None:
        """Click as a person does, and count it."""
        target.click()
        self.clicks += 1

    def place(self, target: Locator) -> tuple[float, float, float, float]:
        """Return where something is, as x, y, width and height, once it stands still."""
        expect(target).to_be_visible(timeout=WAIT_MS)
        x, y, width, height = target.evaluate(STILL)
        return x, y, width, height

    def unfold(self, label: str) -> None:
        """Open a folded part and wait until it stands still: lists do not open while it moves."""
        self.main.get_by_text(label, exact=True).click()
        self.page.evaluate(
            "Promise.allSettled(document.getAnimations().map(moving => moving.finished))"
        )

    def button(self, name: str) -> Locator:
        """Return the first button of the page with this name."""
        return self.main.get_by_role("button", name=name, exact=True).first

    def menu(self, title: str) -> Locator:
        """Return the entry of the navigation with this title."""
        return self.page.get_by_test_id("stSidebarNavLink").filter(has_text=title)

    def shown_menu(self) -> list[str]:
        """Return the titles of the navigation."""
        entries = self.page.get_by_test_id("stSidebarNavLink")
        expect(entries.first).to_be_visible(timeout=WAIT_MS)
        return [text.splitlines()[-1].strip() for text in entries.all_inner_texts()]

    def selected(self, label: str) -> str:
        """Return what a selectbox of the sidebar shows."""
        box = self.sidebar.get_by_role("combobox", name=label)
        expect(box).to_be_visible(timeout=WAIT_MS)
        return box.input_value()

    @property
    def main(self) -> Locator:
        """The page without sidebar and frame."""
        return self.page.get_by_test_id("stMain")

    @property
    def sidebar(self) -> Locator:
        """The sidebar."""
        return self.page.get_by_test_id("stSidebar")

    @property
    def body(self) -> str:
        """All text that is shown."""
        return self.page.locator("body").inner_text()

    def _listen(self, message: ConsoleMessage) -> None:
        where = message.location["url"]
        if message.type == "error" and where.startswith(HOME) and not where.endswith(PROBES):
            self.errors.append(f"{message.text} {where}")

    def _ask(self, request: Request) -> None:
        if request.url.startswith("http") and not request.url.startswith(HOME):
            self.outside.append(request.url)

    def _watch(self, socket: WebSocket) -> None:
        def received(payload: str | bytes) -> None:
            self.frames.append(len(payload))

        socket.on("framereceived", received)
