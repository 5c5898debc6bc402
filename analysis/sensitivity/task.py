"""What every sensitivity metric is given, and the registry they enter."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from torch import Tensor

from analysis.events import Note, Progress, Work
from analysis.models.network import Network
from analysis.quant.statistics import ActivationStatistics
from analysis.records import Candidate, FloatArray, QuantSettings, ScoreTable
from analysis.registry import Registry

T = TypeVar("T")


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


def in_batches(
    task: SensitivityTask,
    size: int,
    steps: int,
    compute: Callable[[range], Work[Mapping[str, FloatArray]]],
) -> Work[dict[str, FloatArray]]:
    """Compute arrays with one row per sample batch by batch, and join their rows.

    Every finished batch is kept, so that an interrupted computation goes on after it.

    Args:
        task: The samples, and where finished batches are kept.
        size: Samples per batch.
        steps: Units of progress that ``compute`` counts within one batch.
        compute: Returns arrays (B, ...) by name for the samples with the given numbers.

    Returns:
        Arrays (N, ...) by name.
    """
    batches = list(task.batches(size))
    finished: list[Mapping[str, FloatArray]] = []
    kept = 0
    for number, batch in enumerate(batches):
        part = task.parts.load(f"batch-{number}")
        if part is None:
            if kept == number > 0:
                yield Note(f"{kept} of {len(batches)} batches are kept from an earlier run.")
            part = yield from _shifted(compute(batch), number * steps, len(batches) * steps)
            task.parts.save(f"batch-{number}", part)
        else:
            kept += 1
        finished.append(part)
        message = f"samples {batch.start + 1} to {batch.stop} of {task.n}"
        yield Progress((number + 1) * steps, len(batches) * steps, message)
    return {name: np.concatenate([part[name] for part in finished]) for name in finished[0]}


def _shifted(work: Work[T], before: int, total: int) -> Work[T]:
    """Run the work of one batch, its progress counted within the whole."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return cast(T, end.value)
        yield (
            Progress(before + event.done, total, event.message)
            if isinstance(event, Progress)
            else event
        )


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
