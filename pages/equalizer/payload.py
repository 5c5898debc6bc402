"""Records as the component reads them: formats as codes, tables as base64 of little-endian float64.

Costs go out as the whole numbers that the solvers use, so that the browser's totals are theirs.
"""

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from analysis.allocation.edit import LADDER
from analysis.cost_tables import NAMES, CostTable, cost_tables
from analysis.errors import AnalysisError
from analysis.models.cost import OTHER_BITS, reference_bops, reference_size_bits
from analysis.plots.colours import Coding
from analysis.prediction_error import PredictionError
from analysis.quant.formats import bits_of
from analysis.records import (
    Allocation,
    Budget,
    BudgetUse,
    FloatArray,
    LayerTable,
    ScoreTable,
)

CODES = {name: code for code, name in enumerate(NAMES)}
Sample = tuple[int, str]  # number and label, empty where it is not known
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


@dataclass(frozen=True, slots=True)
class Start:
    """What the component takes over when ``version`` is newer than its own.

    ``layer`` is the layer selected in the app; it is followed when ``layer_version`` changes.
    ``answered`` is the number of the last edit that the server has seen, ``heard`` that of the last
    echo.
    """

    allocation: Allocation
    pins: Collection[str]
    ties: Sequence[Sequence[str]]
    version: int
    layer: str = ""
    layer_version: int = 0
    answered: int = 0
    heard: int = 0


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
    solved: Allocation | None = None,
    remark: str = "",
    ghosts: Sequence[Ghost] = (),
    error: PredictionError | None = None,
    hardest: Mapping[str, Sequence[Sample]] | None = None,
) -> dict[str, Any]:
    """Return what the component is mounted with, plain JSON values.

    Args:
        table: The layers.
        start: The allocation, pins, ties and selected layer.
        scores: Predict the loss and colour by sensitivity.
        noise: Noise-to-signal ratios, coloured as SQNR in dB.
        budgets: Of the last solution; the distance to each is shown.
        solved: The last solution.
        remark: What is said of it, such as its certificate; of no other allocation.
        ghosts: Other allocations of the same layers.
        error: How far predictions were off where they were measured.
        hardest: Of each layer the samples that it is hardest on.
    """
    known = hardest or {}
    names = {layer.name: place for place, layer in enumerate(table.layers)}
    return {
        "version": start.version,
        "answered": start.answered,
        "heard": start.heard,
        "formats": [{"name": name, "bits": bits_of(name)} for name in NAMES],
        "ladder": [CODES[name] for name in LADDER],
        "layers": [
            {
                "name": layer.name,
                "weights": layer.num_weights,
                "macs": layer.macs,
                "group": layer.activation_group,
                "hardest": [
                    {"number": n, "label": label} for n, label in known.get(layer.name, ())
                ],
            }
            for layer in table.layers
        ],
        "start": codes(start.allocation)
        | {
            "pins": sorted(names[name] for name in start.pins),
            "ties": sorted(sorted(names[name] for name in tie) for tie in start.ties),
        },
        "layer": {"name": start.layer, "version": start.layer_version},
        "size": _size(table),
        "bopsReference": reference_bops(table),
        "scores": None if scores is None else _scores(scores, names),
        "noise": None if noise is None else _scores(noise, names),
        "budgets": [_budget(table, use, remark) for use in budgets],
        "solved": None if solved is None else codes(solved),
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


def _budget(table: LayerTable, use: BudgetUse, remark: str) -> dict[str, Any]:
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
