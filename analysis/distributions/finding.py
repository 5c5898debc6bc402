"""A finding about a tensor, and the words for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from scipy.stats import norm

from analysis.records import Distribution
from analysis.records.distributions import INPUT, POST_ACTIVATION, WEIGHT

_NAMES: Mapping[str, str] = MappingProxyType(
    {
        WEIGHT: "the weights of `{}`",
        INPUT: "the input of `{}`",
        POST_ACTIVATION: "the output of `{}`",
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about one tensor that a user should know.

    ``kind`` is a word such as ``wide_channel``, ``severity`` in bits (see
    :func:`analysis.distributions.findings.findings`), ``text`` and ``remedy`` one sentence each.
    """

    layer: str
    role: str
    kind: str
    severity: float
    text: str
    remedy: str


# Who makes a tensor: a layer, with or without an activation function; the data; anything else.
LAYER, DATA, OTHER = "layer", "data", "other"


@dataclass(frozen=True, slots=True)
class Seen:
    """A tensor under the first layer and role that it has, to be quantized to ``bits``.

    ``maker`` is :data:`LAYER`, :data:`DATA` or :data:`OTHER`.
    """

    layer: str
    role: str
    values: Distribution
    bits: int
    maker: str = LAYER

    @property
    def name(self) -> str:
        """The tensor in words: "the weights of `conv1`"."""
        return _NAMES[self.role].format(self.layer)

    @property
    def members(self) -> str:
        """Its values in words: "the values in the input of `conv1`"."""
        return self.name if self.role == WEIGHT else f"the values in {self.name}"

    @property
    def channelled(self) -> bool:
        """Whether there are channels to compare, each with more than one value."""
        channels: int = self.values.channels.shape[1]
        return channels > 1 and self.values.count > channels

    @property
    def evened_out(self) -> str:
        """What may bring the channels of an activation to equal ranges, as a sentence's start.

        Equalization rescales what a layer gives out: there is none for the samples themselves, nor
        for sums.
        """
        if self.maker == DATA:
            return "Try to normalise the channels of the samples to equal ranges"
        if self.maker == OTHER:
            return "Try a percentile or a least-squared-error range"
        side = "behind" if self.role == POST_ACTIVATION else "before"
        return f"Try cross-layer equalization with the layer {side}"

    def finding(self, kind: str, severity: float, text: str, remedy: str) -> Finding:
        """Return a finding; no more than all bits can be lost."""
        text = f"{text[0].upper()}{text[1:]}."
        return Finding(
            self.layer, self.role, kind, min(severity, float(self.bits)), text, f"{remedy}."
        )


def expected_range(values: float) -> float:
    """Return the mean range of that many values of a unit Gaussian (Blom 1958, more than 1)."""
    return 2 * float(norm.ppf((values - 0.375) / (values + 0.25)))


def percent(share: float) -> str:
    """Write a share in whole percent; little is not nothing, nearly all is not all."""
    if 0 < share < 0.005:
        return "less than 1 %"
    if 0.995 <= share < 1:
        return "more than 99 %"
    return f"{100 * share:.0f} %"
