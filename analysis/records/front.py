"""The least objective within each of several limits of one resource."""

from dataclasses import dataclass

from analysis.records.allocation import Budget, Solution
from analysis.records.base import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint(Record):
    """What a solver found within one limit, or why it found nothing.

    ``limit`` is in the resource's own unit. ``solution`` is None for the ``reason``. ``dominated``
    says that another point costs no more and predicts no worse, and is better in one of the two;
    of equal points the one with the smallest limit is kept.
    """

    limit: float
    solution: Solution | None
    dominated: bool = False
    reason: str = ""

    @property
    def used(self) -> float:
        """What the solution uses of the resource, NaN without one."""
        return float("nan") if self.solution is None else self.solution.budgets[0].used


@dataclass(frozen=True, slots=True, kw_only=True)
class Front(Record):
    """Predicted objective against one resource, all other budgets kept.

    ``points`` are in the order of rising limits, those without a solution included. The first
    budget of every solution is the one that was swept.
    """

    resource: str
    metric: str
    unit: str
    solver: str
    fixed: tuple[Budget, ...]
    points: tuple[FrontPoint, ...]
    seconds: float
    schema: int = 1

    @property
    def front(self) -> tuple[FrontPoint, ...]:
        """The points that no other dominates."""
        return tuple(p for p in self.points if p.solution is not None and not p.dominated)
