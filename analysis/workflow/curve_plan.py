"""What an accuracy curve compares, and the flags that say it on the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.allocation import SOLVERS
from analysis.allocation.budgets import check_budgets
from analysis.allocation.solvers import INTERACTIONS
from analysis.allocation.tying import Ties
from analysis.commands import budget_text, changed_settings
from analysis.errors import AllocationError
from analysis.ptq import PTQ_METHODS
from analysis.records import Budget, Candidate, LatencyTable, QuantSettings, Series
from analysis.records.curve import METRIC, RANDOM, SIZE_ONLY, UNIFORM
from analysis.sensitivity import METRICS
from analysis.workflow.allocating import pin_texts, tie_texts
from analysis.workflow.recipe import DEFAULTS
from analysis.workflow.scoring import DEFAULT_CANDIDATES, MEMORY_MIB
from analysis.workflow.sweeping import check_sweepable


def equal_solver(solver: str) -> str:
    """Return what solves the size-only baseline of a solver: itself, unless it needs interactions.

    Equal scores of single layers have none; milp is exact for them.
    """
    return "milp" if INTERACTIONS in SOLVERS[solver].needs else solver


@dataclass(frozen=True, slots=True)
class CurvePlan:
    """What to measure.

    Args:
        metrics: Registered metrics; the size-only baseline is always added.
        resource: What is limited.
        points: How many limits, even in the resource from the cheapest to the dearest allocation.
        solvers: Registered solvers; see :func:`check_sweepable`.
        methods: Registered post-training methods, under their default options.
        random: Random feasible allocations at every limit, 0 for none.
        seed: Seed of the random allocations.
        fixed: Other budgets, kept at every limit.
        candidates: What layers may become.
        settings: How formats become quantizers, and whether the first and last layer are held.
        memory_mib: Memory for the activations of one batch; see :func:`score`.
        latency: Times of the layers, which limits of ``latency_ms`` need.
        latency_file: CSV file with them that the equal command line names.
        ties: Names of layers that must take the same candidate; no layer is in two ties.
        pins: Layers that must take a given candidate, besides the first and the last.

    Raises:
        UnknownNameError: If there is no such metric, solver or method.
        AllocationError: If nothing is compared, a solver chooses by measured accuracy, or two
            further budgets are of one resource.
    """

    metrics: tuple[str, ...]
    resource: str = "size"
    points: int = 6
    solvers: tuple[str, ...] = ("milp",)
    methods: tuple[str, ...] = ("nearest",)
    random: int = 20
    seed: int = 0
    fixed: tuple[Budget, ...] = ()
    candidates: tuple[Candidate, ...] = DEFAULT_CANDIDATES
    settings: QuantSettings = DEFAULTS
    memory_mib: int = MEMORY_MIB
    latency: LatencyTable | None = None
    latency_file: str = "latency.csv"
    ties: Ties = ()
    pins: Mapping[str, Candidate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the names, and drop what comes twice."""
        for kind, registry in (("metrics", METRICS), ("methods", PTQ_METHODS)):
            names = tuple(dict.fromkeys(getattr(self, kind)))
            object.__setattr__(self, kind, names)
            for name in names:
                registry[name]
        solvers = tuple(dict.fromkeys(self.solvers))
        object.__setattr__(self, "solvers", solvers)
        for solver in solvers:
            check_sweepable(solver)
        check_budgets(self.fixed)
        if not (self.compared and solvers and self.methods):
            raise AllocationError(
                "A curve must have at least one metric besides `size_only`, one solver and one "
                f"method, got {', '.join((*self.metrics, *solvers, *self.methods)) or 'none'}."
            )

    @property
    def compared(self) -> tuple[str, ...]:
        """The metrics without the baseline that is always there."""
        return tuple(name for name in self.metrics if name != SIZE_ONLY)

    @property
    def series(self) -> tuple[Series, ...]:
        """Every series in order: metrics, size-only, uniform, random, method by method."""
        found = []
        for method in self.methods:
            for solver in self.solvers:
                found += [Series(kind=METRIC, metric=m, solver=solver, method=method)
                          for m in self.compared]  # fmt: skip
                equal = Series(
                    kind=SIZE_ONLY, metric=SIZE_ONLY, solver=equal_solver(solver), method=method
                )
                found += [] if equal in found else [equal]
            found.append(Series(kind=UNIFORM, metric="", solver="", method=method))
            if self.random:
                found.append(Series(kind=RANDOM, metric="", solver="", method=method))
        return tuple(found)

    @property
    def ways(self) -> tuple[tuple[str, str], ...]:
        """Metric and solver of every front that is solved for, size-only among them."""
        return tuple(dict.fromkeys((s.metric, s.solver) for s in self.series if s.metric))

    @property
    def measurements(self) -> int:
        """The most allocations that are measured; equal ones are measured once."""
        ways = len(self.solvers) * (len(self.compared) + 1) + self.random
        return len(self.methods) * (ways * self.points + len(self.candidates))

    @property
    def flags(self) -> dict[str, Any]:
        """Flags of the equal command line."""
        return {
            "metric": list(self.metrics),
            "solver": list(self.solvers),
            "method": list(self.methods),
            "resource": self.resource,
            "points": self.points,
            "random": str(self.random),
            "draw-seed": self.seed or None,
            "budget": [budget_text(b) for b in self.fixed],
            "candidates": ",".join(c.text for c in self.candidates),
            "pin": pin_texts(self.pins),
            "tie": tie_texts(self.ties),
            "latency": "" if self.latency is None else self.latency_file,
            **changed_settings(self.settings),
        }
