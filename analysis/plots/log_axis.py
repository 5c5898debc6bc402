"""A logarithmic axis with round ticks, however few decades it spans."""

from collections.abc import Sequence

import numpy as np

from analysis.plots.labels import scale_ticks, tick_texts
from analysis.records import FloatArray


def exponents(values: FloatArray, below: float = 0.06, above: float = 0.06) -> list[float]:
    """Return the exponents between which all positive values lie, with room beside them.

    Args:
        values: Any shape, at least one of them positive and finite.
        below: Room below the smallest value, as a share of the span.
        above: Room above the largest value.
    """
    known = np.log10(values[np.isfinite(values) & (values > 0)])
    low, high = float(known.min()), float(known.max())
    span = max(high - low, 0.5)
    return [low - below * span, high + above * span]


def log_axis(ends: Sequence[float], title: str, most: int = 8) -> dict[str, object]:
    """Return an axis between two exponents with at most so many ticks."""
    places = scale_ticks(10 ** ends[0], 10 ** ends[1], True, most)
    return {
        "title": {"text": title, "standoff": 10, "font": {"size": 13}},
        "tickfont": {"size": 12},
        "type": "log",
        "range": list(ends),
        "tickvals": places,
        "ticktext": tick_texts(places),
        "zeroline": False,
    }
