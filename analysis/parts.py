"""Where an interrupted computation finds what it has finished."""

from collections.abc import Mapping
from time import perf_counter
from typing import Protocol

import numpy as np

from analysis.records import FloatArray

_CLOCK = "clock"


class Parts(Protocol):
    """Finished parts of a computation, kept so that an interrupted one resumes."""

    def load(self, name: str) -> Mapping[str, FloatArray] | None:
        """Return a part's arrays by name, None if it was not computed yet."""

    def save(self, name: str, arrays: Mapping[str, FloatArray]) -> None:
        """Keep a part's arrays."""


class TimedParts:
    """Parts that know how long the work has taken, what was lost between two runs left out."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        kept = parts.load(_CLOCK)
        self._before = 0.0 if kept is None else float(kept["seconds"])
        self._begin = perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of all runs up to their last part, and of this one until now."""
        return self._before + perf_counter() - self._begin

    def load(self, name: str) -> Mapping[str, FloatArray] | None:
        """Return a part's arrays by name, None if it was not computed yet."""
        return self.parts.load(name)

    def save(self, name: str, arrays: Mapping[str, FloatArray]) -> None:
        """Keep a part's arrays, and the time that it took."""
        self.parts.save(name, arrays)
        self.parts.save(_CLOCK, {"seconds": np.array(self.seconds)})
