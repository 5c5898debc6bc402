"""The range that keeps the shape of a distribution, judged by its histogram."""

import torch
from torch import Tensor

from analysis.options import Options
from analysis.quant.quantizer import EPS_RANGE
from analysis.quant.ranges import RANGE_ESTIMATORS, Interval, Levels, Samples, full_range


@RANGE_ESTIMATORS.register(
    "entropy",
    title="Least information lost",
    answers="Which range keeps the distribution's shape (least Kullback-Leibler divergence)?",
    reference="Migacz 2017, 8-bit inference with TensorRT (GTC talk)",
)
def entropy(samples: Samples, levels: Levels, options: Options) -> Interval:
    """Search the clipping that keeps a histogram of the values closest after quantization.

    Clipped mass moves to the outermost kept bin. An affine range is clipped by the same ratio at
    both ends. Exact zeros stay zeros on any grid and are left out: a ReLU's would drown the rest.

    The divergence of n values in k occupied bins from a distribution with g groups is (k - g) / 2n
    in the mean when nothing at all was lost, which rewards few bins, that is clipping. So there is
    a bin for every 8 values at most (2,048 in all, 1,024 for one side), this mean is taken off, and
    of all ranges within two standard deviations of the least divergence the widest is returned.
    Where the grid has more than half as many levels as there are bins, the histogram cannot show
    what is lost between levels: the full range is returned.
    """
    del options
    low, high = full_range(samples, levels)
    count = levels.qmax + 1 if levels.symmetric else levels.qmax - levels.qmin + 1
    values = samples.values.abs() if levels.symmetric else samples.values
    counts = samples.counts.masked_fill((samples.values == 0) & (samples.width == 0), 0.0)
    bins = _bins(counts, _BINS // 2 if levels.symmetric else _BINS)
    if count > bins // 2:
        return low, high
    start = torch.zeros_like(low) if levels.symmetric else low
    histogram = _rebin(values, counts, samples.width, start, high, bins)
    zero = -start / (high - start).clamp_min(EPS_RANGE)
    tried = [kept for kept in range(bins, 0, -max(bins // 64, 1)) if kept >= count]
    results = [_divergence(histogram, kept, zero, count) for kept in tried]
    divergence = torch.stack([found for found, _ in results], 1)
    least, at = divergence.min(1, keepdim=True)
    noise = torch.stack([deviation for _, deviation in results], 1).gather(1, at)
    widest = (divergence <= least + 2 * noise).int().argmax(1)
    best = torch.tensor(tried, dtype=low.dtype)[widest] / bins
    return low * best, high * best


_BINS = 2048


def _bins(counts: Tensor, most: int) -> int:
    """Return a power of two of bins, so that a typical row has 8 values for each."""
    values = int(counts.sum(1).median())
    return min(most, 1 << max(values // 8, 1).bit_length() - 1)


def _rebin(
    values: Tensor, counts: Tensor, widths: Tensor, low: Tensor, high: Tensor, bins: int
) -> Tensor:
    """Return counts (K, bins) over [low, high]; an old bin is shared by the two it lies in."""
    width = ((high - low).clamp_min(EPS_RANGE) / bins)[:, None]
    left = (values - widths / 2 - low[:, None]) / width
    index = left.floor()
    share = ((index + 1 - left) * width / widths.clamp_min(1e-300)).clamp_max(1.0)
    share = torch.where(widths > 0, share, 1.0)
    histogram = torch.zeros(len(values), bins, dtype=counts.dtype)
    for place, part in ((index, counts * share), (index + 1, counts * (1 - share))):
        histogram.scatter_add_(1, place.long().clamp_(0, bins - 1), part)
    return histogram


def _divergence(histogram: Tensor, kept: int, zero: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """KL divergence (K,) of the clipped histogram from its quantized form, and its noise (K,)."""
    bins = histogram.shape[1]
    first = ((bins - kept) * zero).long()[:, None]
    inside = histogram.gather(1, first + torch.arange(kept))
    total = histogram.sum(1, keepdim=True).clamp_min(EPS_RANGE)
    below = (histogram.cumsum(1) - histogram).gather(1, first)
    p = inside.clone()
    p[:, :1] += below
    p[:, -1:] += total - below - inside.sum(1, keepdim=True)
    group = (torch.arange(kept) * levels // kept).expand(len(p), -1)
    sums, sizes = torch.zeros(2, len(p), levels, dtype=p.dtype)
    sums.scatter_add_(1, group, inside)
    sizes.scatter_add_(1, group, (p > 0).to(p.dtype))
    q = torch.where(p > 0, (sums / sizes.clamp_min(1)).gather(1, group), 0.0)
    q = q / q.sum(1, keepdim=True).clamp_min(EPS_RANGE)
    # Mass that only clipping put into an empty bin costs as if the bin held almost nothing.
    ratio = (p / total) / q.clamp_min(1e-12)
    found = torch.where(p > 0, p / total * ratio.log(), 0.0).sum(1)
    free = (sizes - 1).clamp_min(0).sum(1)
    n = total.squeeze(1)
    return found - free / (2 * n), (2 * free).sqrt() / (2 * n)
