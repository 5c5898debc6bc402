"""What was measured of a network, float or quantized."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.records.allocation import Allocation, Budget, Costs
from analysis.records.base import BoolArray, FloatArray, IntArray, Record
from analysis.records.candidates import QuantSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired(Record):
    """Two configurations on the same samples: top-1 difference with its 95 % interval.

    Differences are in 0..1, positive when the first is better. ``agreement`` is the share of equal
    predictions, ``p_value`` that of the exact McNemar test (1.0 when no sample differs, NaN without
    labels).
    """

    difference: float
    low: float
    high: float
    agreement: float
    p_value: float
    only_first: int
    only_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Record):
    """Measured behaviour on the evaluation set.

    ``top1``, ``low``, ``high`` are in 0..1 with the 95 % Wilson interval over ``n`` samples, NaN
    without labels; ``loss`` is the mean cross-entropy in nats, NaN without labels. ``predictions``
    and ``correct`` have shape (N,); ``kl`` is the mean KL divergence from the float outputs, nats.
    """

    n: int
    labelled: bool
    top1: float
    low: float
    high: float
    loss: float
    kl: float
    predictions: IntArray
    correct: BoolArray
    versus_float: Paired | None
    evaluation: str
    seconds: float
    schema: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatOutputs(Record):
    """Logits (N, C) of the folded float network on the evaluation set, and their accuracy."""

    logits: FloatArray
    measured: Evaluation
    schema: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRange(Record):
    """The quantizer of one tensor: format, scale and zero point per channel, clipped share."""

    name: str
    role: str
    format: str
    scale: FloatArray
    zero_point: FloatArray
    clipped: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration(Record):
    """A quantized model as it was built and measured.

    ``recalibrations`` were applied to the float network before, in this order.
    """

    name: str
    study: str
    method: str
    options: Mapping[str, bool | int | float | str]
    settings: QuantSettings
    allocation: Allocation
    costs: Costs
    ranges: tuple[TensorRange, ...]
    measured: Evaluation
    seconds: float
    recalibrations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    schema: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest(Record):
    """The allocations that several metrics lead to at one budget, measured.

    ``best`` is the place of the configuration with the highest accuracy (without labels the least
    divergence); ``versus_best`` compares each with it on the same samples, difference negative
    where the best is better. The best of several is chosen after the fact: its lead is optimistic.
    """

    budget: Budget
    metrics: tuple[str, ...]
    configurations: tuple[Configuration, ...]
    best: int
    versus_best: tuple[Paired, ...]
    schema: int = 1
