"""Sums of products of what layers read, over all calibration samples."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import ceil

import torch
from torch import Tensor

from analysis.errors import QuantizationError, out_of_memory
from analysis.events import Note, Progress, Work
from analysis.models.network import NOTHING
from analysis.models.replay import Plan
from analysis.ptq.layer_inputs import Front, Unfolding
from analysis.ptq.task import PTQTask
from analysis.ptq.wording import sample_count
from analysis.records import Layer


@dataclass(frozen=True, slots=True)
class Products:
    r"""Sums over all rows of products of inputs, (G, D, D) each, in float64.

    ``float_float`` is :math:`X^T X` of the inputs in the float network, ``quantized_quantized``
    :math:`\tilde X^T \tilde X` of those behind the quantized prefix, ``quantized_float``
    :math:`\tilde X^T X`. With a method that only looks at the quantized prefix they are the same.
    """

    float_float: Tensor
    quantized_float: Tensor
    quantized_quantized: Tensor
    rows: int

    @property
    def finite(self) -> bool:
        """Whether every input was finite."""
        every = (self.float_float, self.quantized_float, self.quantized_quantized)
        return all(bool(each.isfinite().all()) for each in every)

    def error(self, weight: Tensor, found: Tensor) -> float:
        r"""Return :math:`\lVert X W^T - \tilde X Q^T \rVert_F / \lVert X W^T \rVert_F`.

        Args:
            weight: W, (G, R, D).
            found: Q, (G, R, D).
        """
        size = float(((weight @ self.float_float) * weight).sum())
        mixed = float(((found @ self.quantized_float) * weight).sum())
        own = float(((found @ self.quantized_quantized) * found).sum())
        return (max(size - 2 * mixed + own, 0.0) / size) ** 0.5 if size > 0 else 0.0


@contextmanager
def naming(layer: Layer, weight: Tensor) -> Iterator[None]:
    """Say of which layer an error is, and how much memory it asks for.

    Args:
        layer: The layer.
        weight: As matrices (G, R, D), in float64.
    """
    try:
        yield
    except QuantizationError as error:
        raise QuantizationError(f"`{layer.name}`: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        groups, _, columns = weight.shape
        mib = groups * columns**2 * weight.element_size() / 2**20
        raise MemoryError(
            f"Products of the {columns:,} inputs of `{layer.name}` must fit in memory several "
            f"times, they take {mib:,.0f} MiB each. Leave its weight in float, or choose a method "
            "that trains roundings."
        ) from error


@dataclass(slots=True)
class LayerInputs:
    """What layers read; ``part`` samples at a time are unfolded, fewer once memory is short."""

    task: PTQTask
    fronts: Sequence[Front]
    batch_size: int
    part: int

    def products(
        self, layer: Layer, unfolding: Unfolding, plan: Plan, place: tuple[int, int]
    ) -> Work[Products]:
        """Sum up the products of a layer's inputs, of the float network too if it has a front."""
        task, call = self.task, layer.calls[0]
        weight = unfolding.matrix(task.network.weight(layer)).double()
        groups, _, columns = weight.shape
        pairs = len(self.fronts) * (len(self.fronts) + 1) // 2
        with naming(layer, weight):
            sums = [weight.new_zeros(groups, columns, columns) for _ in range(pairs)]
        rows = 0
        for start in range(0, task.n, self.batch_size):
            x = task.inputs(range(start, min(start + self.batch_size, task.n)))
            read = [
                front.input_of(start, x, call, own)
                for front, own in zip(self.fronts, (plan, NOTHING), strict=False)
            ]
            found, count = yield from self._of_batch(layer, weight, unfolding, read)
            sums = [a + b for a, b in zip(sums, found, strict=True)]
            rows += count
            yield Progress(*place, "inputs of the layer")
        return Products(sums[-1], sums[len(sums) // 2], sums[0], rows)

    def _of_batch(
        self, layer: Layer, weight: Tensor, unfolding: Unfolding, read: list[Tensor]
    ) -> Work[tuple[list[Tensor], int]]:
        """Return the products of a batch and its rows, in smaller parts where memory is short."""
        while True:
            with naming(layer, weight):
                try:
                    # As a rule whole, whatever the first axis is.
                    part = self.part if self.part < self.batch_size else len(read[0])
                    return summed_products(unfolding, read, part)
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error) or self.part == 1:
                        raise
            self.part = ceil(self.part / 2)
            yield Note(
                f"Memory did not suffice: inputs of `{layer.name}` and what follows are unfolded "
                f"{sample_count(self.part)} at a time."
            )


def summed_products(
    unfolding: Unfolding, read: Sequence[Tensor], part: int
) -> tuple[list[Tensor], int]:
    """Return the products of all pairs of inputs (G, D, D) in float64, and how many rows they have.

    Args:
        unfolding: How an input becomes rows.
        read: Inputs of one batch, samples along the first axis where it must be taken apart.
        part: How many samples are unfolded at a time.
    """
    sums: list[Tensor] = []
    rows = 0
    for parts in zip(*(torch.split(z, part) if len(z) > part else [z] for z in read), strict=True):
        own = [unfolding.rows(z).double() for z in parts]
        rows += own[0].shape[1]
        found = [left.mT @ right for left, right in combinations_with_replacement(own, 2)]
        sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
    return sums, rows
