"""The same ranges in another network, as outlines over the boxes of the first."""

import numpy as np
import plotly.graph_objects as go

from analysis.plots import theme
from analysis.plots.boxes import row
from analysis.plots.diverging import Symmetric
from analysis.plots.labels import number, plain
from analysis.records import FloatArray

BESIDE = "#e08a1e"


def outlined(statistics: FloatArray, scale: Symmetric, title: str) -> go.Bar:
    """Return n outlines from the smallest to the largest value at 0, 1, ..., n - 1.

    Hovers and clicks go to the boxes behind, see :func:`spans`.

    Args:
        statistics: Rows begin as :data:`analysis.records.distributions.STATISTICS`, (7 or more, n);
            NaN where there is none.
        scale: Where values lie on the axis.
        title: What is outlined.
    """
    low, high = (scale.position(row(statistics, name)) for name in ("low", "high"))
    known = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
    return go.Bar(
        x=known,
        base=[round(float(low[at]), 6) for at in known],
        y=(high - low)[known].astype(np.float32),
        width=0.92,
        marker={
            "color": theme.TRANSPARENT,
            "line": {"color": BESIDE, "width": 2 if statistics.shape[1] <= 100 else 0.8},
        },
        name=plain(title),
        hoverinfo="skip",
    )


def spans(statistics: FloatArray) -> list[str]:
    """Return the smallest and largest values in words, for the hovers of n boxes."""
    ends = zip(*(row(statistics, name) for name in ("low", "high")), strict=True)
    return [
        f"{number(float(low))} to {number(float(high))}" if np.isfinite(high - low) else "none"
        for low, high in ends
    ]
