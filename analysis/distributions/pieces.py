"""Pieces of work: large tensors are counted and summed up in parts that fit into the cache."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import floor, frexp, prod
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.distributions.tally import BINS, SPARE, tally
from analysis.records import FloatArray

# Where a piece lies in a tensor of shape (before, channels, after).
Piece: TypeAlias = tuple[slice, slice, slice]

# No width is below 2^-120, so that its inverse is a float32, nor holds a value 2^22 of them.
NARROWEST, _FINEST = -120, 22
# Half the range holds less than 2^8 widths, or the bins would not do.
_FINEST_OF_RANGE = 8
# Large enough that calling costs little, small enough for the last cache.
_SIZE, _MOST_CHANNELS = 1 << 20, 512
_SHORT_ROW = 256


def by_channel(values: Tensor, axis: int | None) -> Tensor:
    """Return the values as (before, C, after) in float32 or float64, copied if need be."""
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    if axis is None:
        return values.reshape(1, 1, -1)
    last = values.movedim(axis, -1)
    if last.is_contiguous():
        return last.reshape(-1, last.shape[-1]).t()[None]
    axis %= values.dim()
    before, after = values.shape[:axis], values.shape[axis + 1 :]
    return values.reshape(prod(before), values.shape[axis], prod(after))


def reduced(reduce: Callable[..., Tensor], parts: Tensor) -> Tensor:
    """Reduce (before, C, after) to (C,)."""
    # Torch is slow over both axes at once, and over short rows.
    if len(parts) > 1 and parts.shape[-1] < _SHORT_ROW:
        return reduce(reduce(parts, 0), -1)
    return reduce(reduce(parts, -1), 0)


def as_array(values: Tensor) -> FloatArray:
    """Return a tensor's values in float64."""
    return np.asarray(values.double().cpu().numpy())


def pieces(parts: Tensor) -> Iterator[Piece]:
    """Cut (before, C, after) into pieces of work of about one size, near each other in memory."""
    before, channels, after = parts.shape
    if parts.stride(1) < parts.stride(2):
        wide = _even(channels, _MOST_CHANNELS)
        long = _even(after, _SIZE // wide)
    else:
        long = _even(after, _SIZE)
        wide = _even(channels, min(_SIZE // long, _MOST_CHANNELS))
    high = _even(before, _SIZE // (long * wide))
    for i in range(0, before, high):
        for c in range(0, channels, wide):
            for j in range(0, after, long):
                yield slice(i, i + high), slice(c, c + wide), slice(j, j + long)


def _even(total: int, most: int) -> int:
    """Return the size of the fewest equal parts of at most ``most``."""
    return -(-total // -(-total // most))


@dataclass(frozen=True, slots=True)
class Window:
    """The bins that there are, and what sums are taken about.

    Of all ``BINS``, bin b holds the values in [first + b, first + b + 1) times ``width``, which is
    a power of two. ``shift`` (C,) is in units of the width and of the tensor's precision.
    """

    first: int
    width: float
    shift: NDArray[np.floating[Any]]

    def holds(self, low: float, high: float) -> bool:
        """Tell whether all values between two have a bin; NaN has none."""
        return self.first * self.width <= low and high < (self.first + BINS) * self.width


def smallest_exponent(low: float, high: float) -> int:
    """Return the exponent of the smallest width with which all values lie in the bins."""
    largest, half = max(-low, high), high / 2 - low / 2
    exponent = NARROWEST
    for size, finer in ((largest, _FINEST), (half, _FINEST_OF_RANGE)):
        if size > 0:
            exponent = max(exponent, frexp(size)[1] - finer)
    while floor(high / 2.0**exponent) - floor(low / 2.0**exponent) >= BINS:
        exponent += 1
    return exponent


def window(first: int, width: float, centre: FloatArray, like: Tensor) -> Window:
    """Return the window whose shifts are the centres (C,), rounded to the tensor's precision."""
    precision = np.float32 if like.dtype == torch.float32 else np.float64
    return Window(first, width, (centre / width).astype(precision))


@dataclass(frozen=True, slots=True)
class Measured:
    """What a piece holds: extremes (C,), and if the window holds them, the rest.

    ``counts`` (C, bins), ``powers`` (4, C), sums of the powers 1 to 4 of what lies between a value
    and the shift, in units of the width, and the number of ``zeros``.
    """

    low: FloatArray
    high: FloatArray
    counts: NDArray[np.int32] | None = None
    powers: FloatArray | None = None
    zeros: int = 0


def measured(part: Tensor, bins: Window, channels: slice) -> Measured:
    """Look at a piece (before, C, after) that holds some of a tensor's channels."""
    low, high = (as_array(reduced(find, part)) for find in (torch.amin, torch.amax))
    least, most = low.min(), high.max()
    if not bins.holds(least, most):
        return Measured(low, high)
    shift = bins.shift[channels]
    counts = np.zeros((len(shift), BINS + SPARE), np.int32)
    powers = np.zeros((4, len(shift)))
    tally(
        part.numpy(force=True),
        shift.dtype.type(1 / bins.width),
        bins.first,
        shift,
        counts,
        powers,
    )
    zeros = counts[:, BINS:].sum(1)
    if zeros.any():
        counts[:, -bins.first] += zeros
    return Measured(low, high, counts[:, :BINS], powers, int(zeros.sum()))
