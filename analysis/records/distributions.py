"""Distributions of weights and activations: what every tensor of every layer holds."""

from dataclasses import dataclass

import numpy as np

from analysis.records.base import BoolArray, FloatArray, Record

WEIGHT, INPUT = "weight", "input"
PRE_ACTIVATION, POST_ACTIVATION = "pre_activation", "post_activation"
ROLES = (WEIGHT, INPUT, PRE_ACTIVATION, POST_ACTIVATION)
# Rows of the arrays of statistics.
STATISTICS = ("low", "high", "mean", "std", "kurtosis", "q01", "q99")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution(Record):
    """The values of one tensor, as a whole and per channel.

    ``statistics`` (7,) and ``channels`` (7, C) hold, in the order of :data:`STATISTICS`, the
    extremes, mean, standard deviation (of the population), kurtosis (fourth central moment over
    squared variance: 3 for a Gaussian, NaN without variance) and the 1 % and 99 % quantiles, exact
    but for the quantiles, which lie within one bin. ``counts`` (B,) is the histogram: bin i holds
    the values in [start + i * width, start + (i + 1) * width), the last one the largest value too.
    ``count`` values were seen, ``zeros`` of them exactly zero.
    """

    title: str
    count: int
    zeros: int
    statistics: FloatArray
    channels: FloatArray
    start: float
    width: float
    counts: FloatArray

    def value(self, statistic: str) -> float:
        """Return one of :data:`STATISTICS` of the whole tensor."""
        return float(self.statistics[STATISTICS.index(statistic)])

    def per_channel(self, statistic: str) -> FloatArray:
        """Return one of :data:`STATISTICS` of every channel, (C,)."""
        return np.asarray(self.channels[STATISTICS.index(statistic)])

    @property
    def range(self) -> float:
        """Largest minus smallest value."""
        return self.value("high") - self.value("low")

    @property
    def channel_ranges(self) -> FloatArray:
        """Largest minus smallest value of every channel, (C,)."""
        return self.per_channel("high") - self.per_channel("low")

    @property
    def dead(self) -> BoolArray:
        """Channels that hold one value only, (C,)."""
        return np.asarray(self.channel_ranges == 0)

    @property
    def average_channel_precision(self) -> float:
        """Mean share of the tensor's range that a channel takes up, in (0, 1]; dead ones left out.

        NaN where every channel is dead. See arXiv:2011.14578.
        """
        live = self.channel_ranges[~self.dead]
        return float(live.mean() / self.range) if live.size else float("nan")

    def effective_bits(self, bits: int) -> FloatArray:
        """Return the bits that each channel has left of a grid over the tensor's range, (C,).

        ``bits + log2(channel range / range)``, -inf for dead channels.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(bits + np.log2(self.channel_ranges / self.range))

    def edges(self) -> FloatArray:
        """Return the edges of the bins, (B + 1,)."""
        return np.asarray(self.start + self.width * np.arange(len(self.counts) + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Record):
    """Where a layer's tensor of one role stands among the tensors; -1 with the reason if nowhere.

    Several places may name one tensor: what one layer gives out may be what another reads.
    """

    layer: str
    role: str
    tensor: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributions(Record):
    """What the layers of a network hold, and see of ``n`` samples.

    ``places`` holds every layer in network order with every role of :data:`ROLES`. Inputs are what
    the layer reads, pre-activations what it computes (BatchNorm folded), post-activations what the
    activation function behind it makes of that. ``network`` says what was changed about it.
    """

    layers: tuple[str, ...]
    places: tuple[Place, ...]
    tensors: tuple[Distribution, ...]
    n: int
    calibration: str
    network: str = "float"
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    schema: int = 1

    def place(self, layer: str, role: str) -> Place:
        """Return where a layer's tensor of one role is.

        Raises:
            KeyError: If there is no such layer or role.
        """
        for place in self.places:
            if (place.layer, place.role) == (layer, role):
                return place
        raise KeyError((layer, role))

    def of(self, layer: str, role: str) -> Distribution | None:
        """Return the distribution of a layer's tensor, None where there is none."""
        place = self.place(layer, role)
        return None if place.tensor < 0 else self.tensors[place.tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class GridError(Record):
    """What one range costs a tensor on one grid.

    ``low`` and ``high`` (K,) are the ends of the range, ``step`` (K,) the distance of two levels,
    one a channel or one for the tensor. ``clipped`` is the share of the values more than half a
    step outside; ``rounding`` and ``clipping`` the mean squared errors over all values of those
    inside and outside, whose sum is the whole; ``signal`` the mean squared value.
    """

    estimator: str
    title: str
    low: FloatArray
    high: FloatArray
    step: FloatArray
    clipped: float
    rounding: float
    clipping: float
    signal: float

    @property
    def error(self) -> float:
        """Mean squared error."""
        return self.rounding + self.clipping

    @property
    def sqnr(self) -> float:
        """Signal over error in dB; infinite without error."""
        if self.error == 0:
            return float("inf")
        return float(10 * np.log10(self.signal / self.error)) if self.signal else float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeExploration(Record):
    """Every range of one tensor on one grid: what it clips and what it rounds.

    ``share`` (S,) is the clip limit over the largest magnitude, of every channel its own where the
    grid is per channel; ``rounding`` and ``clipping`` (S,) the mean squared errors as in
    :class:`GridError`. ``estimators`` holds what the range estimators choose. ``gauss`` and
    ``laplace`` are the shares (mean over channels) that are optimal for a Gaussian and a Laplace
    distribution of the tensor's deviation, which may lie above 1; NaN without deviation.
    """

    title: str
    format: str
    symmetric: bool
    per_channel: bool
    levels: int
    share: FloatArray
    rounding: FloatArray
    clipping: FloatArray
    signal: float
    estimators: tuple[GridError, ...]
    gauss: float
    laplace: float
    schema: int = 1

    @property
    def best(self) -> int:
        """Index of the share with the least error."""
        return int(np.argmin(self.rounding + self.clipping))
