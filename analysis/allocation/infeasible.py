"""Say why no allocation fits, and which limit would."""

from collections.abc import Callable
from dataclasses import replace

from analysis.allocation.budgets import CostRow, budgets_of
from analysis.errors import InfeasibleBudgetError
from analysis.records import Budget

# The smallest total of a row while the other given rows are kept; None if they cannot be.
Smallest = Callable[[CostRow, tuple[CostRow, ...]], int | None]

UNIT_TEXT = {
    "size": "of the w8a8 size",
    "size_mib": "MiB",
    "stored_mib": "MiB with scales",
    "bops": "of the w8a8 BOPs",
    "gbops": "10^9 BOPs per sample",
    "avg_bits": "bits per weight",
    "act": "of the w8a8 peak",
    "act_mib": "MiB",
    "ace": "of the w8a8 effort",
    "latency_ms": "ms",
}


def explain(
    rows: tuple[CostRow, ...], smallest: Smallest, what: str = "allocation"
) -> InfeasibleBudgetError:
    """Make the error for budgets that no allocation satisfies.

    The nearest limits are rounded up to five digits, so that asking for one succeeds. Of a budget
    of several rows it is the smallest peak.

    Args:
        rows: The rows of all budgets.
        smallest: Finds the smallest total of a row while others are kept.
        what: What was looked for ("allocation", "uniform allocation").
    """
    budgets = budgets_of(rows)
    every_other = [tuple(r for own in budgets if own is not mine for r in own) for mine in budgets]
    together = [
        _smallest_peak(mine, kept, smallest)
        for mine, kept in zip(budgets, every_other, strict=True)
    ]
    alone = [
        _smallest_peak(mine, (), smallest) if kept else t
        for mine, kept, t in zip(budgets, every_other, together, strict=True)
    ]
    rows = tuple(mine[0] for mine in budgets)
    others = [tuple(row for row in rows if row is not mine) for mine in rows]
    failing = [i for i, row in enumerate(rows) if _exceeds(alone[i], row.limit)]
    if len(failing) > 1:
        parts = [f"{_asked(rows[i])}: {_need(rows[i], alone[i])}" for i in failing]
        text = f"No {what} meets several budgets, even alone. {'; '.join(parts)}."
        first = failing[0]
    elif failing:
        first = failing[0]
        kept = f" with {_all(others[first])} kept" if others[first] else ""
        text = (
            f"No {what} meets {_asked(rows[first])}: {_need(rows[first], together[first])}{kept}."
        )
    else:
        parts = [
            f"with {_all(kept)} kept, {_need(row, total)}"
            for row, kept, total in zip(rows, others, together, strict=True)
        ]
        text = (
            f"No {what} meets {_all(rows)} together, though each is met alone: {'; '.join(parts)}."
        )
        first = next((i for i, total in enumerate(together) if total is not None), 0)
    return InfeasibleBudgetError(
        text + " Raise the limit, add cheaper candidates or release pins.",
        resource=rows[first].budget.resource,
        limit=rows[first].budget.limit,
        nearest=_nearest(rows[first], together[first]),
    )


def _smallest_peak(
    mine: tuple[CostRow, ...], kept: tuple[CostRow, ...], smallest: Smallest
) -> int | None:
    """Return the smallest total that none of a budget's rows exceeds, None if others cannot hold.

    No peak lies below the row whose own smallest total is largest, and mostly that one is reached;
    else the interval above it is halved.
    """
    totals = [smallest(row, kept) for row in mine]
    low = max((t for t in totals if t is not None), default=0)
    if None in totals or len(mine) == 1:
        return None if None in totals else low
    high = max(row.fixed + sum(max(own) for own in row.costs) for row in mine)

    def reached(total: int) -> bool:
        capped = Budget(resource=mine[0].budget.resource, limit=float(total))
        others = tuple(replace(row, budget=capped, unit=1) for row in mine[1:])
        found = smallest(mine[0], kept + others)
        return found is not None and found <= total

    if reached(low):
        return low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _exceeds(total: int | None, limit: int) -> bool:
    return total is None or total > limit


def _nearest(row: CostRow, total: int | None) -> float:
    return float("inf") if total is None else row.rounded_up(total)


def _asked(row: CostRow) -> str:
    return f"{row.budget.resource}={row.budget.limit:g}"


def _all(rows: tuple[CostRow, ...]) -> str:
    return " and ".join(_asked(row) for row in rows)


def _need(row: CostRow, total: int | None) -> str:
    if total is None:
        return f"no limit of {row.budget.resource} is large enough"
    unit = UNIT_TEXT.get(row.budget.resource, "")
    limit = _nearest(row, total)
    return f"{row.budget.resource} must be at least {limit:g} {unit}".rstrip()
