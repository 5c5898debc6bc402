"""How long layers take on a device."""

from dataclasses import dataclass

from analysis.records.base import Record
from analysis.records.candidates import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRow(Record):
    """The time of one layer, or of one call of a shape, with one candidate.

    ``layer`` is a layer's name, ``shape`` a shape as
    :func:`analysis.models.latency.shape_text` spells it; one of them may be empty. Times are
    whole nanoseconds per sample; ``spread_ns`` is the interquartile range of what was measured, 0
    where it is not known.
    """

    layer: str
    shape: str
    candidate: Candidate
    ns: int
    spread_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable(Record):
    """Times of layers one by one: no sum of them is the measured time of a network.

    ``source`` says in words where they come from.
    """

    rows: tuple[LatencyRow, ...]
    source: str
    notes: tuple[str, ...] = ()
    schema: int = 1
