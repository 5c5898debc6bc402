"""The clip limit that theory gives a grid: least expected squared error for a known distribution.

Distributions have mean 0 and deviation 1; limits are in deviations, errors in variances. See
Banner et al. 2019 (ACIQ), arXiv:1810.05723, who approximate what is computed here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import erf, erfc, exp, pi, sqrt
from types import MappingProxyType

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.optimize import minimize_scalar

from analysis.errors import QuantizationError
from analysis.records import FloatArray

SYMMETRIC, AFFINE, UNSIGNED, MID_RISE = "symmetric", "affine", "unsigned", "mid_rise"
GRIDS = (SYMMETRIC, AFFINE, UNSIGNED, MID_RISE)


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best clip limit in deviations, and its expected squared error over the variance."""

    clip: float
    error: float


@dataclass(frozen=True, slots=True)
class _Law:
    """A density on [0, inf), its integral from 0 to a, and that of (x - t)^2 times it from a on."""

    density: Callable[[FloatArray], FloatArray]
    mass: Callable[[float], float]
    tail: Callable[[float, float], float]


# From this many half cells on, the density is flat within each of them to 1e-5.
_MANY = 1024


def _gauss_tail(level: float, start: float) -> float:
    above = erfc(start / sqrt(2)) / 2
    return (1 + level**2) * above + (start - 2 * level) * exp(-(start**2) / 2) / sqrt(2 * pi)


def _laplace_tail(level: float, start: float) -> float:
    beyond = start - level
    return exp(-sqrt(2) * start) / 2 * (beyond**2 + sqrt(2) * beyond + 1)


LAWS: Mapping[str, _Law] = MappingProxyType(
    {
        "gauss": _Law(
            lambda x: np.exp(-x * x / 2) / sqrt(2 * pi), lambda a: erf(a / sqrt(2)) / 2, _gauss_tail
        ),
        "laplace": _Law(
            lambda x: np.exp(-sqrt(2) * x) / sqrt(2),
            lambda a: (1 - exp(-sqrt(2) * a)) / 2,
            _laplace_tail,
        ),
    }
)


@lru_cache(maxsize=256)
def optimal_clip(law: str, bits: int, grid: str) -> Optimum:
    """Return the clip limit with the least expected squared error.

    Args:
        law: ``gauss`` or ``laplace``.
        bits: Bits of a code, at least 2.
        grid: One of :data:`GRIDS`, see :func:`expected_error`.
    """

    def error(log_clip: float) -> float:
        return expected_error(law, bits, grid, exp(log_clip))

    # The error has one minimum; a coarse look first keeps the search off the flat outer part.
    tried = np.log(np.geomspace(0.3, 40.0, 30))
    at = int(np.argmin([error(float(t)) for t in tried]))
    low, high = tried[max(at - 1, 0)], tried[min(at + 1, len(tried) - 1)]
    found = minimize_scalar(error, bounds=(low, high), method="bounded", options={"xatol": 1e-7})
    return Optimum(exp(float(found.x)), float(found.fun))


def expected_error(law: str, bits: int, grid: str, clip: float) -> float:
    """Return the expected squared error, rounding and clipping, of a grid with a clip limit.

    ``symmetric`` grids have a level at zero, ``2^(b-1) - 1`` levels above up to the limit and one
    more below; ``affine`` ones spread ``2^b`` levels over both sides, span twice the limit and have
    a level at zero, so that one side is half a step longer; ``unsigned`` ones cover [0, limit] and
    see the positive half of the distribution only. The textbook's ``mid_rise`` grid has cells, not
    levels, that end at zero and at the limit.

    Args:
        law: ``gauss`` or ``laplace``.
        bits: Bits of a code, at least 2.
        grid: One of :data:`GRIDS`.
        clip: The limit in deviations, positive.

    Raises:
        QuantizationError: If one of them is none of these.
    """
    if law not in LAWS or grid not in GRIDS or bits < 2 or not clip > 0:
        raise QuantizationError(
            f"Expected errors are known for {', '.join(LAWS)} on a grid of {', '.join(GRIDS)} with "
            f"at least 2 bits and a positive limit, got `{law}`, `{grid}`, {bits} bits, {clip:g}."
        )
    half = 1 << (bits - 1)
    if grid == UNSIGNED:
        steps = 2 * half - 1
        return 2 * _one_side(LAWS[law], clip / steps, steps)
    if grid == MID_RISE:
        return 2 * _one_side(LAWS[law], clip / half, half - 1, offset=0.5)
    step = clip / (half - 1 if grid == SYMMETRIC else half - 0.5)
    return _one_side(LAWS[law], step, half - 1) + _one_side(LAWS[law], step, half)


def _one_side(law: _Law, step: float, last: int, offset: float = 0.0) -> float:
    """Expected error over x >= 0 of levels at ``(k + offset) * step``, k up to ``last``."""
    halves = 2 * last + 1 + round(2 * offset)
    tail = law.tail((last + offset) * step, halves * step / 2)
    if halves > _MANY:
        return tail + step**2 / 12 * law.mass(halves * step / 2)
    # Half cells, so that no kink, of the density at zero or of the distance, lies inside of one.
    nodes, weights = leggauss(16)
    cell, place = np.arange(halves)[:, None], (nodes + 1) / 2
    distance = np.where((cell + 2 * offset) % 2 == 0, place, 1 - place) * step / 2
    density = law.density((cell + place) * step / 2)
    return tail + float((distance**2 * density @ weights).sum()) * step / 4
