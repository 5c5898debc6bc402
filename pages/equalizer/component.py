"""The component itself: files of this folder joined and mounted, and what it sends back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent
# Joined into one module: an inline component has no other way to import.
_SCRIPTS = (
    "totals.js",
    "ties.js",
    "editing.js",
    "scale.js",
    "chart.js",
    "panel.js",
    "detail.js",
    "input.js",
    "main.js",
)


@dataclass(frozen=True, slots=True)
class Echo:
    """The state of the component as it reached the server.

    ``version`` is that of the payload it edits; ``weights`` and ``activations`` are codes, places
    in the formats of the payload, one per layer; ``pins`` are places of layers, ``ties`` those of
    layers that take one candidate; ``layer`` is the layer in focus, empty before the user chose
    one. ``seq`` counts the edits of the component, ``sent`` its echoes.
    """

    version: int
    weights: tuple[int, ...]
    activations: tuple[int, ...]
    pins: tuple[int, ...]
    ties: tuple[tuple[int, ...], ...]
    layer: str
    seq: int
    sent: int = 0

    @classmethod
    def read(cls, state: object) -> "Echo | None":
        """Return the echo in a component's state, None before the first."""
        content = state.get("edit") if isinstance(state, Mapping) else None
        if not isinstance(content, Mapping):
            return None
        return cls(
            int(content["version"]),
            tuple(int(code) for code in content["weights"]),
            tuple(int(code) for code in content["activations"]),
            tuple(int(place) for place in content["pins"]),
            tuple(tuple(int(place) for place in tie) for tie in content["ties"]),
            str(content["layer"]),
            int(content["seq"]),
            int(content.get("sent", 0)),
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """A page that the user asked for, and the layer and calibration sample to show there, if any.

    The layer comes along because the echo that selects it may still be on its way.
    """

    page: str
    layer: str
    sample: int | None

    @classmethod
    def read(cls, state: object) -> "Opened | None":
        """Return what was just asked for in a component's state, None for nothing."""
        content = state.get("open") if isinstance(state, Mapping) else None
        if not isinstance(content, Mapping):
            return None
        sample = content["sample"]
        number = None if sample is None else int(sample)
        return cls(str(content["page"]), str(content["layer"]), number)


def script() -> str:
    """Return the JavaScript module of the component."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS)


@cache
def _renderer() -> Any:
    return st.components.v2.component(
        "bitlens_equalizer",
        html=(_HERE / "equalizer.html").read_text(encoding="utf-8"),
        css=(_HERE / "equalizer.css").read_text(encoding="utf-8"),
        js=script(),
    )


def equalizer(
    data: Mapping[str, object],
    *,
    key: str,
    on_edit: Callable[[], None],
    on_open: Callable[[], None],
) -> Opened | None:
    """Mount the equalizer.

    Args:
        data: What :func:`pages.equalizer.payload` makes.
        key: Of the widget; its state is read with :meth:`Echo.read`.
        on_edit: Called before the page runs when the component echoes.
        on_open: Called before the page runs when the user asked for another page.

    Returns:
        The page that the user asked for, None for none.
    """
    result = _renderer()(key=key, data=dict(data), on_edit_change=on_edit, on_open_change=on_open)
    return Opened.read(result)
