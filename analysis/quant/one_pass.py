"""Quantized activations, squared errors and their gradients, each in one pass over memory.

Arrays are contiguous, all of one precision, scalars of that precision too; results are written in
place. Sums are taken in that precision over a row of values, in float64 beyond.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.compiled import compiled

Values = NDArray[Any]
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
