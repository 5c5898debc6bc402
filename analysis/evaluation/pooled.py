"""A paired difference of accuracies over several seeds, with what both seeds and samples vary."""

from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from analysis.errors import QuantizationError
from analysis.evaluation.intervals import Z
from analysis.records import Effect


def pooled(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Effect:
    r"""Compare two ways on the same samples and seeds, the first minus the second.

    Samples and seeds are both drawn, so both variances count: that of the differences
    :math:`d_n` (means over the seeds) over the samples, and that of the seeds' own differences
    :math:`D_s`,

    .. math:: \mathrm{se}^2 = \mathrm{var}(d) / (N + 2) + \mathrm{var}(D) / S,

    with Student's t by Welch and Satterthwaite's degrees of freedom. One sample more of +1 and one
    of -1 are added to the :math:`d_n`, so that with one seed this is Bonett and Price's interval
    (J. Educ. Behav. Stat. 2012, 37:479), as in :func:`analysis.evaluation.intervals.paired`; what
    another seed would change is then not in it.

    Args:
        first: What is right in the first, (S, N).
        second: What is right in the second, (S, N).

    Raises:
        QuantizationError: If the two were not measured on the same seeds and samples.
    """
    if first.shape != second.shape or first.ndim != 2 or not first.size:
        raise QuantizationError(
            f"A paired comparison needs the same seeds and samples, got {first.shape} and "
            f"{second.shape}."
        )
    differences = first.astype(np.float64) - second
    own = np.append(differences.mean(0), [1.0, -1.0])
    seeds = differences.mean(1)
    of_samples = float(own.var()) / len(own)
    of_seeds = float(seeds.var(ddof=1)) / len(seeds) if len(seeds) > 1 else 0.0
    total = of_samples + of_seeds
    freedom = total**2 * (len(seeds) - 1) / of_seeds**2 if of_seeds > 0 else inf
    half = (Z if freedom == inf else float(student.ppf(0.975, freedom))) * sqrt(total)
    return Effect(
        difference=float(seeds.mean()),
        low=max(-1.0, float(own.mean()) - half),
        high=min(1.0, float(own.mean()) + half),
        by_seed=seeds,
    )
