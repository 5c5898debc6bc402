"""Slow, obvious oracles for what a range costs: one value, one bin, one level at a time."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad

Array = NDArray[np.float64]


def grid(low: float, high: float, bits: int, symmetric: bool) -> Array:
    """Every real value of a grid, in ascending order."""
    if symmetric:
        step = high / (2 ** (bits - 1) - 1)
        return np.array([k * step for k in range(-(2 ** (bits - 1)), 2 ** (bits - 1))])
    step = (high - low) / (2**bits - 1)
    zero = round(-low / step)
    return np.array([(k - zero) * step for k in range(2**bits)])


def split_error(values: Array, levels: Array) -> tuple[float, float, float]:
    """Mean squared errors inside and outside of the grid, and the share outside."""
    half = (levels[1] - levels[0]) / 2
    inside = outside = count = 0.0
    for x in values:
        error = float(np.min((levels - x) ** 2))
        if levels[0] - half <= x <= levels[-1] + half:
            inside += error
        else:
            outside += error
            count += 1
    return inside / len(values), outside / len(values), count / len(values)


def spread(centre: float, width: float, points: int) -> Array:
    """Points that stand evenly in a bin."""
    return centre + width * ((np.arange(points) + 0.5) / points - 0.5)


def expected_error(density: Callable[[float], float], levels: Array) -> float:
    """Expected squared error of the nearest level: one adaptive integral for every half cell."""
    middles = (levels[1:] + levels[:-1]) / 2
    cuts = np.concatenate([[-np.inf], np.sort(np.concatenate([levels, middles, [0.0]])), [np.inf]])
    total = 0.0
    for start, end in pairwise(cuts):
        if start == end:
            continue
        inner = np.clip((start + end) / 2, levels[0] - 1, levels[-1] + 1)
        level = float(levels[np.argmin(np.abs(levels - inner))])
        total += quad(
            lambda x, level=level: (x - level) ** 2 * density(x), start, end, epsabs=1e-15
        )[0]
    return total
