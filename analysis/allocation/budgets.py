"""Budgets as rows of exact integers.

A budget is written in the user's unit (a ratio, MiB, bits per weight); a solver needs whole
numbers that cannot be off by a rounding. A :class:`CostRow` holds both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from math import floor, isfinite

from analysis.errors import AllocationError, UnknownNameError
from analysis.models.cost import (
    BITS_PER_MIB,
    OTHER_BITS,
    other_bits,
    reference_bops,
    reference_effort,
    reference_peak_bits,
    reference_size_bits,
    scale_bits,
)
from analysis.models.latency import NS_PER_MS, known_times
from analysis.quant.formats import bits_of
from analysis.records import (
    FLOAT,
    Arithmetic,
    Budget,
    Candidate,
    LatencyTable,
    LayerTable,
    Moment,
)

RESOURCES = (
    "size",
    "size_mib",
    "stored_mib",
    "bops",
    "gbops",
    "avg_bits",
    "act",
    "act_mib",
    "ace",
    "latency_ms",
)
TIMED = ("latency_ms",)  # resources that need a latency table
_GIGA = 10**9
_LARGEST = 2**62
_SHOWN_DIGITS = Context(prec=5, rounding=ROUND_CEILING)


def parse_budget(text: str) -> Budget:
    """Read a budget as it is typed: ``size=0.6``, ``size_mib=4``, ``bops=0.3``, ``avg_bits=4.5``.

    Raises:
        AllocationError: If the text has another form or the limit is not a positive number.
        UnknownNameError: If there is no such resource.
    """
    resource, equals, limit = (part.strip() for part in text.partition("="))
    try:
        budget = Budget(resource=resource, limit=float(limit))
    except ValueError:
        equals = ""
    if not equals:
        raise AllocationError(
            f"A budget must look like `size=0.6` (resource=limit), got `{text}`; resources: "
            f"{', '.join(RESOURCES)}."
        )
    check_budget(budget)
    return budget


def check_budgets(budgets: Sequence[Budget]) -> None:
    """Check that budgets can be asked for together.

    Raises:
        AllocationError: If two are of one resource, or a limit is not a positive, finite number.
        UnknownNameError: If there is no such resource.
    """
    for budget in budgets:
        check_budget(budget)
    resources = [budget.resource for budget in budgets]
    if len(set(resources)) < len(resources):
        raise AllocationError(
            f"Each resource can have one budget, got "
            f"{', '.join(f'{b.resource}={b.limit:g}' for b in budgets)}; keep the tighter one."
        )


def check_budget(budget: Budget) -> None:
    """Check that a budget can be asked for.

    Raises:
        AllocationError: If the limit is not a positive, finite number.
        UnknownNameError: If there is no such resource.
    """
    if budget.resource not in RESOURCES:
        raise UnknownNameError("resource", budget.resource, RESOURCES)
    if not (isfinite(budget.limit) and budget.limit > 0):
        raise AllocationError(
            f"The limit of budget `{budget.resource}` must be a positive number, "
            f"got {budget.limit:g}."
        )


@dataclass(frozen=True, slots=True)
class CostRow:
    """One budget as whole numbers: ``fixed + sum of costs[layer][choice] <= limit``.

    ``unit`` is how many of these whole numbers make 1 in the budget's own unit.
    """

    budget: Budget
    costs: tuple[tuple[int, ...], ...]
    fixed: int
    unit: int

    @property
    def limit(self) -> int:
        """The largest total that keeps the budget.

        The limit is taken as the decimal that a person reads, so 0.6 means 6/10 and not the
        slightly smaller binary number. No network costs more than a 64-bit number holds.
        """
        return min(floor(Fraction(repr(float(self.budget.limit))) * self.unit), _LARGEST)

    def total(self, choice: tuple[int, ...]) -> int:
        """Return the exact cost of one choice per layer, shape (L,)."""
        return self.fixed + sum(row[k] for row, k in zip(self.costs, choice, strict=True))

    def in_unit(self, total: int) -> float:
        """Return a total in the budget's own unit."""
        return total / self.unit

    def rounded_up(self, total: int) -> float:
        """Return a limit of few digits, in the budget's own unit, that admits ``total``."""
        return float(_SHOWN_DIGITS.divide(Decimal(total), Decimal(self.unit)))


def budgets_of(rows: tuple[CostRow, ...]) -> tuple[tuple[CostRow, ...], ...]:
    """Put the rows of each budget together, in order."""
    found: dict[Budget, tuple[CostRow, ...]] = {}
    for row in rows:
        found[row.budget] = (*found.get(row.budget, ()), row)
    return tuple(found.values())


def cost_rows(
    table: LayerTable,
    candidates: tuple[tuple[Candidate, ...], ...],
    budget: Budget,
    latency: LatencyTable | None = None,
) -> tuple[CostRow, ...]:
    """Count what each candidate of each layer uses of a budget.

    A peak is a budget of several rows, one per moment at which it may be: all must hold. What an
    activation group uses is booked on its first layer.

    Args:
        table: The layers.
        candidates: The candidates of each layer, L tuples.
        budget: The budget.
        latency: Times of the layers, for ``latency_ms``.

    Raises:
        UnknownNameError: If there is no such resource or format.
        AllocationError: If the limit is not a positive, finite number, or what the resource needs
            to know is not known: a latency table with every layer and candidate, the moments.
        QuantizationError: If the arithmetic effort could not be counted.
    """
    check_budget(budget)
    if budget.resource in TIMED:
        if latency is None:
            raise AllocationError(
                "A budget of latency_ms must come with a latency table, got none. Name one, or "
                "measure one on this machine with the step `latency`."
            )
        return (CostRow(budget, known_times(table, latency, candidates), 0, NS_PER_MS),)
    if budget.resource in ("act", "act_mib"):
        unit = BITS_PER_MIB if budget.resource == "act_mib" else reference_peak_bits(table)
        if not table.moments:
            raise AllocationError(
                f"A budget of {budget.resource} must know when activations are in memory, the "
                f"layer table of `{table.model}` does not say. Observe the model again."
            )
        return tuple(
            CostRow(budget, _booked(table, candidates, m), OTHER_BITS * m.unquantized, unit)
            for m in table.moments
        )
    return (_one_row(table, candidates, budget),)


def _one_row(
    table: LayerTable, candidates: tuple[tuple[Candidate, ...], ...], budget: Budget
) -> CostRow:
    if budget.resource in ("bops", "gbops", "ace"):
        costs = tuple(
            tuple(layer.macs * bits_of(c.weight) * bits_of(c.activation) for c in own)
            for layer, own in zip(table.layers, candidates, strict=True)
        )
        if budget.resource == "bops":
            return CostRow(budget, costs, 0, reference_bops(table))
        if budget.resource == "gbops":
            return CostRow(budget, costs, 0, _GIGA)
        unit = reference_effort(table)  # refuses what could not be counted
        if table.arithmetic is None:
            raise ValueError("an effort that was counted has its record")
        between = _booked(table, candidates, table.arithmetic)
        costs = tuple(
            tuple(a + b for a, b in zip(*rows, strict=True))
            for rows in zip(costs, between, strict=True)
        )
        work = table.arithmetic
        fixed = OTHER_BITS * work.unquantized + OTHER_BITS**2 * work.products
        return CostRow(budget, costs, fixed, unit)
    costs = tuple(
        tuple(layer.num_weights * bits_of(c.weight) for c in own)
        for layer, own in zip(table.layers, candidates, strict=True)
    )
    if budget.resource == "avg_bits":
        return CostRow(budget, costs, 0, sum(layer.num_weights for layer in table.layers))
    if budget.resource == "stored_mib":
        costs = tuple(
            tuple(n + scale_bits(layer, c.weight != FLOAT) for n, c in zip(row, own, strict=True))
            for layer, row, own in zip(table.layers, costs, candidates, strict=True)
        )
    unit = reference_size_bits(table) if budget.resource == "size" else BITS_PER_MIB
    return CostRow(budget, costs, other_bits(table), unit)


def _booked(
    table: LayerTable, candidates: tuple[tuple[Candidate, ...], ...], values: Moment | Arithmetic
) -> tuple[tuple[int, ...], ...]:
    """Return the bits of a group's values for each candidate of its first layer, else 0."""
    left = dict(zip(values.groups, values.elements, strict=True))
    return tuple(
        tuple(bits_of(c.activation) * count for c in own)
        for own, count in (
            (own, left.pop(layer.activation_group, 0))
            for layer, own in zip(table.layers, candidates, strict=True)
        )
    )
