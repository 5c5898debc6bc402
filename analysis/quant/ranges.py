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
    """Values and how often each occurs: both (K, B) in float64, one row per channel.

    ``width`` (K,) is the width of a histogram's bins, 0 for raw values: a grid finer than the bins
    cannot be seen by the bins' centres, its rounding error is taken as step^2 / 12.
    """

    values: Tensor
    counts: Tensor
    width: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> "Samples":
        """Take every value of (K, B) once."""
        rows = rows.double()
        return cls(rows, torch.ones_like(rows), torch.zeros(len(rows), dtype=rows.dtype))

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
    """Search the range with the least squared error: a coarse grid of limits, then a fine one.

    Each limit is searched over [2 %, 100 %] of its extreme; an affine range in turns, upper limit
    first. The full range is among the candidates, so the error is never above min-max's.
    """
    del options
    low, high = _full(samples, levels)
    if levels.symmetric:
        best = _search(lambda t: squared_error(samples, -t, t, levels), high)
        return -best, best
    for _ in range(2):
        fixed = low
        high = _search(lambda t, low=fixed: squared_error(samples, low, t, levels), high)  # type: ignore[misc]
        if not bool((low < 0).any()):
            break
        top = high
        low = -_search(lambda t, high=top: squared_error(samples, -t, high, levels), -low)  # type: ignore[misc]
    return low, high


def squared_error(samples: Samples, low: Tensor, high: Tensor, levels: Levels) -> Tensor:
    """Return the summed squared error (K,) of quantizing to the range [low, high] (K,)."""
    steps = levels.qmax if levels.symmetric else levels.qmax - levels.qmin
    span = high if levels.symmetric else high - low
    scale = (span.clamp_min(EPS_RANGE) / steps)[:, None]
    zero = 0.0 if levels.symmetric else levels.qmin - torch.round(low[:, None] / scale)
    codes = (torch.round(samples.values / scale) + zero).clamp_(levels.qmin, levels.qmax)
    error = ((codes - zero) * scale - samples.values).square_()
    fine = scale < 2 * samples.width[:, None]
    if bool(fine.any()):
        inside = (codes > levels.qmin) & (codes < levels.qmax)
        error = torch.where(fine & inside, scale.square() / 12, error)
    return (error * samples.counts).sum(1)


def _search(error: Callable[[Tensor], Tensor], extreme: Tensor) -> Tensor:
    """Return the limit (K,) in (0, extreme] with the least error, coarse then fine."""
    best, least = extreme, error(extreme)
    low, high = 0.02, 1.0
    for steps in (40, 21):
        centre = best / extreme.clamp_min(EPS_RANGE)
        width = (1.0 - 0.02) / 40
        for i in range(steps):
            if steps == 40:
                ratio = torch.full_like(extreme, low + (high - low) * i / steps)
            else:
                ratio = (centre + width * (2 * i / (steps - 1) - 1)).clamp(low, high)
            limit = ratio * extreme
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
    """Search the clipping that keeps the histogram of 2,048 bins closest after quantization.

    Clipped mass moves to the outermost kept bin. An affine range is clipped by the same ratio at
    both ends. A grid of more than 1,024 levels is finer than the histogram: it gets the full range.
    """
    del options
    low, high = _full(samples, levels)
    count = levels.qmax + 1 if levels.symmetric else levels.qmax - levels.qmin + 1
    if count > _BINS // 2:
        return low, high
    values = samples.values.abs() if levels.symmetric else samples.values
    start = torch.zeros_like(low) if levels.symmetric else low
    histogram = _rebin(values, samples.counts, start, high)
    best, least = (
        torch.ones_like(high),
        _divergence(histogram, _BINS, _zero_bin(start, high), count),
    )
    for kept in range(_BINS // 64, _BINS, _BINS // 64):
        if kept < count:
            continue
        found = _divergence(histogram, kept, _zero_bin(start, high), count)
        better = found < least
        best = torch.where(better, torch.full_like(best, kept / _BINS), best)
        least = torch.where(better, found, least)
    return low * best, high * best


_BINS = 2048


def _zero_bin(start: Tensor, high: Tensor) -> Tensor:
    """Return where zero lies in the histogram, as a share of its width (K,)."""
    return -start / (high - start).clamp_min(EPS_RANGE)


def _rebin(values: Tensor, counts: Tensor, low: Tensor, high: Tensor) -> Tensor:
    width = ((high - low).clamp_min(EPS_RANGE) / _BINS)[:, None]
    index = ((values - low[:, None]) / width).long().clamp_(0, _BINS - 1)
    return torch.zeros(len(values), _BINS, dtype=counts.dtype).scatter_add_(1, index, counts)


def _divergence(histogram: Tensor, kept: int, zero: Tensor, levels: int) -> Tensor:
    """KL divergence (K,) of the clipped histogram from its quantized form, both normalised."""
    rows = torch.arange(len(histogram))[:, None]
    first = ((_BINS - kept) * zero).long()[:, None]
    window = first + torch.arange(kept)[None]
    p = histogram[rows, window]
    total = histogram.sum(1, keepdim=True)
    cumulative = histogram.cumsum(1)
    below = torch.where(first > 0, cumulative.gather(1, (first - 1).clamp_min(0)), 0.0)
    p = p.clone()
    inside = p.clone()
    p[:, :1] += below
    p[:, -1:] += total - below - inside.sum(1, keepdim=True)
    group = (torch.arange(kept) * levels // kept).expand(len(p), -1)
    sums = torch.zeros(len(p), levels, dtype=p.dtype).scatter_add_(1, group, inside)
    sizes = torch.zeros(len(p), levels, dtype=p.dtype)
    sizes.scatter_add_(1, group, (p > 0).to(p.dtype))
    q = torch.where(p > 0, (sums / sizes.clamp_min(1)).gather(1, group), 0.0)
    p = p / p.sum(1, keepdim=True).clamp_min(EPS_RANGE)
    q = q / q.sum(1, keepdim=True).clamp_min(EPS_RANGE)
    # Mass that only clipping put into an empty bin costs as if the bin held almost nothing.
    return torch.where(p > 0, p * (p / q.clamp_min(1e-12)).log(), 0.0).sum(1)


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
