"""How far sensitivity metrics rank the layers as a measured reference does."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.records.base import Record
from analysis.records.candidates import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate(Record):
    """A number with the interval [low, high] that its record speaks of."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RankAgreement(Record):
    """How one metric ranks the layers at one candidate, or over all candidates.

    ``candidate`` is None over all: pairs of layers at the same candidate, of every candidate.
    ``layers`` were compared; ``left_out`` are scored by the metric or the reference alone. ``tau``
    is Kendall's tau-b, ``rho`` Spearman's rho, in [-1, 1], None for the reason that ``reason``
    gives. ``overlap`` is the share of the ``k`` most sensitive layers that both name, in 0..1,
    ``chance`` what a random ranking has of it.
    """

    metric: str
    title: str
    candidate: Candidate | None
    layers: int
    left_out: int
    tau: Estimate | None
    rho: Estimate | None
    k: int
    overlap: float | None
    chance: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankDifference(Record):
    """Tau over all candidates of ``first`` minus that of ``second``, on the layers both score.

    The two are places among :attr:`Agreement.metrics`; every resample has the same layers for both.
    """

    first: int
    second: int
    tau: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement(Record):
    """Rankings of layers by metrics against a reference that was measured.

    ``metrics`` names the compared tables in order; ``rankings`` holds for each of them one entry
    per candidate, then the one over all. ``same_samples`` names those that were computed from the
    samples of the reference. ``ceiling`` is Kendall's tau between the reference's scores from one
    half of its samples and from the other, at the candidate ``ceiling_at``: the median of random
    halvings and the range of the middle ones, None for the reason that ``ceiling_reason`` gives.
    Intervals hold the share ``level``.
    """

    reference: str
    title: str
    options: Mapping[str, bool | int | float | str]
    data: str
    n: int
    layers: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    metrics: tuple[str, ...]
    rankings: tuple[RankAgreement, ...]
    differences: tuple[RankDifference, ...]
    same_samples: tuple[str, ...]
    ceiling: Estimate | None
    ceiling_at: Candidate
    ceiling_reason: str = ""
    resamples: int
    seed: int
    level: float
    schema: int = 1

    def overall(self, metric: int) -> RankAgreement:
        """Return the comparison over all candidates of the metric at this place."""
        return self.rankings[(metric + 1) * (len(self.candidates) + 1) - 1]

    def at(self, metric: int, candidate: Candidate) -> RankAgreement:
        """Return the comparison at one candidate of the metric at this place."""
        place = self.candidates.index(candidate)
        return self.rankings[metric * (len(self.candidates) + 1) + place]
