"""Sums of products of what layers read, over all calibration samples."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, isfinite

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

    X are the inputs in the float network, :math:`\tilde X` those behind the quantized prefix:
    ``quantized_quantized`` is :math:`\tilde X^T \tilde X`, ``quantized_float``
    :math:`\tilde X^T X`, and ``outputs`` :math:`\lVert X W^T \rVert_F^2` of the float weight W.
    With a method that only looks at the quantized prefix X is :math:`\tilde X`.
    """

    outputs: float
    quantized_float: Tensor
    quantized_quantized: Tensor
    rows: int

    @property
    def finite(self) -> bool:
        """Whether every input was finite."""
        products = (self.quantized_float, self.quantized_quantized)
        return isfinite(self.outputs) and all(bool(each.isfinite().all()) for each in products)

    def plus(self, other: "Products") -> "Products":
        """Return the products over the rows of both."""
        same = self.quantized_float is self.quantized_quantized
        same &= other.quantized_float is other.quantized_quantized
        squares = self.quantized_quantized + other.quantized_quantized
        mixed = squares if same else self.quantized_float + other.quantized_float
        return Products(self.outputs + other.outputs, mixed, squares, self.rows + other.rows)

    def error(self, weight: Tensor, found: Tensor) -> float:
        r"""Return :math:`\lVert X W^T - \tilde X Q^T \rVert_F / \lVert X W^T \rVert_F`.

        Args:
            weight: W, (G, R, D).
            found: Q, (G, R, D).
        """
        mixed = float(((found @ self.quantized_float) * weight).sum())
        own = float(((found @ self.quantized_quantized) * found).sum())
        left = max(self.outputs - 2 * mixed + own, 0.0)
        return (left / self.outputs) ** 0.5 if self.outputs > 0 else 0.0


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
        with naming(layer, weight):
            total = _no_products(weight)
        for start in range(0, task.n, self.batch_size):
            x = task.inputs(range(start, min(start + self.batch_size, task.n)))
            read = [
                front.input_of(start, x, call, own)
                for front, own in zip(self.fronts, (plan, NOTHING), strict=False)
            ]
            found = yield from self._of_batch(layer, weight, unfolding, read)
            total = total.plus(found)
            yield Progress(*place, "inputs of the layer")
        return total

    def _of_batch(
        self, layer: Layer, weight: Tensor, unfolding: Unfolding, read: list[Tensor]
    ) -> Work[Products]:
        """Return the products of a batch, in smaller parts where memory is short."""
        while True:
            with naming(layer, weight):
                try:
                    # As a rule whole, whatever the first axis is.
                    part = self.part if self.part < self.batch_size else len(read[0])
                    return summed_products(unfolding, weight, read, part)
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error) or self.part == 1:
                        raise
            self.part = ceil(self.part / 2)
            yield Note(
                f"Memory did not suffice: inputs of `{layer.name}` and what follows are unfolded "
                f"{sample_count(self.part)} at a time."
            )


def summed_products(
    unfolding: Unfolding, weight: Tensor, read: Sequence[Tensor], part: int
) -> Products:
    """Return the products of one batch.

    Args:
        unfolding: How an input becomes rows.
        weight: Float weight (G, R, D), in float64.
        read: Inputs behind the quantized prefix and, if they are others, in the float network;
            samples along the first axis where they must be taken apart.
        part: How many samples are unfolded at a time.
    """
    total = _no_products(weight)
    for parts in zip(*(torch.split(z, part) if len(z) > part else [z] for z in read), strict=True):
        own = [unfolding.rows(z) for z in parts]
        quantized, plain = own[0], own[-1]
        squares = quantized.mT @ quantized
        mixed = squares if plain is quantized else quantized.mT @ plain
        outputs = float((plain @ weight.mT).square().sum())
        total = total.plus(Products(outputs, mixed, squares, quantized.shape[1]))
    return total


def _no_products(weight: Tensor) -> Products:
    groups, _, columns = weight.shape
    zero = weight.new_zeros(groups, columns, columns)
    return Products(0.0, zero, zero, 0)
