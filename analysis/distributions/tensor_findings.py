"""What stands out in the distribution of one tensor as a whole."""

from collections.abc import Iterator
from math import log2

from scipy.stats import norm

from analysis.distributions.finding import Finding, Seen, expected_range, percent
from analysis.records.distributions import POST_ACTIVATION, WEIGHT

# Beyond a Gaussian of as many values; a Laplace distribution reaches 0.7 bits and a kurtosis of 6.
TAIL_BITS = 1.0
TAIL_KURTOSIS = 6.0
# With fewer values the 1 % quantiles are as good as the extremes.
TAIL_COUNT = 200
# Half of the levels, or more, lie where there is no value.
FAR_BITS = 1.0
# ReLU leaves 50 to 80 % zeros and pruning 90 %: beyond, few values carry everything.
ZEROS = 0.95


def tensor_findings(seen: Seen, accounted: float) -> Iterator[Finding]:
    """Yield heavy tails, a range far from zero and too many zeros of one tensor.

    Args:
        seen: The tensor; its range is not zero.
        accounted: Bits that its wide channels cost, for which no tail is blamed again.
    """
    yield from _tails(seen, accounted)
    yield from _far(seen)
    yield from _zeros(seen)


def constant(seen: Seen) -> Finding:
    """Return the finding about a tensor of one value."""
    value = seen.values.value("low") + 0.0
    text = f"all of {seen.members} are {value:.3g}: "
    if seen.role != WEIGHT:
        text += "that tells nothing"
        remedy = "Check the weights and the samples, or take the layer out of the network"
    elif value == 0:
        text += "whatever the layer reads, it gives out its bias"
        remedy = "Check the weights, or take the layer out of the network"
    else:
        text += "the layer only sums up what it reads"
        remedy = "Check that it has learnt something; a grid of any bits holds its one value"
    return seen.finding("constant", float(seen.bits), text, remedy)


def _tails(seen: Seen, accounted: float) -> Iterator[Finding]:
    values = seen.values
    low, high = values.value("q01"), values.value("q99")
    if low >= high or values.count < TAIL_COUNT or not values.value("kurtosis") >= TAIL_KURTOSIS:
        return
    usual = expected_range(values.count) / float(2 * norm.ppf(0.99))
    lost = log2(values.range / (high - low) / usual) - accounted
    if lost < TAIL_BITS:
        return
    text = (
        f"98 % of {seen.members} lie between {low:.3g} and {high:.3g}, but few outliers stretch "
        f"the range to {values.value('low'):.3g} and {values.value('high'):.3g}, "
        f"{values.range / (high - low):.3g} times as much"
    )
    remedy = "Use a percentile or a least-squared-error range, which clips the outliers"
    if seen.role == POST_ACTIVATION and values.value("low") >= 0:
        remedy += ", or bound the ReLU"
    yield seen.finding("heavy_tails", lost, text, remedy)


def _far(seen: Seen) -> Iterator[Finding]:
    """Values on one side of zero, which every grid holds; grids of weights are symmetric."""
    low, high = seen.values.value("low"), seen.values.value("high")
    weights = seen.role == WEIGHT
    span = 2 * max(-low, high) if weights else max(high, 0.0) - min(low, 0.0)
    lost = log2(span / (high - low))
    if lost < FAR_BITS:
        return
    reach = "as far on the other" if weights else "zero"
    text = (
        f"all of {seen.members} lie on one side of zero, {low:.3g} to {high:.3g}, but the grid "
        f"must reach {reach}: {percent(1 - (high - low) / span)} of its levels are never used"
    )
    if weights:
        remedy = "Try more bits for this layer: the grid of weights cannot be shifted"
    else:
        remedy = "Try to move the mean into the bias of the layer behind (high-bias absorption)"
    yield seen.finding("far_from_zero", lost, text, remedy)


def _zeros(seen: Seen) -> Iterator[Finding]:
    share = seen.values.zeros / seen.values.count
    if share < ZEROS:
        return
    text = f"{percent(share)} of {seen.members} are exactly zero: few values carry everything"
    if seen.role == WEIGHT:
        remedy = "Try to prune whole channels: zeros cost no accuracy, but memory"
    else:
        remedy = "Calibrate with more samples, so that the few values are known well enough"
    yield seen.finding("mostly_zero", log2((1 - ZEROS) / (1 - share)), text, remedy)
