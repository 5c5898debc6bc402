"""What formats cost as tables that add up over layers: what the browser's totals are made of.

Whole numbers, those of the solvers. Of every pair of formats a layer can have, only what cannot be
told from one of the two is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from analysis.allocation.budgets import cost_rows
from analysis.quant.formats import FORMATS, bits_of
from analysis.records import FLOAT, Budget, Candidate, LayerTable

NAMES = (*FORMATS, FLOAT)
By = Literal["weights", "activations", "both"]
_EIGHT = "int8"
# Which formats a resource depends on, and whether it counts products of their bits.
_AXES: dict[str, tuple[By, bool]] = {
    "size": ("weights", False),
    "size_mib": ("weights", False),
    "stored_mib": ("weights", False),
    "avg_bits": ("weights", False),
    "act": ("activations", False),
    "act_mib": ("activations", False),
    "bops": ("activations", True),
    "gbops": ("activations", True),
    "ace": ("activations", True),
}


@dataclass(frozen=True, slots=True)
class CostTable:
    """One row of a budget: ``fixed``, what every layer's formats cost, and perhaps the BOPs.

    ``costs[i]`` are those of layer i by the places of its formats in :data:`NAMES`: of its weights,
    of its activations, or of both (weights x activations, row by row), as ``by`` says. ``products``
    adds MACs x weight bits x activation bits of all layers. The ``unit`` is how many of these make
    1 of the budget's own, ``limit`` the largest total that keeps it.
    """

    by: By
    products: bool
    fixed: int
    costs: tuple[tuple[int, ...], ...]
    unit: int
    limit: int

    def total(self, table: LayerTable, candidates: Sequence[Candidate]) -> int:
        """Return what an allocation costs, one candidate per layer."""
        total = self.fixed
        for layer, own, chosen in zip(table.layers, self.costs, candidates, strict=True):
            w, a = NAMES.index(chosen.weight), NAMES.index(chosen.activation)
            total += own[{"weights": w, "activations": a, "both": w * len(NAMES) + a}[self.by]]
            if self.products:
                total += layer.macs * bits_of(chosen.weight) * bits_of(chosen.activation)
        return total


@lru_cache(maxsize=32)
def cost_tables(table: LayerTable, budget: Budget) -> tuple[CostTable, ...]:
    """Return the rows of a budget; all of them must hold, as those of a peak.

    Most resources depend on one of the two formats, BOPs and what adds to them on their product;
    only of others the numbers of every combination are kept.

    Raises:
        AnalysisError: If the costs of some format are not known; see
            :func:`analysis.allocation.budgets.cost_rows`.
    """
    by, products = _AXES.get(budget.resource, ("both", False))
    own = {
        "weights": tuple(Candidate(name, _EIGHT) for name in NAMES),
        "activations": tuple(Candidate(_EIGHT, name) for name in NAMES),
        "both": tuple(Candidate(w, a) for w in NAMES for a in NAMES),
    }[by]
    rows = cost_rows(table, (own,) * len(table.layers), budget)
    products_of = [
        [layer.macs * bits_of(c.weight) * bits_of(c.activation) if products else 0 for c in own]
        for layer in table.layers
    ]
    return tuple(
        CostTable(
            by=by,
            products=products,
            fixed=row.fixed,
            costs=tuple(
                tuple(cost - product for cost, product in zip(costs, known, strict=True))
                for costs, known in zip(row.costs, products_of, strict=True)
            ),
            unit=row.unit,
            limit=row.limit,
        )
        for row in rows
    )
