"""Slow, obvious oracles for grids, ranges and statistics: one element, one candidate at a time."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def fake_quantize(x: float, scale: float, zero_point: int, qmin: int, qmax: int) -> float:
    """Quantize one number; Python's ``round`` sends ties to the even code."""
    code = min(max(round(x / scale) + zero_point, qmin), qmax)
    return (code - zero_point) * scale


def fake_quantize_all(
    x: Array, scale: Array, zero_point: Array, qmin: int, qmax: int, axis: int | None
) -> Array:
    """Quantize element by element; ``axis`` picks the entry of ``scale``, None for one scale."""
    result = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        channel = 0 if axis is None else index[axis]
        result[index] = fake_quantize(
            float(x[index]), float(scale[channel]), int(zero_point[channel]), qmin, qmax
        )
    return result


def symmetric_error(x: Array, limit: float, bits: int) -> float:
    """Mean squared error of a signed symmetric grid whose largest code lies at ``limit``."""
    qmax = 2 ** (bits - 1) - 1
    scale = limit / qmax
    codes = np.clip(np.rint(x / scale), -qmax - 1, qmax)
    return float(np.mean((codes * scale - x) ** 2))


def unsigned_error(x: Array, limit: float, bits: int) -> float:
    """Mean squared error of a grid of 2^bits codes from zero to ``limit``."""
    qmax = 2**bits - 1
    scale = limit / qmax
    codes = np.clip(np.rint(x / scale), 0, qmax)
    return float(np.mean((codes * scale - x) ** 2))


def affine_error(x: Array, low: float, high: float, bits: int) -> float:
    """Mean squared error of 2^bits codes over [low, high] with an integer code for zero."""
    qmax = 2**bits - 1
    scale = (high - low) / qmax
    zero = min(max(round(-low / scale), 0), qmax)
    codes = np.clip(np.rint(x / scale) + zero, 0, qmax)
    return float(np.mean(((codes - zero) * scale - x) ** 2))


def best_symmetric_limit(x: Array, bits: int, steps: int = 4000) -> tuple[float, float]:
    """Search every limit of a fine grid up to the largest magnitude: (limit, error)."""
    top = float(np.abs(x).max())
    tried = [top * (i + 1) / steps for i in range(steps)]
    errors = [symmetric_error(x, limit, bits) for limit in tried]
    best = int(np.argmin(errors))
    return tried[best], errors[best]


def best_unsigned_limit(x: Array, bits: int, steps: int = 4000) -> tuple[float, float]:
    """Search every limit of a fine grid up to the maximum: (limit, error)."""
    top = float(x.max())
    tried = [top * (i + 1) / steps for i in range(steps)]
    errors = [unsigned_error(x, limit, bits) for limit in tried]
    best = int(np.argmin(errors))
    return tried[best], errors[best]


def kl_divergence(p: Sequence[float], q: Sequence[float]) -> float:
    """Sum p log(p / q) in nats; terms with p = 0 are 0, p > 0 with q = 0 is infinite."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        if a > 0 and b <= 0:
            return math.inf
        if a > 0:
            total += a * math.log(a / b)
    return total


def sqnr_db(x: Array, quantized: Array) -> float:
    """10 log10 of signal power over noise power."""
    return float(10 * np.log10(np.sum(x**2) / np.sum((x - quantized) ** 2)))


def expected_error(density: Array, x: Array, limit: float, bits: int) -> float:
    """Expected squared error of the signed symmetric grid under a density sampled evenly at x."""
    qmax = 2 ** (bits - 1) - 1
    scale = limit / qmax
    error = np.clip(np.rint(x / scale), -qmax - 1, qmax) * scale - x
    return float(np.sum(density * error**2) / np.sum(density))


def best_limit_for_density(density: Array, x: Array, bits: int) -> tuple[float, float]:
    """The limit of least expected error and that error, over a fine grid of limits."""
    tried = np.linspace(0.02, 1.0, 1500) * float(np.abs(x).max())
    errors = [expected_error(density, x, float(limit), bits) for limit in tried]
    best = int(np.argmin(errors))
    return float(tried[best]), errors[best]
