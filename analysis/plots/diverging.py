"""Values of both signs turned into places around zero, and a colour bar above a plot."""

from dataclasses import dataclass
from math import floor, log10

import numpy as np
import plotly.graph_objects as go

from analysis.plots import theme
from analysis.plots.labels import scale_ticks, tick_texts
from analysis.records import FloatArray

BAR_HEIGHT, BAR_LENGTH = 44, 260

# Colours that fade into the page, so that zero is quiet on a light and on a dark one.
DIVERGING: list[tuple[float, str]] = [
    (0.0, "rgba(28, 92, 214, 1)"),
    (0.25, "rgba(61, 125, 234, 0.65)"),
    (0.5, "rgba(128, 140, 160, 0.2)"),
    (0.75, "rgba(226, 122, 36, 0.65)"),
    (1.0, "rgba(206, 74, 16, 1)"),
]


@dataclass(frozen=True, slots=True)
class Symmetric:
    """A map of values of both signs to -1..1 with zero in the middle.

    ``high`` is the largest size. ``linear`` is the size below which the map is about linear and
    above which it is about logarithmic (inverse hyperbolic sine); 0 where it is linear throughout.
    """

    high: float
    linear: float

    @classmethod
    def of(cls, values: FloatArray) -> "Symmetric":
        """Choose the map: logarithmic when the largest size is over 20 times the median one."""
        sizes = np.abs(values[np.isfinite(values) & (values != 0)])
        if not sizes.size:
            return cls(0.0, 0.0)
        high = float(sizes.max())
        if high <= 20 * float(np.median(sizes)):
            return cls(high, 0.0)
        small = max(float(np.quantile(sizes, 0.25)), high / 1e4)
        return cls(high, 10.0 ** floor(log10(small)))

    def position(self, values: FloatArray) -> FloatArray:
        """Return places in -1..1, NaN where a value is not finite."""
        known = np.where(np.isfinite(values), values, np.nan)
        if self.high <= 0:
            return np.asarray(known * 0.0)
        if self.linear <= 0:
            return np.asarray(known / self.high)
        return np.asarray(np.arcsinh(known / self.linear) / np.arcsinh(self.high / self.linear))

    def ticks(self, most: int = 7) -> tuple[list[float], list[str]]:
        """Return the places of round values and the texts of these values."""
        if self.high <= 0:
            return [0.0], ["0"]
        if self.linear <= 0:
            values = scale_ticks(-self.high, self.high, False, most)
        else:
            last = floor(log10(self.high) + 1e-9)
            first = round(log10(self.linear)) + 1
            step = max(1, -(-(last - first + 1) // max(1, (most - 1) // 2)))
            sizes = [10.0**power for power in range(last, first - 1, -step)] or [self.high]
            values = [*(-size for size in sizes), 0.0, *reversed(sizes)]
        places = self.position(np.array(values, dtype=np.float64))
        return [float(place) for place in places], tick_texts(values)


def bar_above(places: list[float], texts: list[str]) -> dict[str, object]:
    """Return a horizontal colour bar for the upper left corner above the plot.

    It has no title of its own, because Plotly would move the figure's title to make room for that:
    :func:`make_room_above` writes it and makes the room.
    """
    return theme.colour_bar("", places, texts) | {
        "orientation": "h",
        "lenmode": "pixels",
        "len": BAR_LENGTH,
        "thickness": 10,
        "x": 0,
        "xanchor": "left",
        "xpad": 0,
        "y": 1,
        "yanchor": "bottom",
        "ypad": 8,
        "ticklabeloverflow": "allow",
    }


def make_room_above(figure: go.Figure, title: str) -> go.Figure:
    """Make a dressed figure higher for :func:`bar_above` and write the bar's title beside it."""
    figure.add_annotation(
        text=title,
        x=0,
        y=1,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        xshift=BAR_LENGTH + 16,
        yshift=19,
        showarrow=False,
        font={"size": 12},
    )
    return figure.update_layout(
        height=figure.layout.height + BAR_HEIGHT, margin_t=figure.layout.margin.t + BAR_HEIGHT
    )
