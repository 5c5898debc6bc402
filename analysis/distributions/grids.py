"""What one range costs a tensor on a grid: rounding, clipping, and levels that are never used."""

import numpy as np
import torch
from torch import Tensor

from analysis.errors import QuantizationError
from analysis.quant.configure import one_thread
from analysis.quant.quantizer import EPS_RANGE
from analysis.quant.ranges import Levels, Samples
from analysis.records import FloatArray, GridError

# Lines that a plot of a grid can still show.
MOST_LEVELS = 256


def grid_error(
    samples: Samples, low: Tensor, high: Tensor, levels: Levels, *, estimator: str, title: str
) -> GridError:
    """Split the mean squared error of a range into rounding and clipping.

    Values up to half a step beyond the outermost levels are rounded, those further out clipped. The
    grid is that of :func:`analysis.quant.ranges.squared_error`, and the sum of both its error: the
    counts of a histogram are spread evenly over their bins, bins that the border of the grid cuts
    are divided.

    Args:
        samples: Values of K channels.
        low: Lower ends (K,); of a symmetric grid minus the upper ones.
        high: Upper ends (K,).
        levels: The grid.
        estimator: Name of what chose the range.
        title: What to call it.

    Raises:
        QuantizationError: If there are no values, or a range is not finite or does not hold zero.
    """
    total = check(samples)
    if not bool(((low <= 0) & (high >= 0) & torch.isfinite(high - low)).all()):
        raise QuantizationError(
            f"A range must be finite and hold zero, got {low.min().item():g} to "
            f"{high.max().item():g}. Widen it to zero."
        )
    with one_thread():
        rounding, clipping, clipped = costs(parts_of(samples), low, high, levels)
    return GridError(
        estimator=estimator,
        title=title,
        low=as_array(low),
        high=as_array(high),
        step=as_array(_scale(low, high, levels)),
        clipped=float(clipped.sum()) / total,
        rounding=float(rounding.sum()) / total,
        clipping=float(clipping.sum()) / total,
        signal=float(squares(samples).sum()) / total,
    )


def levels_of(low: float, high: float, levels: Levels) -> FloatArray:
    """Return the real values of a grid's levels in ascending order, to be drawn over a histogram.

    Of more than :data:`MOST_LEVELS` that many are returned, evenly chosen, the outermost included.
    """
    lower, upper = torch.tensor([[low], [high]], dtype=torch.float64)
    scale = _scale(lower, upper, levels)
    first, _ = _outermost(lower, scale, levels)
    count = levels.qmax - levels.qmin + 1
    index = np.linspace(0, count - 1, min(count, MOST_LEVELS)).round()
    return np.asarray((first.item() + index) * scale.item())


def effective_levels(samples: Samples, low: Tensor, high: Tensor, levels: Levels) -> FloatArray:
    """Return the share (K,) of a grid's levels that some value is rounded to, in (0, 1].

    The values of a bin wider than a step are taken to fall on its levels at random.
    """
    check(samples)
    scale = _scale(low, high, levels)
    first, last = _outermost(low, scale, levels)
    count = levels.qmax - levels.qmin + 1
    code = _nearest(samples.values / scale[:, None], first[:, None], last[:, None])
    spanned = samples.width / scale[:, None]
    wide = (spanned > 1) & (samples.counts > 0)
    narrow = (spanned <= 1) & (samples.counts > 0)
    row = torch.arange(len(code))[:, None] * count
    used = torch.unique((row + (code - first[:, None]).long())[narrow])
    hit = torch.bincount(used // count, minlength=len(code)).double()
    # Of m levels, n values at random hit m (1 - (1 - 1/m)^n).
    missed = (samples.counts * torch.log1p(-1 / spanned.clamp_min(1 + 1e-12))).exp()
    hit += torch.where(wide, spanned * (1 - missed), 0.0).sum(1)
    return as_array((hit / count).clamp_max(1.0))


def squares(samples: Samples) -> Tensor:
    """Return the sum of squares (K,), of a bin's values that of an even spread."""
    return ((samples.values.square() + samples.width.square() / 12) * samples.counts).sum(1)


def check(samples: Samples) -> float:
    """Return the number of values.

    Raises:
        QuantizationError: If there are none, or some are not finite.
    """
    total = float(samples.counts.sum())
    if not total > 0:
        raise QuantizationError("A range needs at least one value to cover, got none.")
    if not bool(torch.isfinite(samples.low + samples.high).all()):
        raise QuantizationError(
            "A range can only be found for finite values, some are NaN or infinite. Look for "
            "overflow in the weights or the data."
        )
    return total


def parts_of(samples: Samples) -> tuple[Samples, Samples]:
    """Return the columns with values that are known exactly, and those with bins."""
    bins = samples.width > 0
    parts = []
    for mine in (~bins, bins):
        columns = mine.any(0)
        counts = samples.counts.masked_fill(~mine, 0.0)
        parts.append(Samples(*(x[:, columns] for x in (samples.values, counts, samples.width))))
    return parts[0], parts[1]


def costs(
    parts: tuple[Samples, Samples], low: Tensor, high: Tensor, levels: Levels
) -> tuple[Tensor, Tensor, Tensor]:
    """Return summed squared errors inside and outside, and the count outside, all (..., K).

    ``low`` and ``high`` are (..., K): several ranges at once share the values.
    """
    scale = _scale(low, high, levels)
    first, last = (end[..., None] for end in _outermost(low, scale, levels))
    unit, square = scale[..., None], scale.square()

    values, bins = parts
    steps = values.values / unit
    rest = steps.sub_(_nearest(steps, first, last))
    outside = rest.abs() > 0.5
    error = rest.square_().mul_(values.counts)
    clipping = error.masked_fill(~outside, 0.0).sum(-1)
    rounding = error.masked_fill_(outside, 0.0).sum(-1)
    clipped = (values.counts * outside).sum(-1)
    if bins.values.shape[1] == 0:
        return rounding * square, clipping * square, clipped

    def up_to(edge: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Integrals of the error inside, of that outside and of the way outside, in steps."""
        steps = edge / unit
        code = _nearest(steps, first, last)
        rest = steps.sub_(code)
        near = rest.clamp(-0.5, 0.5)
        cube = near**3
        # A whole cell between two codes has 1/12.
        return (code / 4).add_(cube).div_(3), (rest**3).sub_(cube).div_(3), rest.sub_(near)

    density = bins.counts * unit / bins.width.clamp_min(1e-300)
    start, end = bins.values - bins.width / 2, bins.values + bins.width / 2
    gaps = (start[:, 1:] - end[:, :-1]).abs() > 1e-9 * bins.width[:, 1:]
    if bool(gaps.any()):
        pairs = zip(up_to(end), up_to(start), strict=True)
    else:  # bins side by side share their edges
        edges = up_to(torch.cat([start, end[:, -1:]], 1))
        pairs = zip((x[..., 1:] for x in edges), (x[..., :-1] for x in edges), strict=True)
    inner, outer, way = ((upper - lower).mul_(density).sum(-1) for upper, lower in pairs)
    return (rounding + inner) * square, (clipping + outer) * square, clipped + way


def _scale(low: Tensor, high: Tensor, levels: Levels) -> Tensor:
    span = high if levels.symmetric else high - low
    return span.clamp_min(EPS_RANGE) / (levels.qmax - (0 if levels.symmetric else levels.qmin))


def _outermost(low: Tensor, scale: Tensor, levels: Levels) -> tuple[Tensor, Tensor]:
    """Lowest and highest code less the zero point: the outermost levels in steps."""
    zero = torch.zeros_like(scale) if levels.symmetric else levels.qmin - (low / scale).round()
    return levels.qmin - zero, levels.qmax - zero


def _nearest(steps: Tensor, first: Tensor, last: Tensor) -> Tensor:
    return steps.round().clamp_(first, last)


def as_array(values: Tensor) -> FloatArray:
    """Return a tensor as a float64 array on the host."""
    return np.asarray(values.double().cpu().numpy())
