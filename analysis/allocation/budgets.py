"""Budgets as rows of exact integers.

A budget is written in the user's unit (a ratio, MiB, bits per weight); a solver needs whole
numbers that cannot be off by a rounding. A :class:`CostRow` holds both.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from math import floor, isfinite

from analysis.errors import AllocationError, UnknownNameError
from analysis.models.cost import BITS_PER_MIB, other_bits, reference_bops, reference_size_bits
from analysis.quant.formats import bits_of
from analysis.records import Budget, Candidate, LayerTable

RESOURCES = ("size", "size_mib", "bops", "avg_bits")
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
        slightly smaller binary number.
        """
        return floor(Fraction(repr(float(self.budget.limit))) * self.unit)

    def total(self, choice: tuple[int, ...]) -> int:
        """Return the exact cost of one choice per layer, shape (L,)."""
        return self.fixed + sum(row[k] for row, k in zip(self.costs, choice, strict=True))

    def in_unit(self, total: int) -> float:
        """Return a total in the budget's own unit."""
        return total / self.unit

    def rounded_up(self, total: int) -> float:
        """Return a limit of few digits, in the budget's own unit, that admits ``total``."""
        return float(_SHOWN_DIGITS.divide(Decimal(total), Decimal(self.unit)))


def cost_row(
    table: LayerTable, candidates: tuple[tuple[Candidate, ...], ...], budget: Budget
) -> CostRow:
    """Count what each candidate of each layer uses of a budget.

    Args:
        table: The layers.
        candidates: The candidates of each layer, L tuples.
        budget: The budget.

    Raises:
        UnknownNameError: If there is no such resource or format.
        AllocationError: If the limit is not a positive, finite number.
    """
    check_budget(budget)
    if budget.resource == "bops":
        costs = tuple(
            tuple(layer.macs * bits_of(c.weight) * bits_of(c.activation) for c in own)
            for layer, own in zip(table.layers, candidates, strict=True)
        )
        return CostRow(budget, costs, 0, reference_bops(table))
    costs = tuple(
        tuple(layer.num_weights * bits_of(c.weight) for c in own)
        for layer, own in zip(table.layers, candidates, strict=True)
    )
    if budget.resource == "avg_bits":
        return CostRow(budget, costs, 0, sum(layer.num_weights for layer in table.layers))
    unit = BITS_PER_MIB if budget.resource == "size_mib" else reference_size_bits(table)
    return CostRow(budget, costs, other_bits(table), unit)
