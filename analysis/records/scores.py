"""Sensitivity of layers and of samples."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.records.base import FloatArray, Record
from analysis.records.candidates import Candidate, QuantSettings
from analysis.records.layers import Skipped

# Unit of noise-to-signal ratios, which are shown as SQNR in dB = -10 log10 of them.
NOISE = "noise per signal"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable(Record):
    """Sensitivity of layers: finite, larger is worse, additive over layers, may be negative.

    ``values`` has shape (L,), or (L, C) when the metric scores candidates; ``stderr``, of the same
    shape, is the standard error of the mean over the ``n`` samples. ``per_sample`` has shape (N, L)
    and its own unit; ``per_sample_stderr`` is the error of the estimator (None where ``exact``),
    not of the sampling. ``protocol`` is ``isolated`` (only this layer is quantized) or
    ``accumulated`` (this one after all before it; scores are increments and sum to the whole).
    ``data`` is the set that was scored, ``calibration`` or ``evaluation``; ``calibration`` is that
    set's digest. ``similarity`` (L, L) compares layers with each other. ``interactions``
    (L, C, L, C) holds what two layers cost together beyond their sum, in the table's unit,
    symmetric, 0 where a pair was not measured.
    """

    metric: str
    title: str
    unit: str
    layers: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    values: FloatArray
    stderr: FloatArray | None = None
    per_sample: FloatArray | None = None
    per_sample_unit: str = ""
    per_sample_stderr: FloatArray | None = None
    exact: bool
    protocol: str
    n: int
    seed: int
    forward_passes: int
    backward_passes: int
    seconds: float
    options: Mapping[str, bool | int | float | str]
    settings: QuantSettings
    calibration: str
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    data: str = "calibration"
    similarity: FloatArray | None = None
    interactions: FloatArray | None = None
    schema: int = 2
