"""Errors on grids in decibels, as figures, cards and tables write them."""

from dataclasses import replace
from math import log10

import numpy as np

from analysis.records import FloatArray, GridError, RangeExploration

# float32 has 24 bits: what lies beyond 6.02 * 24 + 1.76 dB is the arithmetic's error, not a grid's.
EXACT_DB = 146.0
_LEAST = 10 ** (-EXACT_DB / 10)


def decibels(error: float, signal: float) -> str:
    """Return the SQNR of mean squared errors in words: "47.5 dB", "no error" or "no signal"."""
    if not signal > 0:
        return "no signal"
    return "no error" if error <= _LEAST * signal else f"{10 * log10(signal / error):.1f} dB"


def sqnr(found: GridError) -> str:
    """Return the SQNR of a range in words."""
    return decibels(found.error, found.signal)


def in_sentence(text: str) -> str:
    """Return the words of :func:`decibels` as they stand in a line of facts."""
    return f"SQNR {text}" if text.endswith("dB") else text


def without_noise(exploration: RangeExploration) -> RangeExploration:
    """Return an exploration in which errors beyond :data:`EXACT_DB` are none."""
    least = _LEAST * exploration.signal

    def cleaned(values: FloatArray) -> FloatArray:
        return np.where(values <= least, 0.0, values)

    return replace(
        exploration,
        rounding=cleaned(exploration.rounding),
        clipping=cleaned(exploration.clipping),
        estimators=tuple(
            replace(each, rounding=0.0, clipping=0.0) if each.error <= least else each
            for each in exploration.estimators
        ),
    )
