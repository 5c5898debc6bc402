"""Running steps in tests."""

from typing import TypeVar

import numpy as np

from analysis.events import Work
from analysis.records import FloatArray

T = TypeVar("T")


def finish(work: Work[T]) -> T:
    """Run a step to its end and return its value."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


class CountedParts:
    """Keeps parts in memory and remembers which were asked for and which were saved."""

    def __init__(self) -> None:
        self.arrays: dict[str, dict[str, FloatArray]] = {}
        self.saved: list[str] = []
        self.loaded: list[str] = []

    def load(self, name: str) -> dict[str, FloatArray] | None:
        if name not in self.arrays:
            return None
        self.loaded.append(name)
        return self.arrays[name]

    def save(self, name: str, arrays: dict[str, FloatArray]) -> None:
        self.saved.append(name)
        self.arrays[name] = {key: np.array(value) for key, value in arrays.items()}
