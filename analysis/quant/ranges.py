"""Range estimators: from a distribution of values to the interval a grid should cover.

Every estimator sees the same thing, a weighted sample per channel, be it raw weights or the bins of
an activation histogram.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from analysis.options import Options, option
from analysis.quant.quantizer import EPS_RANGE
from analysis.registry import Registry


@dataclass(frozen=True, slots=True)
class Samples:
    """Values and how often each occurs, one row per channel: all (K, B) in float64.

    ``width`` is the width of the histogram bin whose centre a value is, over which its count is
    taken to be spread evenly; 0 for a value that is known exactly.
    """

    values: Tensor
    counts: Tensor
    width: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> "Samples":
        """Take every value of (K, B) once."""
        rows = rows.double()
        return cls(rows, torch.ones_like(rows), torch.zeros_like(rows))

    def split(self, rows: int) -> "list[Samples]":
        """Return blocks of at most ``rows`` channels."""
        parts = (torch.split(part, rows) for part in (self.values, self.counts, self.width))
        return [Samples(*block) for block in zip(*parts, strict=True)]

    @property
    def low(self) -> Tensor:
        """Smallest value that occurs, (K,)."""
        return self.values.masked_fill(self.counts == 0, float("inf")).amin(1)

    @property
    def high(self) -> Tensor:
        """Largest value that occurs, (K,)."""
        return self.values.masked_fill(self.counts == 0, float("-inf")).amax(1)


@dataclass(frozen=True, slots=True)
class Levels:
    """The grid that will cover the range: ``count`` steps over a range, or over one side of it.

    ``symmetric`` grids cover [-T, T] with ``qmax`` steps on the positive side (and one code more on
    the negative side); others cover [low, high] with ``qmax - qmin`` steps and hold zero.
    """

    qmin: int
    qmax: int
    symmetric: bool


Interval = tuple[Tensor, Tensor]
RangeEstimator = Callable[[Samples, Levels, Any], Interval]
RANGE_ESTIMATORS: Registry[RangeEstimator] = Registry("range estimator")


@RANGE_ESTIMATORS.register(
    "min_max",
    title="Min-max",
    answers="Which range holds every value that was seen?",
    reference="Jacob et al. 2018, arXiv:1712.05877",
)
def min_max(samples: Samples, levels: Levels, options: Options) -> Interval:
    """Return the smallest and the largest value, mirrored for a symmetric grid."""
    del options
    return _full(samples, levels)


@dataclass(frozen=True, slots=True)
class PercentileOptions(Options):
    """Options of :func:`percentile`."""

    percent: float = option(
        99.9, low=50.0, high=100.0, help="Share of the values, in %, below the upper limit."
    )


@RANGE_ESTIMATORS.register(
    "percentile",
    title="Percentile",
    answers="Which range leaves out a fixed share of the values?",
    reference="Li et al. 2019 (FQN), CVPR; term as in TensorRT's calibrators",
    options=PercentileOptions,
)
def percentile(samples: Samples, levels: Levels, options: PercentileOptions) -> Interval:
    """Clip the share ``100 - percent`` at the upper end, and at the lower end of an affine range.

    A symmetric range takes the percentile of the magnitudes. Zeros count as values.
    """
    share = options.percent / 100
    if levels.symmetric:
        limit = _quantile(samples.values.abs(), samples.counts, share)
        return -limit, limit
    low = -_quantile(-samples.values, samples.counts, share)
    return low.clamp_max(0.0), _quantile(samples.values, samples.counts, share).clamp_min(0.0)


@RANGE_ESTIMATORS.register(
    "mse",
    title="Least squared error",
    answers="Which range makes the squared error of rounding and clipping smallest?",
    reference="Banner et al. 2019, arXiv:1810.05723",
)
def mse(samples: Samples, levels: Levels, options: Options) -> Interval:
    """Search the range with the least squared error: a coarse grid of limits, then finer ones.

    Each limit is searched over [0.1 %, 100 %] of its extreme; those of an affine range together
    first, then in turns. The full range is among the candidates, so the error is never above
    min-max's.
    """
    # Blocks that stay in the processor's cache are searched several times faster.
    rows = max(_BLOCK // samples.values.shape[1], 1)
    if len(samples.values) > rows:
        blocks = [mse(block, levels, options) for block in samples.split(rows)]
        return torch.cat([low for low, _ in blocks]), torch.cat([high for _, high in blocks])
    low, high = _full(samples, levels)
    if levels.symmetric:
        best = _search(lambda t: squared_error(samples, -t, t, levels), high, high)
        return -best, best
    if not bool((low < 0).any()):
        return low, _search(lambda t: squared_error(samples, low, t, levels), high, high)
    ratio = torch.ones_like(high)
    ratio = _search(
        lambda r: squared_error(samples, low * r, high * r, levels), torch.ones_like(high), ratio
    )
    lower, upper = low * ratio, high * ratio
    for _ in range(2):
        at = lower
        upper = _search(lambda t, at=at: squared_error(samples, at, t, levels), high, upper)  # type: ignore[misc]
        to = upper
        lower = -_search(lambda t, to=to: squared_error(samples, -t, to, levels), -low, -lower)  # type: ignore[misc]
    return lower, upper


_BLOCK = 1 << 18


def squared_error(samples: Samples, low: Tensor, high: Tensor, levels: Levels) -> Tensor:
    """Return the summed squared error (K,) of quantizing to the range [low, high] (K,)."""
    steps = levels.qmax if levels.symmetric else levels.qmax - levels.qmin
    span = high if levels.symmetric else high - low
    scale = (span.clamp_min(EPS_RANGE) / steps)[:, None]
    zero = (
        torch.zeros_like(scale)
        if levels.symmetric
        else levels.qmin - (low[:, None] / scale).round()
    )
    first, last = levels.qmin - zero, levels.qmax - zero

    def distance(steps: Tensor) -> tuple[Tensor, Tensor]:
        code = torch.minimum(torch.maximum(steps.round(), first), last)
        return code, steps - code

    _, error = distance(samples.values / scale)
    error.square_()
    if bool((samples.width > 0).any()):
        # Integrated over the bin: between codes the squared distance has the integral 1/12.
        half = samples.width / 2
        code, rest = distance((samples.values + half) / scale)
        code_below, rest_below = distance((samples.values - half) / scale)
        integral = (code - code_below) / 12 + (rest**3 - rest_below**3) / 3
        bins = (samples.width / scale).clamp_min(1e-300)
        error = torch.where(samples.width > 0, integral / bins, error)
    return (error * scale.square() * samples.counts).sum(1)


def _search(error: Callable[[Tensor], Tensor], extreme: Tensor, start: Tensor) -> Tensor:
    """Return the limit (K,) in (0, extreme] with the least error, never worse than ``start``."""
    best, least = start, error(start)
    for radius, steps in ((0.0, 40), (0.19, 49), (0.008, 9)):
        centre = best
        for i in range(steps):
            # Limits of each round stand in a fixed ratio: outliers may be far out.
            factor = (
                10 ** (-3 * i / steps) if radius == 0.0 else 1 + radius * (2 * i / (steps - 1) - 1)
            )
            limit = extreme * factor if radius == 0.0 else torch.minimum(centre * factor, extreme)
            found = error(limit)
            better = found < least
            best, least = torch.where(better, limit, best), torch.where(better, found, least)
    return best


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
    low, high = _full(samples, levels)
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


def _full(samples: Samples, levels: Levels) -> Interval:
    if levels.symmetric:
        limit = torch.maximum(samples.low.abs(), samples.high.abs())
        return -limit, limit
    return samples.low.clamp_max(0.0), samples.high.clamp_min(0.0)


def _quantile(values: Tensor, counts: Tensor, share: float) -> Tensor:
    """Smallest value (K,) with at least ``share`` of the weight at or below it."""
    ordered, order = values.sort(1)
    cumulative = counts.gather(1, order).cumsum(1)
    wanted = share * cumulative[:, -1:]
    index = (cumulative < wanted * (1 - 1e-12)).sum(1, keepdim=True)
    return ordered.gather(1, index.clamp_max(values.shape[1] - 1)).squeeze(1)
