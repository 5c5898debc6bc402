"""Every range that could be chosen for a tensor, side by side: the curve and the estimators."""

import numpy as np
import torch
from torch import Tensor

from analysis.distributions.analytic import AFFINE, SYMMETRIC, UNSIGNED, optimal_clip
from analysis.distributions.grids import as_array, check, costs, grid_error, parts_of, squares
from analysis.errors import AnalysisError
from analysis.options import build
from analysis.quant.configure import one_thread
from analysis.quant.estimators import RANGE_ESTIMATORS
from analysis.quant.formats import get_format
from analysis.quant.ranges import Levels, RangeEstimator, Samples
from analysis.records import FloatArray, GridError, RangeExploration
from analysis.registry import Method

SHARES = 96
LOWEST_SHARE = 0.01
# Elements of a block of work that stays in the processor's cache.
_BLOCK = 1 << 17


def explore(
    samples: Samples,
    format_name: str,
    *,
    signed: bool,
    title: str,
    per_channel: bool,
    percentile: float,
) -> RangeExploration:
    """Try every range of a tensor on one grid.

    The curve cuts the full range at a share of the largest magnitude, every channel's at the same
    share of its own. An estimator that cannot give a range of these values stands among the others
    with NaN for its numbers and the reason in its title. Those that ask how much every element
    counts are left out: a tensor alone does not tell.

    Args:
        samples: Values of K channels, K = 1 for one grid over the tensor.
        format_name: The format of the codes, such as ``int4``.
        signed: A symmetric grid of signed codes, as weights have; else an affine one of unsigned
            codes, as activations have.
        title: What the tensor is called.
        per_channel: Whether the rows of ``samples`` are channels with a grid each.
        percentile: Percentage that the percentile estimator keeps.

    Raises:
        QuantizationError: If there are no values, or some are not finite.
        UnknownNameError: If there is no such format.
    """
    total = check(samples)
    chosen = get_format(format_name)
    levels = Levels(*chosen.grid(signed=signed), symmetric=signed)
    share = torch.logspace(np.log10(LOWEST_SHARE), 0, SHARES, dtype=torch.float64)
    share[-1] = 1.0
    with one_thread():
        rounding, clipping = _curve(samples, share, levels)
        found = tuple(
            _estimate(method, samples, levels, percentile)
            for method in RANGE_ESTIMATORS
            if not method.needs
        )
    return RangeExploration(
        title=title,
        format=format_name,
        symmetric=signed,
        per_channel=per_channel,
        levels=levels.qmax - levels.qmin + 1,
        share=as_array(share),
        rounding=as_array(rounding) / total,
        clipping=as_array(clipping) / total,
        signal=float(squares(samples).sum()) / total,
        estimators=found,
        gauss=_analytic_share("gauss", samples, chosen.bits, levels),
        laplace=_analytic_share("laplace", samples, chosen.bits, levels),
    )


def clip_shares(exploration: RangeExploration) -> FloatArray:
    """Return where the estimators (E,) stand on the curve's axis: their share, mean over channels.

    The reach of a range is its larger end, over that of min-max; NaN where an estimator failed.
    """
    reach = [np.maximum(-each.low, each.high) for each in exploration.estimators]
    names = [each.estimator for each in exploration.estimators]
    full = reach[names.index("min_max")]
    live = full > 0
    if not live.any():
        return np.full(len(reach), np.nan)
    return np.array([float((each[live] / full[live]).mean()) for each in reach])


def _estimate(
    method: Method[RangeEstimator], samples: Samples, levels: Levels, percentile: float
) -> GridError:
    values = {"percent": percentile} if method.name == "percentile" else {}
    try:
        low, high = method.function(samples, levels, build(method.options, values))
        return grid_error(samples, low, high, levels, estimator=method.name, title=method.title)
    except AnalysisError as error:
        none = np.full(len(samples.values), np.nan)
        nan = float("nan")
        return GridError(
            estimator=method.name,
            title=f"{method.title}: {error}",
            low=none,
            high=none,
            step=none,
            clipped=nan,
            rounding=nan,
            clipping=nan,
            signal=nan,
        )


def _curve(samples: Samples, share: Tensor, levels: Levels) -> tuple[Tensor, Tensor]:
    """Return summed rounding and clipping errors (S,) of ranges cut at shares of the reach."""
    rounding, clipping = torch.zeros(2, len(share), dtype=torch.float64)
    for rows in samples.split(max(_BLOCK // samples.values.shape[1], 1)):
        limit = share[:, None] * _reach(rows)
        low, high = torch.maximum(rows.low, -limit), torch.minimum(rows.high, limit)
        low, high = (-limit, limit) if levels.symmetric else (low.clamp_max(0), high.clamp_min(0))
        parts = parts_of(rows)
        for some in torch.split(torch.arange(len(share)), max(_BLOCK // rows.values.numel(), 1)):
            inside, outside, _ = costs(parts, low[some], high[some], levels)
            rounding[some] += inside.sum(1)
            clipping[some] += outside.sum(1)
    return rounding, clipping


def _analytic_share(law: str, samples: Samples, bits: int, levels: Levels) -> float:
    """Mean share of the reach that is optimal for a law of the channels' deviations.

    Deviations are taken about zero, where every law and grid here has its centre, and over values
    that are not exactly zero, which no grid rounds: a ReLU's positive values are half a law. A side
    that ends within one deviation has no tail of its own.
    """
    counts = samples.counts.masked_fill((samples.values == 0) & (samples.width == 0), 0.0)
    deviation = (squares(samples) / counts.sum(1).clamp_min(1)).sqrt()
    shares = [
        optimal_clip(law, bits, _grid(levels, low, high, size)).clip * size / max(-low, high)
        for low, high, size in zip(
            samples.low.tolist(), samples.high.tolist(), deviation.tolist(), strict=True
        )
        if low < high
    ]
    return float(np.mean(shares)) if shares else float("nan")


def _grid(levels: Levels, low: float, high: float, deviation: float) -> str:
    if levels.symmetric:
        return SYMMETRIC
    return UNSIGNED if min(-low, high) < deviation else AFFINE


def _reach(samples: Samples) -> Tensor:
    return torch.maximum(samples.low.abs(), samples.high.abs())
