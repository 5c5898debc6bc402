"""What every sensitivity metric is given, and the registry they enter."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analysis.errors import DataError
from analysis.events import Note, Progress, Work
from analysis.models.network import Network
from analysis.parts import Parts
from analysis.quant.configure import estimate_weight
from analysis.quant.quantizer import Quantizer
from analysis.quant.statistics import ActivationStatistics
from analysis.records import (
    Candidate,
    FloatArray,
    IntArray,
    Layer,
    QuantSettings,
    Record,
    ScoreTable,
)
from analysis.registry import Registry

T = TypeVar("T")
R = TypeVar("R", bound=Record)

CALIBRATION, EVALUATION = "calibration", "evaluation"


@dataclass(frozen=True, slots=True)
class Samples:
    """A set of samples: ``inputs`` returns those with the given numbers, preprocessed, (B, ...).

    ``labels`` are class indices (N,), None where the set has none. ``role`` is ``calibration`` or
    ``evaluation``, ``digest`` identifies the content.
    """

    inputs: Callable[[range], Tensor]
    n: int
    labels: IntArray | None = None
    role: str = CALIBRATION
    digest: str = ""

    def first(self, n: int) -> "Samples":
        """Return the first ``n`` samples, all of them where there are fewer."""
        n = min(n, self.n)
        return replace(self, n=n, labels=None if self.labels is None else self.labels[:n])


def batch_limit(network: Network, memory_mib: int) -> int:
    """Return how many samples' activations fit into so many MiB, at least one.

    Counted are the outputs of all calls in 32 bits, twice: a backward pass holds gradients as well.

    Args:
        network: The network.
        memory_mib: Memory for the activations of one batch, in MiB (2^20 bytes).
    """
    elements = sum(prod(shape) for call in network.trace.calls for shape in call.shapes)
    per_sample = 2 * 4 * elements / network.trace.batch
    return max(1, int(memory_mib * 2**20 / per_sample))


class Shared(Protocol):
    """Where work that several metrics need is done once."""

    def __call__(
        self,
        name: str,
        record: type[R],
        compute: Callable[["SensitivityTask"], Work[R]],
        task: "SensitivityTask",
    ) -> Work[R]:
        """Return the record under a name, computed unless it is known.

        Args:
            name: What is computed, with every option that changes the result or its parts.
            record: Class of the result.
            compute: Computes it from a task like ``task``, with parts of its own.
            task: The task at hand.
        """


def computed_here(
    name: str,
    record: type[R],
    compute: Callable[["SensitivityTask"], Work[R]],
    task: "SensitivityTask",
) -> Work[R]:
    """Share nothing: compute."""
    del name, record
    return (yield from compute(task))


@dataclass(frozen=True, slots=True)
class SensitivityTask:
    """A network, samples and the candidates to score.

    ``candidates`` may be empty for metrics that score layers alone. ``statistics`` are those of the
    calibration set, whatever ``samples`` are. ``parts`` keeps unfinished work, ``shared`` finished
    work that other metrics need as well. No batch holds more than ``limit`` samples.
    ``element_scores`` tell, by layer name, how much an error of every weight counts, where the
    settings' range estimator of weights asks.
    """

    network: Network
    samples: Samples
    candidates: tuple[Candidate, ...]
    settings: QuantSettings
    statistics: ActivationStatistics
    parts: Parts
    shared: "Shared" = computed_here
    limit: int = 1 << 30
    element_scores: Mapping[str, NDArray[Any]] | None = None

    @property
    def n(self) -> int:
        """Number of samples N."""
        return self.samples.n

    def inputs(self, numbers: range) -> Tensor:
        """Return the preprocessed samples with the given numbers, (B, ...)."""
        return self.samples.inputs(numbers)

    def weight_quantizer(self, layer: Layer, format_name: str) -> Quantizer:
        """Return the quantizer of a layer's weight to a format, under the settings."""
        scores = None if self.element_scores is None else self.element_scores.get(layer.name)
        return estimate_weight(self.network, layer, format_name, self.settings, scores)

    def labels(self, metric: str) -> IntArray:
        """Return the labels (N,) for a metric that needs them.

        Raises:
            DataError: If the set has none.
        """
        if self.samples.labels is None:
            raise DataError(
                f"`{metric}` needs labels, the {self.samples.role} set has none. Choose a labelled "
                "set, or a metric that needs no labels."
            )
        return self.samples.labels

    def batches(self, size: int) -> Iterator[range]:
        """Iterate over the sample numbers in batches of ``size``, or what the limit allows."""
        size = min(size, self.limit)
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
