r"""OMPQ's linear program over continuous bits, and the ways to round its solution.

.. math:: \max_b \sum_i c_i b_i, \quad \sum_i p_i b_i \le T, \quad l_i \le b_i \le h_i

One knapsack row: the layers of the largest :math:`c_i / p_i` are filled first and at most one ends
between its limits. See Ma et al. 2023, arXiv:2109.07865; rounding as in the published code, which
solves the same program by sequential quadratic programming. Where importances are so small that
its tolerance drowns them, that solver stops at the projection of its start onto the budget, which
:func:`projection` gives.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor

import numpy as np

from analysis.errors import AllocationError
from analysis.records import FloatArray, IntArray

NEAREST, FLOOR, FILL = "nearest", "floor", "fill"
ROUNDINGS = (NEAREST, FLOOR, FILL)
_MOST_OPEN = 22


def tail_average(importances: FloatArray) -> FloatArray:
    """Return for each layer the mean of its own and all later importances, shape (L,)."""
    return np.asarray(importances[::-1].cumsum()[::-1] / np.arange(len(importances), 0, -1))


def linear_program(
    importances: FloatArray,
    sizes: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
    limit: int | Fraction,
) -> list[Fraction]:
    """Return the optimal bits of each layer, as exact fractions.

    Layers of equal importance per weight are filled in order; layers whose importance is not
    positive stay at ``low``.

    Args:
        importances: Gain of one more bit, shape (L,).
        sizes: Weights per layer, > 0.
        low: Fewest bits per layer.
        high: Most bits per layer.
        limit: Weights times bits in all.

    Raises:
        AllocationError: If ``low`` exceeds the limit.
    """
    bits = [Fraction(b) for b in low]
    room = _room(sizes, low, limit)
    ratio = np.asarray(importances, dtype=np.float64) / np.asarray(sizes, dtype=np.float64)
    for i in np.argsort(-ratio, kind="stable"):
        if ratio[i] > 0:
            more = min(Fraction(high[i] - low[i]), room / sizes[i])
            bits[i] += more
            room -= more * sizes[i]
    return bits


def projection(
    sizes: Sequence[int], low: Sequence[int], high: Sequence[int], limit: int | Fraction
) -> list[Fraction]:
    r"""Return the bits nearest to ``high`` within the budget: :math:`\max(l_i, h_i - \lambda p_i)`.

    Raises:
        AllocationError: If ``low`` exceeds the limit.
    """
    _room(sizes, low, limit)
    total = sum(p * h for p, h in zip(sizes, high, strict=True))
    if total <= limit:
        return [Fraction(h) for h in high]
    # With the layers that reach `low` first held there, the rest share what must go.
    order = sorted(range(len(sizes)), key=lambda i: Fraction(high[i] - low[i], sizes[i]))
    squares = sum(p * p for p in sizes)
    for i in order:
        step = Fraction(total - limit) / squares
        if step * sizes[i] <= high[i] - low[i]:
            break
        total -= sizes[i] * (high[i] - low[i])
        squares -= sizes[i] ** 2
    return [max(Fraction(b), h - step * p) for p, b, h in zip(sizes, low, high, strict=True)]


def rounded(bits: Sequence[Fraction], sizes: Sequence[int], how: str) -> IntArray:
    """Return whole bits, as published; ``nearest`` may exceed the size of ``bits``.

    Args:
        bits: Bits per layer.
        sizes: Weights per layer.
        how: ``nearest`` (ties to even), ``floor``, or ``fill``: each layer down or up, so that the
            size comes closest to that of ``bits`` from below, whatever the importances.

    Raises:
        AllocationError: If ``fill`` would have to try more than 2^22 combinations.
    """
    if how == NEAREST:
        return np.array([round(b) for b in bits], dtype=np.int64)
    down = [floor(b) for b in bits]
    if how == FLOOR:
        return np.array(down, dtype=np.int64)
    open_layers = [i for i, b in enumerate(bits) if ceil(b) != floor(b)]
    if len(open_layers) > _MOST_OPEN:
        raise AllocationError(
            f"Rounding by `fill` tries every combination and can take {_MOST_OPEN} fractional "
            f"layers, got {len(open_layers)}. Choose nearest or floor."
        )
    room = sum(p * (b - d) for p, b, d in zip(sizes, bits, down, strict=True))
    return np.array(_fill(down, sizes, open_layers, floor(room)), dtype=np.int64)


def _fill(down: list[int], sizes: Sequence[int], layers: list[int], room: int) -> list[int]:
    """Raise layers by one bit so that the summed size comes closest to ``room``."""
    sums = np.zeros(1, dtype=np.int64)
    for i in layers:
        sums = np.concatenate([sums, sums + sizes[i]])
    best = int(np.where(sums <= room, sums, -1).argmax())
    # Bit n of a combination's number says whether layer n is raised.
    return [b + (best >> layers.index(i) & 1 if i in layers else 0) for i, b in enumerate(down)]


def _room(sizes: Sequence[int], low: Sequence[int], limit: int | Fraction) -> Fraction:
    least = sum(p * b for p, b in zip(sizes, low, strict=True))
    if least > limit:
        raise AllocationError(
            f"The limit must be at least {least} bits, every layer at its fewest, got "
            f"{float(limit):g}. Raise it or allow fewer bits."
        )
    return Fraction(limit) - least
