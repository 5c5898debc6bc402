"""Several methods on several allocations, measured on the same samples."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.records.ablation import Effect, Repeated
from analysis.records.allocation import Allocation
from analysis.records.base import Record
from analysis.records.candidates import QuantSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung(Repeated):
    """A method on an allocation.

    ``versus_float`` and ``versus_reference`` are paired differences of what is right: of the
    accuracy, without labels of the agreement.
    """

    allocation: str
    method: str
    versus_float: Effect
    versus_reference: Effect | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder(Record):
    """Methods, each on every allocation, beside a reference method.

    Methods are spelled with their options and, behind an ``@``, the range estimator of weights
    where it is another than that of ``settings``. What could not be measured is in ``absent`` with
    its reason, by allocation and method. ``complete`` tells whether everything was tried.
    """

    allocations: Mapping[str, Allocation]
    methods: tuple[str, ...]
    reference: str
    settings: QuantSettings
    recalibrations: tuple[str, ...]
    seeds: tuple[int, ...]
    n: int
    labelled: bool
    float_top1: float
    evaluation: str
    rungs: tuple[Rung, ...]
    absent: Mapping[str, str]
    seconds: float
    complete: bool
    schema: int = 1
