"""Values turned into colour codes, with the ticks that read the codes back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.plots import theme
from analysis.plots.labels import is_wide, scale_ticks, tick_texts
from analysis.records import FloatArray

NO_VALUE = 0
LOWEST, HIGHEST = 1, 255

# Code 0 is no value: its own colour, with a sharp edge to the scale above it.
EDGE = (LOWEST - 0.5) / HIGHEST
SCALE: list[tuple[float, str]] = [
    (0.0, theme.MISSING),
    (EDGE, theme.MISSING),
    *((EDGE + (1 - EDGE) * step, colour) for step, colour in theme.SCALE),
]


@dataclass(frozen=True, slots=True)
class Coding:
    """A monotone map from values to 1..255; 0 stands for a value that is not a finite number.

    ``low`` and ``high`` are the values at the ends. Zeros, which have no logarithm, are drawn at
    the lower end of a logarithmic coding; ``zeros`` counts them.
    """

    low: float
    high: float
    logarithmic: bool
    zeros: int

    @classmethod
    def of(cls, values: FloatArray) -> "Coding":
        """Choose the coding for values of any shape.

        Logarithmic when no value is negative and the positive ones lie more than 100 times apart.
        """
        known = values[np.isfinite(values)]
        if not known.size:
            return cls(0.0, 0.0, logarithmic=False, zeros=0)
        positive = known[known > 0]
        if known.min() >= 0 and is_wide(positive):
            zeros = int(known.size - positive.size)
            return cls(float(positive.min()), float(positive.max()), logarithmic=True, zeros=zeros)
        return cls(float(known.min()), float(known.max()), logarithmic=False, zeros=0)

    def position(self, values: FloatArray) -> FloatArray:
        """Return unrounded codes in 1..255, NaN where a value is not finite."""
        known = np.where(np.isfinite(values), values, np.nan)
        if self.logarithmic:
            low, high = np.log10(self.low), np.log10(self.high)
            known = np.log10(np.clip(known, self.low, None))
        else:
            low, high = self.low, self.high
        span = high - low
        share = (known - low) / span if span > 0 else np.where(np.isnan(known), np.nan, 0.5)
        return np.asarray(LOWEST + share * (HIGHEST - LOWEST), dtype=np.float64)

    def codes(self, values: FloatArray) -> NDArray[np.uint8]:
        """Return codes as bytes, :data:`NO_VALUE` where a value is not finite."""
        return np.nan_to_num(np.rint(self.position(values)), nan=NO_VALUE).astype(np.uint8)

    def ticks(self) -> tuple[list[float], list[str]]:
        """Return the codes of round values and the texts of these values."""
        values = scale_ticks(self.low, self.high, self.logarithmic)
        codes = self.position(np.array(values, dtype=np.float64))
        return [float(code) for code in codes], tick_texts(values)
