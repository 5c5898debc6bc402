"""The distribution of a tensor that arrives in pieces, in one pass and with exact counts.

Bins are aligned to whole multiples of their width, which is a power of two. Where a value falls
outside, the width doubles until everything fits, and bins merge two by two without a count ever
being split, so that no pass for the range is needed beforehand: the bins only depend on the
smallest and the largest value, not on the order in which values came. Finer bins would not fit,
thus more than half of :data:`BINS` lie between the extremes, unless they would be narrower than
2^-21 of the largest magnitude (four steps of float32) or than 2^-120. Scaling by a power of two and
rounding down are exact in floating point, so every value is in the bin that it belongs to; only
negative values that underflow when divided by the width are counted with zero.
"""

from collections.abc import Iterator
from concurrent.futures import Executor
from math import floor, frexp
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.distributions.pieces import (
    NARROWEST,
    Measured,
    Piece,
    Window,
    as_array,
    by_channel,
    measured,
    pieces,
    reduced,
    smallest_exponent,
    window,
)
from analysis.distributions.tally import BINS
from analysis.errors import QuantizationError
from analysis.quant.configure import one_thread
from analysis.records import FloatArray
from analysis.records.distributions import STATISTICS, Distribution

Counts: TypeAlias = NDArray[np.integer[Any]]
_CONSTANT_FINENESS = 7
# One in so many values along either axis shows where the first ones lie.
_SAMPLED = 16
_POWERS = np.arange(5.0)[:, None]


class Accumulator:
    """Gathers the values of one tensor, per channel and as a whole.

    Sums of powers are taken about the mean of what came before, of a sample of the first values,
    in the precision of the tensor over a piece and in float64 across pieces; quantiles come from a
    table of bins per channel. ``reason`` says why a tensor cannot be described: what came first
    decides, later values are ignored. Where it is still empty at the end, :meth:`finish` gives the
    distribution.

    Args:
        title: What to call the tensor.
        workers: Threads that share the work, None for this one only.
    """

    def __init__(self, title: str, workers: Executor | None = None) -> None:
        self.title, self.reason = title, "is empty"
        self._workers = workers
        self._count = self._zeros = 0
        # The width is 2^exponent, the first bin begins at so many widths.
        self._exponent, self._first = NARROWEST, 0

    def _begin(self, parts: Tensor) -> None:
        """Guess from a sample of the first values where the others lie."""
        before, channels, after = parts.shape
        sample = parts[: 1 + before // _SAMPLED, :, : 1 + after // _SAMPLED]
        find = (torch.amin, torch.amax, torch.mean)
        self._low, self._high, self._centre = (as_array(reduced(each, sample)) for each in find)
        self._table: Counts = np.zeros((channels, BINS), np.int32)
        # Sums of (value - centre)^p for p = 0 to 4, (5, C).
        self._sums = np.zeros((5, channels))
        if self._finite:
            self._widen()

    def update(self, values: Tensor, axis: int | None = None) -> None:
        """Take in more values.

        Args:
            values: Any shape that has the same number of channels every time.
            axis: The axis of the channels; None for a tensor without.
        """
        if self.reason not in ("", "is empty") or values.numel() == 0:
            return
        values = values.detach()
        if not values.is_floating_point():
            self.reason = f"holds {_kind(values.dtype)} ({str(values.dtype).rpartition('.')[2]})"
            return
        parts = by_channel(values, axis)
        with one_thread():
            if not self._count:
                self._begin(parts)
            self._add(parts)
        if not self._finite:
            nan = np.isnan(self._low).any()
            self.reason = "holds NaN" if nan else "holds infinite values"
            return
        self._widen()
        self._count += parts.numel()
        self.reason = ""

    def finish(self) -> Distribution:
        """Return the distribution of all values so far.

        Raises:
            QuantizationError: If there is a ``reason`` why the tensor cannot be described.
        """
        if self.reason:
            raise QuantizationError(
                f"A tensor must hold finite floating-point values to be described, `{self.title}` "
                f"{self.reason}. Leave it out or look where these values come from."
            )
        low, high = float(self._low.min()), float(self._high.max())
        width = 2.0**self._exponent
        least, most = floor(low / width), floor(high / width)
        start, counts = least * width, self._table.sum(0, dtype=np.int64)
        counts = counts[least - self._first : most - self._first + 1]
        whole, channels = self._statistics()
        for quantile, share in (("q01", 0.01), ("q99", 0.99)):
            if low >= 0 and self._zeros >= share * self._count:
                whole[STATISTICS.index(quantile)] = 0.0  # exactly: zeros are counted by themselves
        if low == high:
            # The narrowest bin would not be seen.
            width = 2.0 ** (frexp(low)[1] - _CONSTANT_FINENESS) if low else 1.0
            start = floor(low / width) * width
        return Distribution(
            title=self.title,
            count=self._count,
            zeros=self._zeros,
            statistics=whole,
            channels=channels,
            start=start,
            width=width,
            counts=counts.astype(np.float64),
        )

    @property
    def _finite(self) -> bool:
        return bool(np.isfinite(self._low).all() and np.isfinite(self._high).all())

    def _add(self, parts: Tensor) -> None:
        """Count and sum up values, making room for them on the way."""
        waiting = list(pieces(parts))
        sums = np.zeros_like(self._sums)
        sums[0] = parts.numel() // parts.shape[1]
        if self._count + parts.numel() >= 1 << 31:
            self._table = self._table.astype(np.int64, copy=False)
        while waiting:
            width, late = 2.0**self._exponent, []
            bins = window(self._first, width, self._centre, parts)
            for place, found in self._looked_at(parts, waiting, bins):
                channels = place[1]
                self._low[channels] = np.minimum(self._low[channels], found.low)
                self._high[channels] = np.maximum(self._high[channels], found.high)
                if found.counts is None or found.powers is None:
                    late.append(place)
                    continue
                self._table[channels] += found.counts
                sums[1:, channels] += found.powers * width ** _POWERS[1:]
                self._zeros += found.zeros
            waiting = late
            if late:
                if not self._finite:
                    return
                self._widen()
        # What was subtracted is the centre in the tensor's own precision, the same for every width.
        centre = bins.shift.astype(np.float64) * width
        total = self._sums[0] + sums[0]
        mean = (self._sums[0] * self._centre + self._sums[1] + sums[0] * centre + sums[1]) / total
        self._sums = _moved(self._sums, self._centre - mean) + _moved(sums, centre - mean)
        self._centre = mean

    def _looked_at(
        self, parts: Tensor, places: list[Piece], bins: Window
    ) -> Iterator[tuple[Piece, Measured]]:
        """Measure pieces, several at a time where there are workers."""

        def measure(place: Piece) -> Measured:
            return measured(parts[place], bins, place[1])

        run = map if self._workers is None or len(places) == 1 else self._workers.map
        return zip(places, run(measure, places), strict=True)

    def _widen(self) -> None:
        """Make the bins hold everything between the extremes."""
        low, high = float(self._low.min()), float(self._high.max())
        exponent = max(self._exponent, smallest_exponent(low, high))
        doublings = exponent - self._exponent
        least, most = floor(low / 2.0**exponent), floor(high / 2.0**exponent)
        fits = self._first <= least and most < self._first + BINS
        if fits and not doublings:
            return
        # Room on both sides spares moving the bins soon again; nothing comes below a ReLU's zero.
        first = least - (BINS - 1 - most + least) // 2 if low < 0 else least
        used = np.flatnonzero(self._table.any(0))
        table = np.zeros_like(self._table)
        if len(used):
            places = (self._first + used >> min(doublings, 62)) - first
            begins = np.flatnonzero(np.diff(places, prepend=-1))
            table[:, places[begins]] = np.add.reduceat(self._table[:, used], begins, axis=1)
        self._table, self._first, self._exponent = table, first, exponent

    def _statistics(self) -> tuple[FloatArray, FloatArray]:
        """Return the statistics of the whole (7,) and of the channels (7, C)."""
        sums, centre = self._sums.copy(), self._centre.copy()
        # Sums over a constant channel would leave the traces of rounding.
        constant = self._low == self._high
        sums[1:, constant], centre[constant] = 0.0, self._low[constant]
        mean = centre.mean(keepdims=True)
        together = _moved(sums, centre - mean).sum(1, keepdims=True)
        table = self._table.sum(0, dtype=np.int64, keepdims=True)
        ends = self._low.min(keepdims=True), self._high.max(keepdims=True)
        bins = self._first, 2.0**self._exponent
        whole = _described(table, *bins, together, mean, *ends)
        return whole[:, 0], _described(self._table, *bins, sums, centre, self._low, self._high)


def weight_distribution(weight: Tensor, axis: int | None, title: str) -> Distribution:
    """Return the distribution of a tensor that is there as a whole.

    Args:
        weight: Floating-point values of any shape.
        axis: The axis of the channels; None for one channel.
        title: What to call it.

    Raises:
        QuantizationError: If it is empty or not finite, or holds whole numbers.
    """
    accumulator = Accumulator(title)
    accumulator.update(weight, axis)
    return accumulator.finish()


def binned(distribution: Distribution, most: int) -> tuple[FloatArray, FloatArray]:
    """Return edges (b + 1,) and counts (b,) of a histogram of at most ``most`` bars, b >= 1.

    Neighbouring bins are merged, 2^k at a time, so that counts stay exact and edges whole
    multiples of the bars' width.
    """
    if most < 2:
        raise ValueError(f"most must be at least 2, got {most}")
    first = round(distribution.start / distribution.width)
    places = first + np.arange(len(distribution.counts))
    width = distribution.width
    while places[-1] - places[0] + 1 > most:
        places, width = places >> 1, width * 2
    edges = np.arange(places[0], places[-1] + 2) * width
    counts = np.bincount(places - places[0], weights=distribution.counts)
    return edges, np.asarray(counts, np.float64)


def _kind(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "truth values"
    return "complex numbers" if dtype.is_complex else "whole numbers"


def _moved(sums: FloatArray, by: FloatArray) -> FloatArray:
    """Return the sums of (d + by)^p, p = 0 to 4, from those of d^p, both (5, C)."""
    n, one, two, three, four = sums
    return np.stack(
        [
            n,
            one + by * n,
            two + by * (2 * one + by * n),
            three + by * (3 * two + by * (3 * one + by * n)),
            four + by * (4 * three + by * (6 * two + by * (4 * one + by * n))),
        ]
    )


def _described(
    table: Counts,
    first: int,
    width: float,
    sums: FloatArray,
    centre: FloatArray,
    low: FloatArray,
    high: FloatArray,
) -> FloatArray:
    """Return the statistics (7, C) of channels."""
    n, one, two, _, four = sums
    variance = np.maximum(two, 0.0) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        kurtosis = np.where(variance > 0, four / n / variance**2, np.nan)
    reached = table.cumsum(1, dtype=np.int64)
    tails = [np.clip(_quantile(reached, p, first) * width, low, high) for p in (1, 99)]
    rows = [low, high, np.clip(centre + one / n, low, high), np.sqrt(variance), kurtosis, *tails]
    return np.asarray(np.stack(rows), np.float64)


def _quantile(reached: NDArray[np.int64], percent: int, first: int) -> FloatArray:
    """Return where the smallest value lies that ``percent`` of the values do not exceed, in bins.

    ``reached`` (C, bins) are cumulated counts. Within its bin a value is placed by its rank.
    """
    rank = -(-reached[:, -1] * percent // 100)
    place = (reached >= rank[:, None]).argmax(1)
    row = np.arange(len(place))
    before = np.where(place > 0, reached[row, place - 1], 0)
    return np.asarray(first + place + (rank - before - 0.5) / (reached[row, place] - before))
