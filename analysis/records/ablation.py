"""What single choices of a method are worth: its variants, each measured beside it."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.records.allocation import Allocation
from analysis.records.base import FloatArray, Record
from analysis.records.candidates import QuantSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect(Record):
    """A paired difference of shares in 0..1 with its 95 % interval; ``by_seed`` are its parts.

    Positive where the first is better.
    """

    difference: float
    low: float
    high: float
    by_seed: FloatArray

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated(Record):
    """What a way to quantize measures on every seed (S,), once if it draws nothing.

    ``top1`` is in 0..1, NaN without labels; ``low`` and ``high`` bound its mean over the seeds by
    the 95 % Wilson interval over the samples. ``agreement`` is the share of predictions that equal
    the float network's, ``kl`` the mean divergence from it in nats, ``seconds`` what quantizing
    took.
    """

    top1: FloatArray
    low: float
    high: float
    agreement: FloatArray
    kl: FloatArray
    seconds: FloatArray
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(Repeated):
    """A method under one set of options.

    ``changes`` are the options that differ from the base, none for the base itself. ``effect`` is
    the difference to the base: of the accuracy, without labels of the agreement.
    """

    changes: Mapping[str, bool | int | float | str]
    effect: Effect | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation(Record):
    """A method and its variants with one allocation on the same samples and seeds.

    ``base`` are the options of the method itself, whose measurement is the first of ``variants``.
    Variants that could not be measured are in ``absent`` with their reasons. ``complete`` tells
    whether every variant was tried.
    """

    method: str
    base: Mapping[str, bool | int | float | str]
    allocation: Allocation
    settings: QuantSettings
    recalibrations: tuple[str, ...]
    seeds: tuple[int, ...]
    n: int
    labelled: bool
    evaluation: str
    variants: tuple[Variant, ...]
    absent: Mapping[str, str]
    seconds: float
    complete: bool
    schema: int = 1
