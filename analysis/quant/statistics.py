"""What calibration leaves behind: the range and histogram of every activation tensor."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from analysis.errors import QuantizationError
from analysis.events import Progress, Work
from analysis.models.calls import Slot
from analysis.models.network import Network
from analysis.models.replay import Plan
from analysis.quant.ranges import Samples
from analysis.records import FloatArray, Record

BINS = 2048
# torch.histc counts in the input's dtype: float32 holds whole numbers up to 2^24.
_CHUNK = 1 << 23


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationStatistics(Record):
    """Distributions of T activation tensors over ``n`` calibration samples.

    ``low`` and ``high`` (T,) are the extremes; ``counts`` (T, bins) is the histogram of the
    non-zero values between them, ``zeros`` (T,) the number of exact zeros. Rows follow the table's
    tensors.
    """

    n: int
    low: FloatArray
    high: FloatArray
    counts: FloatArray
    zeros: FloatArray
    schema: int = 1

    def samples(self, tensor: int) -> Samples:
        """Return the distribution of one tensor as a weighted sample of one channel.

        The extremes are in it exactly, so that min-max ranges are exact.
        """
        low, high = float(self.low[tensor]), float(self.high[tensor])
        width = (high - low) / BINS
        centres = low + width * (np.arange(BINS) + 0.5)
        counts = np.concatenate([[self.zeros[tensor], 0.0, 0.0], self.counts[tensor]])
        # The outermost values are counted at their true place instead of their bin's centre.
        for place, edge in ((1, 3), (2, -1)):
            if counts[edge] > 0:
                counts[place], counts[edge] = 1.0, counts[edge] - 1.0
        values = np.concatenate([[0.0, low, high], centres])
        return Samples(
            torch.from_numpy(values)[None],
            torch.from_numpy(counts)[None],
            torch.tensor([[0.0] * 3 + [width] * BINS], dtype=torch.float64),
        )


def collect_statistics(
    network: Network, batches: Callable[[], Iterable[Tensor]], num_batches: int
) -> Work[ActivationStatistics]:
    """Run the calibration set twice: once for the extremes, once for histograms between them.

    Args:
        network: The folded network.
        batches: Called once per pass; gives the preprocessed batches.
        num_batches: Their number, for progress.

    Raises:
        QuantizationError: If there are no samples, or an activation is not finite.
    """
    tensors = network.table.tensors
    slots: list[Slot] = [(t.call, t.slot) for t in tensors]
    low = torch.full((len(slots),), float("inf"), dtype=torch.float64)
    high = torch.full((len(slots),), float("-inf"), dtype=torch.float64)
    counts = torch.zeros(len(slots), BINS, dtype=torch.float64)
    zeros = torch.zeros(len(slots), dtype=torch.float64)
    n = 0

    def extremes(i: int, value: Tensor) -> None:
        smallest, largest = (float(v) for v in torch.aminmax(value))
        if not np.isfinite(smallest) or not np.isfinite(largest):
            seen = "NaN" if np.isnan(smallest) else f"{smallest:g} to {largest:g}"
            raise QuantizationError(
                f"Activations must be finite, `{tensors[i].produced_by}` gave {seen}. "
                "Look for overflow or NaN in weights or data."
            )
        low[i], high[i] = min(low[i].item(), smallest), max(high[i].item(), largest)

    def histogram(i: int, value: Tensor) -> None:
        none = (value == 0).sum().item()
        zeros[i] += none
        if low[i] == high[i]:
            counts[i, 0] += value.numel() - none
            return
        for chunk in torch.split(value.flatten(), _CHUNK):
            counts[i] += torch.histc(chunk.float(), BINS, low[i].item(), high[i].item()).double()
        if none:
            zero = torch.histc(torch.zeros(1), BINS, low[i].item(), high[i].item())
            counts[i] -= none * zero.double()

    for pass_number, look in enumerate((extremes, histogram)):
        for done, batch in enumerate(batches()):
            n += len(batch) if pass_number == 0 else 0
            with torch.no_grad():
                network(batch, Plan(outputs=_taps(slots, look)))
            yield Progress(pass_number * num_batches + done + 1, 2 * num_batches, "calibrating")
        if n == 0:
            raise QuantizationError("The calibration set must hold at least one sample, got none.")
    return ActivationStatistics(
        n=n,
        low=low.numpy(),
        high=high.numpy(),
        counts=counts.numpy(),
        zeros=zeros.numpy(),
    )


def _taps(
    slots: list[Slot], look: Callable[[int, Tensor], None]
) -> dict[Slot, Callable[[Tensor], Tensor]]:
    def tap(i: int) -> Callable[[Tensor], Tensor]:
        def transform(value: Tensor) -> Tensor:
            look(i, value)
            return value

        return transform

    return {slot: tap(i) for i, slot in enumerate(slots)}


def weight_samples(weight: Tensor, axis: int | None, scores: Tensor | None = None) -> Samples:
    """Return a weight's values as one row per output channel, or as one row when ``axis`` is None.

    Rows above 4,096 values are given as histograms of 2,048 bins, zeros and the extremes kept
    exactly.

    Args:
        weight: The weight.
        axis: Of its output channels.
        scores: How much an error of every element counts, in the weight's shape, not negative. Only
            their ratios within a row are kept; a row of zeros counts as one of ones.
    """
    rows = _rows(weight, axis)
    shares = None if scores is None else _rows(scores, axis)
    if shares is not None:
        largest = shares.amax(1, keepdim=True)
        shares = torch.where(largest > 0, shares / largest, 1.0)
    if rows.shape[1] <= 2 * BINS:
        return replace(Samples.of(rows), scores=shares)
    low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
    width = (high - low) / BINS
    index = ((rows - low) / width.clamp_min(1e-300)).long().clamp_(0, BINS - 1)
    centres = low + width * (torch.arange(BINS) + 0.5)
    exact = torch.cat([torch.zeros_like(low), low, high], 1)
    # One value of each outermost bin is counted at its true place; a constant row has one bin.
    moved = torch.cat([low != 0, (high != 0) & (width > 0)], 1).double()
    places = torch.stack([rows.argmin(1), rows.argmax(1)], 1)

    def counted(weights: Tensor) -> Tensor:
        """Count every value by its weight: the zeros, the two extremes, the bins."""
        inside = torch.zeros(len(rows), BINS, dtype=torch.float64)
        inside.scatter_add_(1, index, weights.masked_fill(rows == 0, 0.0))
        ends = weights.gather(1, places) * moved
        inside[:, :1] -= ends[:, :1]
        inside[:, -1:] -= ends[:, 1:]
        zeros = weights.masked_fill(rows != 0, 0.0).sum(1, keepdim=True)
        return torch.cat([zeros, ends, inside.clamp_min_(0.0)], 1)

    return Samples(
        torch.cat([exact, centres], 1),
        counted(torch.ones_like(rows)),
        torch.cat([torch.zeros_like(exact), width.expand_as(centres)], 1),
        None if shares is None else counted(shares),
    )


def _rows(tensor: Tensor, axis: int | None) -> Tensor:
    """Return one row per index of an axis, or one in all, in float64."""
    tensor = tensor.detach().cpu().double()
    return tensor.flatten()[None] if axis is None else tensor.movedim(axis, 0).flatten(1)
