"""What the extremes of n independent draws are: the range an initializer gives a weight."""

from dataclasses import dataclass
from math import expm1, log, sqrt
from typing import Protocol

# The interval of the largest magnitude holds this share of all draws.
COVERED = 0.95


class Draws(Protocol):
    """A distribution on the line, as scipy describes one."""

    def sf(self, x: float) -> float:
        """Return the probability of values above ``x``."""

    def cdf(self, x: float) -> float:
        """Return the probability of values up to ``x``."""

    def isf(self, q: float) -> float:
        """Return the value above which the probability is ``q``."""

    def ppf(self, q: float) -> float:
        """Return the value up to which the probability is ``q``."""

    def mean(self) -> float:
        """Return the mean."""

    def std(self) -> float:
        """Return the standard deviation."""


@dataclass(frozen=True, slots=True)
class ExpectedRange:
    """What an initializer gives a weight of n entries.

    ``std`` is the deviation of an entry; ``low`` and ``high`` are the medians of the smallest and
    the largest entry; ``largest`` is the median of the largest magnitude, which lies between
    ``largest_low`` and ``largest_high`` with a probability of 95 %.
    """

    std: float
    low: float
    high: float
    largest: float
    largest_low: float
    largest_high: float

    @property
    def range(self) -> float:
        """Largest minus smallest entry, of the medians."""
        return self.high - self.low


# scipy.stats takes as long to load as torch; networks are drawn and trained without it.


def uniform(low: float, high: float) -> Draws:
    """Return the uniform distribution between two ends."""
    from scipy import stats

    return stats.uniform(low, high - low)


def normal(mean: float, std: float) -> Draws:
    """Return the normal distribution."""
    from scipy import stats

    return stats.norm(mean, std)


def truncated_normal(std: float, at: float) -> Draws:
    """Return the normal distribution about 0 with all beyond ``at`` deviations cut off."""
    from scipy import stats

    return stats.truncnorm(-at, at, 0.0, std)


def expected_range(draws: Draws, n: int) -> ExpectedRange:
    """Return the extremes of ``n`` independent draws.

    The largest of n draws stays below t with probability F(t)^n, so its quantile p is where
    1 - F(t) = 1 - p^(1/n); the same holds for magnitudes and, mirrored, for the smallest.
    """
    outside = (1 - COVERED) / 2
    return ExpectedRange(
        std=float(draws.std()),
        low=float(draws.ppf(_beyond(0.5, n))),
        high=float(draws.isf(_beyond(0.5, n))),
        largest=_magnitude(draws, _beyond(0.5, n)),
        largest_low=_magnitude(draws, _beyond(outside, n)),
        largest_high=_magnitude(draws, _beyond(1 - outside, n)),
    )


def _beyond(probability: float, n: int) -> float:
    """1 - probability^(1/n), without cancellation for large n."""
    return -expm1(log(probability) / n)


def _magnitude(draws: Draws, share: float) -> float:
    """Return the magnitude that a draw exceeds with probability ``share``."""
    if draws.mean() == 0:  # all distributions here are symmetric about their mean
        return float(draws.isf(share / 2))
    from scipy.optimize import brentq

    limit = max(abs(float(draws.isf(share / 4))), abs(float(draws.ppf(share / 4))))

    def excess(t: float) -> float:
        return float(draws.sf(t) + draws.cdf(-t)) - share

    return float(brentq(excess, 0.0, limit, xtol=1e-12, rtol=1e-12))


@dataclass(frozen=True, slots=True)
class SphereEntry:
    """One coordinate of a point drawn uniformly from the unit sphere in ``dimension`` dimensions.

    Its square follows Beta(1/2, (dimension - 1) / 2); in one dimension it is 1 or -1.
    """

    dimension: int

    def isf(self, q: float) -> float:
        """Return the value above which the probability is ``q``."""
        if self.dimension == 1:
            return 1.0 if q < 0.5 else -1.0
        from scipy import stats

        square = stats.beta.isf(2 * min(q, 1 - q), 0.5, (self.dimension - 1) / 2)
        return sqrt(float(square)) if q <= 0.5 else -sqrt(float(square))

    def ppf(self, q: float) -> float:
        """Return the value up to which the probability is ``q``."""
        return -self.isf(q)

    def sf(self, x: float) -> float:
        """Return the probability of values above ``x``."""
        if self.dimension == 1:
            return 0.5 * ((x < 1) + (x < -1))
        from scipy import stats

        half = 0.5 * float(stats.beta.sf(min(x * x, 1.0), 0.5, (self.dimension - 1) / 2))
        return half if x >= 0 else 1 - half

    def cdf(self, x: float) -> float:
        """Return the probability of values up to ``x``."""
        return 1 - self.sf(x)

    def mean(self) -> float:
        """Return the mean."""
        return 0.0

    def std(self) -> float:
        """Return the standard deviation."""
        return 1 / sqrt(self.dimension)
