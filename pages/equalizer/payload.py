"""What the component is mounted with: the allocation, its layers and what is known of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.allocation.edit import LADDER
from analysis.cost_tables import NAMES
from analysis.models.cost import reference_bops
from analysis.prediction_error import PredictionError
from analysis.quant.formats import bits_of
from analysis.records import Allocation, BudgetUse, LayerTable, ScoreTable
from pages.equalizer.tables import CODES, budget_table, scores_table, size_table

Sample = tuple[int, str]  # number and label, empty where it is not known


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
        "size": size_table(table),
        "bopsReference": reference_bops(table),
        "scores": None if scores is None else scores_table(scores, names),
        "noise": None if noise is None else scores_table(noise, names),
        "budgets": [budget_table(table, use, remark) for use in budgets],
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
