"""Quantized activations, soft weights, squared errors and gradients, each in one pass over memory.

Arrays are contiguous, all of one precision, scalars of that precision too; results are written in
place. Sums are taken in that precision over a row of values, in float64 beyond.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.compiled import compiled

Values = NDArray[Any]
Bits = NDArray[np.bool_]
Scalar = np.floating[Any]

_ROW = 1024
# Exact in any precision, and narrower than what they meet: nothing is computed in another one.
_ONE, _ZERO, _HALF = np.float32(1), np.float32(0), np.float32(0.5)


@compiled
def move(
    values: Values, out: Values, scale: Scalar, low: Scalar, high: Scalar, share: Scalar
) -> None:
    """Write values (N,) moved by a share of the way to the nearest level within the limits."""
    whole = share == 1
    for i in range(values.size):
        value = values[i]
        code = np.rint(value / scale)
        code = low if code < low else (high if code > high else code)  # NaN stays NaN
        level = code * scale
        out[i] = level if whole else value + share * (level - value)


@compiled
def move_back(
    values: Values,
    gradient: Values,
    out: Values,
    scale: Scalar,
    low: Scalar,
    high: Scalar,
    share: Scalar,
) -> Scalar:
    """Write the gradient of the values, straight through the rounding; return that of the scale.

    A row is collected before it is written: where inputs and outputs lie at nearly the same place
    of a page, every load would wait for the store before, which takes eight times as long.
    """
    tile, rest = np.empty(_ROW, values.dtype), _ONE - share
    total = np.float64(0)
    for start in range(0, values.size, _ROW):
        stop, row = min(start + _ROW, values.size), _ZERO * scale
        for i in range(start, stop):
            steps = values[i] / scale
            code = min(max(np.rint(steps), low), high)
            inside = _ONE if abs(code - steps) <= _HALF else _ZERO
            row += gradient[i] * (code - inside * steps)
            tile[i - start] = gradient[i] * (inside * share + rest)
        for i in range(start, stop):
            out[i] = tile[i - start]
        total += row
    return total * share


@compiled
def square(found: Values, wanted: Values, weights: Values, weighted: bool, out: Values) -> None:
    """Write the sums of squared differences of rows (B, N) to (B,), by weights or all the same."""
    for b in range(found.shape[0]):
        total = np.float64(0)
        for start in range(0, found.shape[1], _ROW):
            row = _ZERO * found[b, start]
            for i in range(start, min(start + _ROW, found.shape[1])):
                difference = found[b, i] - wanted[b, i]
                row += difference * difference * (weights[b, i] if weighted else _ONE)
            total += row
        out[b] = total


@compiled
def square_back(
    found: Values, wanted: Values, weights: Values, weighted: bool, gradient: Values, out: Values
) -> None:
    """Write the gradient of what was found, (B, N), from that of the sums (B,)."""
    for b in range(found.shape[0]):
        twice = gradient[b] + gradient[b]
        for i in range(found.shape[1]):
            difference = found[b, i] - wanted[b, i]
            out[b, i] = twice * difference * (weights[b, i] if weighted else _ONE)


@compiled
def soften(
    out: Values, rounding: Values, base: Values, fixed: Bits, up: Values, scales: Values
) -> None:
    """Write soft weights (C, N): the level below, and how far up it goes, times the scale (C,).

    Args:
        out: Result.
        rounding: How far up, not yet held to [0, 1].
        base: The level below, zero being at 0.
        fixed: Which go as far as ``up`` says.
        up: How far those go.
        scales: Of the channels.
    """
    for c in range(base.shape[0]):
        scale = scales[c]
        for i in range(base.shape[1]):
            own = rounding[c, i]
            own = _ZERO if own < _ZERO else (_ONE if own > _ONE else own)  # NaN stays NaN
            out[c, i] = (base[c, i] + (up[c, i] if fixed[c, i] else own)) * scale


@compiled
def soften_back(
    gradient: Values,
    out: Values,
    by_scale: Values,
    rounding: Values,
    base: Values,
    fixed: Bits,
    up: Values,
    scales: Values,
) -> None:
    """Write the gradients of the roundings (C, N) and of the scales (C,)."""
    for c in range(base.shape[0]):
        scale, total = scales[c], np.float64(0)
        for start in range(0, base.shape[1], _ROW):
            row = _ZERO * scale
            for i in range(start, min(start + _ROW, base.shape[1])):
                own = min(max(rounding[c, i], _ZERO), _ONE)
                row += gradient[c, i] * (base[c, i] + (up[c, i] if fixed[c, i] else own))
                free = (own == rounding[c, i]) & (not fixed[c, i])
                out[c, i] = gradient[c, i] * scale if free else _ZERO
            total += row
        by_scale[c] = total
