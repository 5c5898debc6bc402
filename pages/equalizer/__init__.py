"""The bit equalizer: one column per layer, dragged and typed in the browser, echoed to the page."""

from pages.equalizer.component import Echo, Opened, equalizer
from pages.equalizer.payload import Ghost, Start, payload

__all__ = ["Echo", "Ghost", "Opened", "Start", "equalizer", "payload"]
