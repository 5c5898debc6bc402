"""What every sensitivity metric is given, and the registry they enter."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from analysis.events import Work
from analysis.models.network import Network
from analysis.quant.statistics import ActivationStatistics
from analysis.records import Candidate, FloatArray, QuantSettings, ScoreTable
from analysis.registry import Registry


class Parts(Protocol):
    """Finished parts of a computation, kept so that an interrupted one resumes."""

    def load(self, name: str) -> Mapping[str, FloatArray] | None:
        """Return a part's arrays by name, None if it was not computed yet."""

    def save(self, name: str, arrays: Mapping[str, FloatArray]) -> None:
        """Keep a part's arrays."""


@dataclass(frozen=True, slots=True)
class SensitivityTask:
    """A network, its calibration samples and the candidates to score.

    ``inputs`` returns the preprocessed samples with the given numbers, (B, ...). ``candidates`` may
    be empty for metrics that score layers alone. ``parts`` keeps unfinished work.
    """

    network: Network
    inputs: Callable[[range], Tensor]
    n: int
    candidates: tuple[Candidate, ...]
    settings: QuantSettings
    statistics: ActivationStatistics
    calibration: str
    parts: Parts

    def batches(self, size: int) -> Iterator[range]:
        """Iterate over the sample numbers in batches."""
        for first in range(0, self.n, size):
            yield range(first, min(first + size, self.n))


class NoParts:
    """Keeps nothing: every computation starts over."""

    def load(self, name: str) -> Mapping[str, FloatArray] | None:
        """Know no part."""
        del name
        return None

    def save(self, name: str, arrays: Mapping[str, FloatArray]) -> None:
        """Forget a part."""
        del name, arrays


Metric = Callable[[SensitivityTask, Any], Work[ScoreTable]]
METRICS: Registry[Metric] = Registry("metric")


def standard_error(rows: FloatArray) -> FloatArray | None:
    """Return the standard error of the mean over the first axis, None for a single sample."""
    if len(rows) < 2:
        return None
    return np.asarray(rows.std(axis=0, ddof=1) / np.sqrt(len(rows)), dtype=np.float64)
