"""Say why no allocation fits, and which limit would."""

from collections.abc import Callable

from analysis.allocation.budgets import CostRow
from analysis.errors import InfeasibleBudgetError

# The smallest total of a row while the other given rows are kept; None if they cannot be.
Smallest = Callable[[CostRow, tuple[CostRow, ...]], int | None]

UNIT_TEXT = {
    "size": "of the w8a8 size",
    "size_mib": "MiB",
    "bops": "of the w8a8 BOPs",
    "avg_bits": "bits per weight",
}


def explain(
    rows: tuple[CostRow, ...], smallest: Smallest, what: str = "allocation"
) -> InfeasibleBudgetError:
    """Make the error for budgets that no allocation satisfies.

    The nearest limits are rounded up to five digits, so that asking for one succeeds.

    Args:
        rows: All budgets.
        smallest: Finds the smallest total of a row while others are kept.
        what: What was looked for ("allocation", "uniform allocation").
    """
    others = [tuple(other for other in rows if other is not row) for row in rows]
    together = [smallest(row, kept) for row, kept in zip(rows, others, strict=True)]
    alone = [
        smallest(row, ()) if kept else t
        for row, kept, t in zip(rows, others, together, strict=True)
    ]
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
