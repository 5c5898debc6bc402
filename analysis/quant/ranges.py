"""Range estimators: from a distribution of values to the interval a grid should cover.

Every estimator sees the same thing, a weighted sample per channel, be it raw weights or the bins of
an activation histogram.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
    taken to be spread evenly; 0 for a value that is known exactly. ``scores`` tell how much an
    error of these values counts, summed over them: the counts themselves where all values of a row
    count the same, None where nobody asked.
    """

    values: Tensor
    counts: Tensor
    width: Tensor
    scores: Tensor | None = None

    @classmethod
    def of(cls, rows: Tensor) -> "Samples":
        """Take every value of (K, B) once."""
        rows = rows.double()
        return cls(rows, torch.ones_like(rows), torch.zeros_like(rows))

    def split(self, rows: int) -> "list[Samples]":
        """Return blocks of at most ``rows`` channels."""
        parts = (self.values, self.counts, self.width, self.scores)
        starts = range(0, len(self.values), rows)
        return [
            Samples(*(None if p is None else p[s : s + rows] for p in parts))  # type: ignore[arg-type]
            for s in starts
        ]

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
# What an estimator needs that is told how much every element counts, as only weights are.
ELEMENT_SCORES = "element_scores"


@RANGE_ESTIMATORS.register(
    "min_max",
    title="Min-max",
    answers="Which range holds every value that was seen?",
    reference="Jacob et al. 2018, arXiv:1712.05877",
)
def min_max(samples: Samples, levels: Levels, options: Options) -> Interval:
    """Return the smallest and the largest value, mirrored for a symmetric grid."""
    del options
    return full_range(samples, levels)


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
    del options
    return least_squares(samples, levels, _ROUNDS)


_BLOCK = 1 << 18
# Radius around the best limit so far, and number of limits tried; the first round is coarse.
Rounds = tuple[tuple[float, int], ...]
_ROUNDS: Rounds = ((0.0, 40), (0.19, 49), (0.008, 9))


def least_squares(samples: Samples, levels: Levels, rounds: Rounds, reach: float = 1.0) -> Interval:
    """Return the range of least squared error that some rounds of search find; see :func:`mse`.

    The limit of a symmetric range is searched up to ``reach`` times the extreme.
    """
    # Blocks that stay in the processor's cache are searched several times faster.
    rows = max(_BLOCK // samples.values.shape[1], 1)
    if len(samples.values) > rows:
        blocks = [least_squares(block, levels, rounds, reach) for block in samples.split(rows)]
        return torch.cat([low for low, _ in blocks]), torch.cat([high for _, high in blocks])
    search = partial(_search, rounds=rounds)
    low, high = full_range(samples, levels)
    if levels.symmetric:
        best = search(lambda t: squared_error(samples, -t, t, levels), high * reach, high)
        return -best, best
    if not bool((low < 0).any()):
        return low, search(lambda t: squared_error(samples, low, t, levels), high, high)
    ratio = torch.ones_like(high)
    ratio = search(
        lambda r: squared_error(samples, low * r, high * r, levels), torch.ones_like(high), ratio
    )
    lower, upper = low * ratio, high * ratio
    for _ in range(2):
        at = lower
        upper = search(lambda t, at=at: squared_error(samples, at, t, levels), high, upper)  # type: ignore[misc]
        to = upper
        lower = -search(lambda t, to=to: squared_error(samples, -t, to, levels), -low, -lower)  # type: ignore[misc]
    return lower, upper


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


def _search(
    error: Callable[[Tensor], Tensor], extreme: Tensor, start: Tensor, rounds: Rounds
) -> Tensor:
    """Return the limit (K,) in (0, extreme] with the least error, never worse than ``start``."""
    best, least = start, error(start)
    for radius, steps in rounds:
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


def full_range(samples: Samples, levels: Levels) -> Interval:
    """Return the range that holds every value and zero, mirrored for a symmetric grid."""
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
