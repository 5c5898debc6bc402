"""The one loop over values that torch has no fast operation for, compiled when first called."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.compiled import compiled
from analysis.records import FloatArray

# Bins of a channel, and places behind them that share the count of exact zeros: increments of one
# and the same place wait for each other, and half of what a ReLU gives out is zero.
BINS, SPARE = 512, 8
# So many values of so many channels stay in the first cache between the loops over them.
_ROW, _LANES = 512, 16


@compiled
def tally(
    values: NDArray[Any],
    inverse: np.floating[Any],
    first: int,
    shift: NDArray[Any],
    counts: NDArray[np.int32],
    powers: FloatArray,
) -> None:
    """Add what some values are to the counts and sums of their channels, in place.

    Args:
        values: (B, C, L), float32 or float64 in any layout.
        inverse: One over the width of the bins, of the values' precision.
        first: Where the first bin begins, in widths.
        shift: (C,) what deviations are taken from, in widths, of the values' precision.
        counts: (C, BINS + SPARE), of bins, then of exact zeros. All values must have a bin: this
            is not checked.
        powers: (4, C), sums of the powers 1 to 4 of deviations, in widths. They are taken in the
            precision of the values over a row, in float64 beyond.
    """
    before, channels, after = values.shape
    zero = inverse - inverse
    tile, place = np.empty((_LANES, _ROW + _LANES), values.dtype), np.empty(_ROW, np.uint16)
    for b in range(before):
        for start in range(0, after, _ROW):
            size = min(_ROW, after - start)
            for begin in range(0, channels, _LANES):
                lanes = min(_LANES, channels - begin)
                if values.strides[1] < values.strides[2]:
                    for i in range(size):
                        for lane in range(lanes):
                            tile[lane, i] = values[b, begin + lane, start + i]
                else:
                    for lane in range(lanes):
                        for i in range(size):
                            tile[lane, i] = values[b, begin + lane, start + i]
                for lane in range(lanes):
                    row, channel = tile[lane], begin + lane
                    centre, table = shift[channel], counts[channel]
                    one = two = three = four = zero
                    for i in range(size):
                        off = row[i] * inverse - centre
                        square = off * off
                        one += off
                        two += square
                        three += off * square
                        four += square * square
                    powers[0, channel] += one
                    powers[1, channel] += two
                    powers[2, channel] += three
                    powers[3, channel] += four
                    for i in range(size):
                        bin_ = np.int32(np.floor(row[i] * inverse)) - first
                        spare = np.int32(BINS + (np.int32(i) & np.int32(SPARE - 1)))
                        place[i] = bin_ if row[i] != zero else spare
                    for i in range(size):
                        table[place[i]] += 1
