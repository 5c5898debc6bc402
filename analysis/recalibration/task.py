"""What every recalibration is given, and the registry they enter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from analysis.errors import QuantizationError
from analysis.events import Note, Work
from analysis.models.network import Network
from analysis.registry import Registry


@dataclass(frozen=True, slots=True)
class RecalibrationTask:
    """A network and its ``n`` calibration samples.

    ``inputs`` returns the preprocessed calibration samples with the given numbers, (B, ...). One
    batch of at most ``batch_size`` samples is held at a time.

    Raises:
        QuantizationError: If there are no samples.
    """

    network: Network
    inputs: Callable[[range], Tensor]
    n: int
    batch_size: int = 128

    def __post_init__(self) -> None:
        """Check that there are samples."""
        if self.n < 1 or self.batch_size < 1:
            raise QuantizationError(
                "A recalibration needs at least one calibration sample a batch, got "
                f"{self.n} samples in batches of {self.batch_size}."
            )

    @property
    def num_batches(self) -> int:
        """Number of batches of one pass."""
        return -(-self.n // self.batch_size)

    def batches(self) -> Iterator[Tensor]:
        """Iterate over the calibration set once."""
        for start in range(0, self.n, self.batch_size):
            yield self.inputs(range(start, min(start + self.batch_size, self.n)))

    def first_batch(self) -> Tensor:
        """Return the first batch."""
        return self.inputs(range(min(self.n, self.batch_size)))


Recalibration = Callable[[RecalibrationTask, Any], Work[Network]]
RECALIBRATIONS: Registry[Recalibration] = Registry("recalibration")


def many(count: int, what: str) -> str:
    """Return the count with its noun in the singular or plural ("1 pair", "6 pairs")."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def change_of_logits(task: RecalibrationTask, network: Network) -> Note:
    """Say how far a network's logits are from the task's own network's, on the first batch."""
    x = task.first_batch()
    with torch.no_grad():
        before, after = task.network(x), network(x)
    largest = max(float(before.abs().max()), 1e-12)
    change = float((after - before).abs().max()) / largest
    agree = float((after.argmax(1) == before.argmax(1)).double().mean())
    return Note(
        f"In float the logits of {many(len(x), 'sample')} change by at most {change:.2g} of the "
        f"largest; {agree:.1%} keep their class."
    )
