"""Intervals for accuracies and for paired differences of accuracies."""

from math import nan, sqrt

import numpy as np
from scipy.stats import binomtest

from analysis.errors import QuantizationError
from analysis.records import BoolArray, IntArray, Paired

Z = 1.959963984540054  # 95 %, two-sided


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share, in 0..1. See Wilson 1927, JASA 22:209.

    Raises:
        QuantizationError: If there are no samples.
    """
    if n < 1:
        raise QuantizationError("An interval needs at least one sample, got none.")
    share = successes / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def paired(
    first: IntArray,
    second: IntArray,
    first_correct: BoolArray,
    second_correct: BoolArray,
    *,
    labelled: bool = True,
) -> Paired:
    """Compare two configurations on the same samples.

    The interval of the difference is Bonett and Price's adjusted Wald interval (J. Educ. Behav.
    Stat. 2012, 37:479), the p-value that of the exact McNemar test.

    Args:
        first: Predicted classes of the first, (N,).
        second: Predicted classes of the second, (N,).
        first_correct: Which predictions of the first are right, (N,).
        second_correct: The same for the second.
        labelled: Whether there were labels; without them only the agreement is known.

    Raises:
        QuantizationError: If the two were not measured on equally many samples.
    """
    n = len(first)
    if n != len(second) or n == 0:
        raise QuantizationError(
            f"A paired comparison needs the same samples, got {n} and {len(second)}."
        )
    agreement = float(np.mean(first == second))
    if not labelled:
        return Paired(
            difference=nan,
            low=nan,
            high=nan,
            agreement=agreement,
            p_value=nan,
            only_first=0,
            only_second=0,
        )
    gained = int(np.sum(first_correct & ~second_correct))
    lost = int(np.sum(second_correct & ~first_correct))
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = Z * sqrt((up + down - (up - down) ** 2) / (n + 2))
    changed = gained + lost
    return Paired(
        difference=(gained - lost) / n,
        low=max(-1.0, up - down - half),
        high=min(1.0, up - down + half),
        agreement=agreement,
        p_value=float(binomtest(gained, changed, 0.5).pvalue) if changed else 1.0,
        only_first=gained,
        only_second=lost,
    )
