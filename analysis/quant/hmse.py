"""The range whose errors matter least to the logits, element by element."""

import torch

from analysis.errors import QuantizationError
from analysis.options import Options
from analysis.quant.ranges import (
    ELEMENT_SCORES,
    RANGE_ESTIMATORS,
    Interval,
    Levels,
    Rounds,
    Samples,
    least_squares,
    mse,
    squared_error,
)

# Few elements carry most of the weight, which makes for many narrow minima.
_ROUNDS: Rounds = ((0.0, 400), (0.018, 41), (0.001, 9))
# Levels may fit the elements that matter best when the outermost lies beyond them all.
_REACH = 1.2


@RANGE_ESTIMATORS.register(
    "hmse",
    title="Least Hessian-weighted squared error",
    answers="Which range of weights makes the errors small where they change the logits most?",
    reference="Gordon et al. 2023 (EPTQ), arXiv:2309.11531",
    needs=(ELEMENT_SCORES,),
    cost="a backward pass over at most 256 samples for every class, 32 where there are more, once",
)
def hmse(samples: Samples, levels: Levels, options: Options) -> Interval:
    r"""Search the range with the least :math:`\sum_i h_i (w_i - Q(w_i))^2` of every row.

    A finer search than :func:`~analysis.quant.ranges.mse`'s, whose range is among the candidates:
    by its own measure the result is never the worse of the two. Rows whose elements all count the
    same get that range exactly.

    Raises:
        QuantizationError: If the values have no scores, as those of activations have not.
    """
    if samples.scores is None:
        raise QuantizationError(
            "`hmse` needs a score of every element, which only weights that are being quantized "
            "have: choose another range estimator here, such as `mse`."
        )
    plain = mse(samples, levels, options)
    weighted = Samples(samples.values, samples.scores, samples.width)
    found = least_squares(weighted, levels, _ROUNDS, _REACH)
    better = squared_error(weighted, *found, levels) < squared_error(weighted, *plain, levels)
    better &= (samples.scores != samples.counts).any(1)
    return torch.where(better, found[0], plain[0]), torch.where(better, found[1], plain[1])
