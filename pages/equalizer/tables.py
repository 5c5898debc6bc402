"""Tables of costs, budgets and scores as the component reads them.

Costs go out as the whole numbers that the solvers use, so that the browser's totals are theirs;
scores as base64 of little-endian float64.
"""

import base64
from itertools import combinations
from typing import Any

import numpy as np

from analysis.cost_tables import NAMES, CostTable, cost_tables
from analysis.errors import AnalysisError
from analysis.models.cost import OTHER_BITS, reference_size_bits
from analysis.plots.colours import Coding
from analysis.records import Budget, BudgetUse, FloatArray, LayerTable, ScoreTable

CODES = {name: code for code, name in enumerate(NAMES)}
# Short names of resources with the unit of what is used; a limit that is a share is a plain number.
_SHARE = "of w8a8"
_BUDGETS = {
    "size": ("size", _SHARE),
    "size_mib": ("size", "MiB"),
    "stored_mib": ("size with scales", "MiB"),
    "bops": ("BOPs", _SHARE),
    "gbops": ("BOPs", "10⁹"),
    "avg_bits": ("average bits", "bits"),
    "act": ("activation peak", _SHARE),
    "act_mib": ("activation peak", "MiB"),
    "ace": ("arithmetic effort", _SHARE),
    "latency_ms": ("time", "ms"),
}
_PEAKS = ("act", "act_mib")


def size_table(table: LayerTable) -> dict[str, Any]:
    """Return the costs of every format in size, and the sizes at w8a8 and in float."""
    (row,) = cost_tables(table, Budget(resource="size_mib", limit=1.0))
    return {
        "by": row.by,
        "products": row.products,
        "fixed": row.fixed,
        "costs": list(enumerate(map(list, row.costs))),
        "unit": row.unit,
        "reference": reference_size_bits(table),
        "float": OTHER_BITS * table.params_after_folding,
    }


def budget_table(table: LayerTable, use: BudgetUse, remark: str) -> dict[str, Any]:
    """Return a budget with its costs, or with what was used where these are not known."""
    title, unit = _BUDGETS.get(use.resource, (use.resource, ""))
    shown = {
        "resource": use.resource,
        "title": title,
        "unitName": unit,
        "text": f"{use.limit:g}" if unit in (_SHARE, "bits") else f"{use.limit:g} {unit}".rstrip(),
        "note": remark,
        "peak": use.resource in _PEAKS,
    }
    try:
        rows = cost_tables(table, Budget(resource=use.resource, limit=use.limit))
    except AnalysisError:  # such as a latency table that does not know every format
        return shown | {"rows": None, "used": use.used, "limit": use.limit}
    return shown | {
        "rows": [_row(row) for row in rows],
        "unit": rows[0].unit,
        "limit": rows[0].limit,
    }


def _row(row: CostTable) -> dict[str, Any]:
    """Return a row with the layers that count at all."""
    costs = [[place, list(own)] for place, own in enumerate(row.costs) if any(own)]
    return {"by": row.by, "products": row.products, "fixed": row.fixed, "costs": costs}


def scores_table(scores: ScoreTable, names: dict[str, int]) -> dict[str, Any]:
    """Return scores with the place of every layer, by its name, and the ends of their colours."""
    rows = [-1] * len(names)
    for row, name in enumerate(scores.layers):
        if name in names:
            rows[names[name]] = row
    coding = Coding.of(scores.values)
    return {
        "title": scores.title,
        "short": f"sensitivity at these bits, {scores.title}",
        "unit": scores.unit,
        "n": scores.n,
        "columns": [[CODES[c.weight], CODES[c.activation]] for c in scores.candidates],
        "rows": rows,
        "values": _packed(scores.values),
        "coding": {"low": coding.low, "high": coding.high, "logarithmic": coding.logarithmic},
        "pairs": _pairs(scores, names),
    }


def _pairs(scores: ScoreTable, names: dict[str, int]) -> list[list[Any]]:
    """Return the interactions of every two layers that have any."""
    if scores.interactions is None:
        return []
    found = []
    for i, j in combinations(range(len(scores.layers)), 2):
        values = scores.interactions[i, :, j]
        if values.any() and scores.layers[i] in names and scores.layers[j] in names:
            found.append([names[scores.layers[i]], names[scores.layers[j]], _packed(values)])
    return found


def _packed(values: FloatArray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode("ascii")
