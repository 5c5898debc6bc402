"""Records as the component reads them: formats as codes, tables as base64 of little-endian float64.

Costs go out as the whole numbers that the solvers use, so that the browser's totals are theirs.
"""

import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from analysis.allocation.budgets import cost_rows
from analysis.allocation.edit import LADDER
from analysis.errors import AnalysisError
from analysis.models.cost import OTHER_BITS, reference_bops, reference_size_bits
from analysis.plots.colours import Coding
from analysis.prediction_error import PredictionError
from analysis.quant.formats import FORMATS, bits_of
from analysis.records import (
    FLOAT,
    Allocation,
    Budget,
    BudgetUse,
    Candidate,
    FloatArray,
    LayerTable,
    ScoreTable,
)

NAMES = (*FORMATS, FLOAT)
CODES = {name: code for code, name in enumerate(NAMES)}
_UNITS = {
    "size": "of w8a8",
    "bops": "of w8a8",
    "act": "of w8a8",
    "ace": "of w8a8",
    "size_mib": "MiB",
    "stored_mib": "MiB with scales",
    "act_mib": "MiB",
    "avg_bits": "bits",
    "latency_ms": "ms",
}
# Which formats a resource depends on, and whether it counts products of their bits.
_AXES = {
    "size": ("weights", False),
    "size_mib": ("weights", False),
    "stored_mib": ("weights", False),
    "avg_bits": ("weights", False),
    "act": ("activations", False),
    "act_mib": ("activations", False),
    "bops": ("activations", True),
    "ace": ("activations", True),
}
_EIGHT = "int8"


@dataclass(frozen=True, slots=True)
class Start:
    """What the component takes over when ``version`` is newer than its own.

    ``layer`` is the layer selected in the app; it is followed when ``layer_version`` changes.
    ``answered`` is the number of the last edit that the server has seen.
    """

    allocation: Allocation
    pins: Collection[str]
    version: int
    layer: str = ""
    layer_version: int = 0
    answered: int = 0


@dataclass(frozen=True, slots=True)
class Ghost:
    """Another allocation to compare with, by its name."""

    name: str
    allocation: Allocation


def payload(
    table: LayerTable,
    start: Start,
    *,
    scores: ScoreTable | None = None,
    noise: ScoreTable | None = None,
    budgets: Sequence[BudgetUse] = (),
    remark: str = "",
    ghosts: Sequence[Ghost] = (),
    error: PredictionError | None = None,
) -> dict[str, Any]:
    """Return what the component is mounted with, plain JSON values.

    Args:
        table: The layers.
        start: The allocation, pins and selected layer.
        scores: Predict the loss and colour by sensitivity.
        noise: Noise-to-signal ratios, coloured as SQNR in dB.
        budgets: Of the last solution; the distance to each is shown.
        remark: What is said of them, such as the solver's certificate.
        ghosts: Other allocations of the same layers.
        error: How far predictions were off where they were measured.
    """
    names = {layer.name: place for place, layer in enumerate(table.layers)}
    return {
        "version": start.version,
        "answered": start.answered,
        "formats": [{"name": name, "bits": bits_of(name)} for name in NAMES],
        "ladder": [CODES[name] for name in LADDER],
        "layers": [
            {
                "name": layer.name,
                "weights": layer.num_weights,
                "macs": layer.macs,
                "group": layer.activation_group,
            }
            for layer in table.layers
        ],
        "start": codes(start.allocation) | {"pins": sorted(names[name] for name in start.pins)},
        "layer": {"name": start.layer, "version": start.layer_version},
        "size": _size(table),
        "bopsReference": reference_bops(table),
        "scores": None if scores is None else _scores(scores, names),
        "noise": None if noise is None else _scores(noise, names),
        "budgets": [_budget(table, use, remark) for use in budgets],
        "ghosts": [{"name": ghost.name} | codes(ghost.allocation) for ghost in ghosts],
        "calibration": None
        if error is None
        else {
            "slope": error.slope,
            "intercept": error.intercept,
            "factor": error.factor,
            "low": error.low,
            "high": error.high,
        },
    }


def codes(allocation: Allocation) -> dict[str, list[int]]:
    """Return an allocation as codes."""
    return {
        "weights": [CODES[candidate.weight] for candidate in allocation.candidates],
        "activations": [CODES[candidate.activation] for candidate in allocation.candidates],
    }


def _size(table: LayerTable) -> dict[str, Any]:
    ((row,), unit, _) = _rows(table, Budget(resource="size_mib", limit=1.0))
    return row | {
        "unit": unit,
        "reference": reference_size_bits(table),
        "float": OTHER_BITS * table.params_after_folding,
    }


def _budget(table: LayerTable, use: BudgetUse, remark: str) -> dict[str, Any]:
    budget = Budget(resource=use.resource, limit=use.limit)
    shown = {
        "resource": use.resource,
        "unitName": _UNITS.get(use.resource, ""),
        "text": f"{use.limit:g}",
        "note": remark,
    }
    try:
        rows, unit, limit = _rows(table, budget)
    except AnalysisError:  # such as a latency table that does not know every format
        return shown | {"rows": None}
    return shown | {"rows": rows, "unit": unit, "limit": limit}


@lru_cache(maxsize=32)
def _rows(table: LayerTable, budget: Budget) -> tuple[list[dict[str, Any]], int, int]:
    """Return the rows of a budget as the component sums them, their unit and limit.

    Most resources depend on one of the two formats, BOPs and what adds to them on their product;
    only for others the numbers of every combination are sent.
    """
    by, products = _AXES.get(budget.resource, ("both", False))
    own = {
        "weights": tuple(Candidate(name, _EIGHT) for name in NAMES),
        "activations": tuple(Candidate(_EIGHT, name) for name in NAMES),
        "both": tuple(Candidate(w, a) for w in NAMES for a in NAMES),
    }[by]
    found = cost_rows(table, (own,) * len(table.layers), budget)
    rows = []
    for row in found:
        costs = []
        for place, (layer, values) in enumerate(zip(table.layers, row.costs, strict=True)):
            if products:
                bops = (layer.macs * bits_of(c.weight) * bits_of(c.activation) for c in own)
                values = tuple(v - b for v, b in zip(values, bops, strict=True))
            if any(values) or budget.resource == "size_mib":
                costs.append([place, list(values)])
        rows.append({"by": by, "products": products, "fixed": row.fixed, "costs": costs})
    return rows, found[0].unit, found[0].limit


def _scores(scores: ScoreTable, names: dict[str, int]) -> dict[str, Any]:
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
