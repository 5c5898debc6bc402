"""Candidates chosen for every layer, what they cost and what limits them."""

from dataclasses import dataclass

from analysis.records.base import Record
from analysis.records.candidates import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(Record):
    """A resource and its limit.

    ``size``, ``bops``, ``act`` and ``ace`` are ratios to the same network with every layer at w8a8,
    ``size_mib``, ``stored_mib`` (with the scales) and ``act_mib`` are in MiB (2^20 bytes),
    ``gbops`` in 10^9 BOPs per sample, ``avg_bits`` in bits per quantizable weight, ``latency_ms``
    in milliseconds per sample. ``act`` and ``act_mib`` limit the peak of the activation memory per
    sample, ``ace`` the arithmetic effort with element-wise operations.
    """

    resource: str
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse(Record):
    """What an allocation uses of a budget, in the budget's own unit."""

    resource: str
    limit: float
    used: float

    @property
    def slack(self) -> float:
        """What is left of the budget."""
        return self.limit - self.used


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation(Record):
    """A candidate for each layer, in the order of the layer table."""

    layers: tuple[str, ...]
    candidates: tuple[Candidate, ...]

    def as_dict(self) -> dict[str, Candidate]:
        """Candidates by layer name."""
        return dict(zip(self.layers, self.candidates, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs(Record):
    """What an allocation costs. ``size_mib`` counts every parameter of the model.

    Weights count their format's bits, everything else (biases, skipped modules) 32.
    ``bops`` = sum over layers of MACs x weight bits x activation bits, float counting 32.
    ``size_ratio`` and ``bops_ratio`` are relative to every layer at w8a8. ``peak_activation_mib``
    is the most activation memory in use at once, per sample. ``latency_ms`` sums the times of the
    layers in a latency table, None without one. ``scales_mib`` is what a float32 scale per output
    channel of every quantized weight takes on top of ``size_mib``. Of a configuration whose method
    splits weights, all but activations and times count both parts.
    """

    size_mib: float
    size_ratio: float
    compression: float
    bops: float
    bops_ratio: float
    avg_weight_bits: float
    avg_activation_bits: float
    peak_activation_mib: float = 0.0
    latency_ms: float | None = None
    scales_mib: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline(Record):
    """Summed scores of allocations that must be beaten, in the unit of the score table.

    ``objectives`` holds one value per allocation: one of ``uniform`` and ``size_only``, several of
    ``random``; none where nothing of the kind fits, for a ``reason``.
    """

    name: str
    objectives: tuple[float, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution(Record):
    """An allocation with what is known about it.

    ``objective`` and ``lower_bound`` are in the unit of the score table; ``gap`` is
    (objective - lower_bound) relative to the objective. ``status`` is ``optimal`` (certified),
    ``feasible`` (no certificate) or ``timeout`` (best found, bound honest). ``baselines`` are
    within the same budgets; all of this is predicted, nothing is measured.
    """

    allocation: Allocation
    metric: str
    unit: str
    solver: str
    objective: float
    lower_bound: float | None
    gap: float | None
    status: str
    budgets: tuple[BudgetUse, ...]
    costs: Costs
    seconds: float
    notes: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    schema: int = 2
