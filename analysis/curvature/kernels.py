"""Every sample's own gradient of a kernel, from what a call reads and the gradient it gets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a convolution or linear call reads, and how its kernel moves over it.

    ``value`` is the call's input, ``shape`` that of the weight. ``by_sample`` brings the samples
    of the call's input or output to the first axis. A linear call has no ``stride``.
    """

    value: Tensor
    shape: tuple[int, ...]
    by_sample: Callable[[Tensor], Tensor]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    transposed: bool = False

    @classmethod
    def of(
        cls,
        output: Tensor,
        value: Tensor,
        shape: tuple[int, ...],
        by_sample: Callable[[Tensor], Tensor],
    ) -> "Reading":
        """Take from the node that made a call's output how the kernel moved.

        To be called before the last backward pass gives the graph up.
        """
        node: Any = output.grad_fn
        if not hasattr(node, "_saved_dilation"):
            return cls(value, shape, by_sample)
        names = ("stride", "padding", "dilation", "groups", "transposed")
        how = {name: getattr(node, f"_saved_{name}") for name in names}
        # The node's own input is the padded one where torch had to pad unevenly.
        return cls(node._saved_input.detach(), shape, by_sample, **how)

    def pairs(self) -> Callable[[Tensor], Pair]:
        """Return a function from the gradient at the output to factors of the weight's gradient.

        The factors are (N, G, O, P) and (N, G, P, I), G groups and P positions; their products
        are every sample's gradients of the weight, one row per index of its first axis.
        """
        x = self.by_sample(self.value)
        if not self.stride:
            columns = _features(x).mT
            return lambda g: (_features(self.by_sample(g)), columns)
        if self.transposed:
            # Every input element meets the window of outputs that it was spread over.
            rows, places = self._channels(x), tuple(x.shape[3:])
            return lambda g: (rows, self._windows(self.by_sample(g), places))
        windows = self._windows(x, None)
        return lambda g: (self._channels(self.by_sample(g)), windows)

    def _channels(self, z: Tensor) -> Tensor:
        """Return (N, M, C, ...) as (N, G, C / G, P)."""
        n, merged, channels = z.shape[:3]
        z = z.reshape(n, merged, self.groups, channels // self.groups, -1)
        return z.permute(0, 2, 3, 1, 4).flatten(3)

    def _windows(self, z: Tensor, places: tuple[int, ...] | None) -> Tensor:
        """Return the windows of (N, M, C, ...), padded with zeros, as (N, G, P, C / G * kernel).

        Args:
            z: What the kernel moves over.
            places: How many windows along every axis count; all if None.
        """
        n, merged, channels = z.shape[:3]
        axes = len(self.stride)
        z = F.pad(z.flatten(0, 1), [p for p in reversed(self.padding) for _ in range(2)])
        for i, (k, step, apart) in enumerate(
            zip(self.shape[2:], self.stride, self.dilation, strict=True)
        ):
            z = z.unfold(2 + i, (k - 1) * apart + 1, step)[..., ::apart]
            z = z if places is None else z.narrow(2 + i, 0, places[i])
        z = z.reshape(n, merged, self.groups, channels // self.groups, *z.shape[2:])
        spatial = range(4, 4 + axes)
        kernel = range(4 + axes, 4 + 2 * axes)
        z = z.permute(0, 2, 1, *spatial, 3, *kernel)
        return z.reshape(n, self.groups, -1, channels // self.groups * prod(self.shape[2:]))


def squares(readings: Sequence[Reading], gradients: Sequence[Sequence[Tensor]]) -> Tensor:
    r"""Return the squares of all samples' gradients of a weight, summed over samples and probes.

    The gradient of sample n is :math:`\sum_p g_{np} x_{np}^T` over the positions p of all calls;
    where there is but one position, its square is the product of the squares.

    Args:
        readings: What each of the calls that read the weight reads.
        gradients: For each of K probes, the gradients at what these calls return.

    Returns:
        Tensor of the weight's shape, in float64.
    """
    factors = [reading.pairs() for reading in readings]
    total: Tensor | None = None
    for found in gradients:
        pairs = [pair(gradient) for pair, gradient in zip(factors, found, strict=True)]
        each = _squared(pairs)
        total = each if total is None else total + each
    assert total is not None
    return total.reshape(readings[0].shape)


def _squared(pairs: Sequence[Pair]) -> Tensor:
    """Return the squared products, summed over samples, (G, O, I) in float64."""
    if len(pairs) == 1 and pairs[0][0].shape[3] == 1:
        rows, columns = (part.square().transpose(0, 1).flatten(2) for part in pairs[0])
        return (rows.mT @ columns).double()
    gradient = sum((rows @ columns for rows, columns in pairs[1:]), pairs[0][0] @ pairs[0][1])
    return gradient.square_().sum(0, dtype=torch.float64)


def _features(z: Tensor) -> Tensor:
    """Return what a linear call reads or returns, (N, ..., F), as (N, 1, F, P)."""
    return z.reshape(len(z), 1, -1, z.shape[-1]).mT
