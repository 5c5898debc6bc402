"""The allocation problem: layers, what each may become, scores, budgets, groups and pins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, isfinite

import numpy as np

from analysis.allocation.budgets import CostRow, budgets_of, cost_rows
from analysis.allocation.pins import allowed_candidates
from analysis.errors import AllocationError, QuantizationError
from analysis.models.cost import BITS_PER_MIB, costs, scale_bits
from analysis.models.latency import NS_PER_MS, Lookup
from analysis.quant.formats import bits_of
from analysis.records import (
    FLOAT,
    Allocation,
    Budget,
    Candidate,
    Costs,
    LatencyTable,
    LayerTable,
    ScoreTable,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """What two layers cost together beyond their sum, one value per candidate of each.

    ``first`` is the layer that comes earlier; ``values[k][l]`` belongs to its candidate k and the
    other's candidate l.
    """

    first: int
    second: int
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Choose one candidate per layer: least summed score within every budget.

    A choice is a tuple of L indices into each layer's ``candidates``. Layers of one group (indices,
    every layer in exactly one) must choose equal activation formats, and hold only candidates whose
    activation format every member of the group can take. A pinned layer has one candidate.
    ``pairs`` hold the interactions that were measured, each pair of layers at most once. Rows with
    one ``budget`` belong together: the largest of them is what is used of it.
    """

    table: LayerTable
    metric: str
    unit: str
    candidates: tuple[tuple[Candidate, ...], ...]
    scores: tuple[tuple[float, ...], ...]
    rows: tuple[CostRow, ...]
    groups: tuple[tuple[int, ...], ...]
    pairs: tuple[Pair, ...] = ()
    latency: LatencyTable | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that every table has one entry per layer and candidate."""
        shape = [len(own) for own in self.candidates]
        tables = (self.scores, *(row.costs for row in self.rows))
        if any([len(own) for own in values] != shape for values in tables):
            raise ValueError("scores and costs must have one value per layer and candidate")
        places = [(pair.first, pair.second) for pair in self.pairs]
        if len(set(places)) != len(places) or any(i >= j for i, j in places):
            raise ValueError("each pair of layers must come once, the earlier layer first")
        for pair in self.pairs:
            widths = {len(own) for own in pair.values}
            if (len(pair.values), widths) != (shape[pair.first], {shape[pair.second]}):
                raise ValueError("a pair must have one value per two candidates of its layers")
        if sorted(i for group in self.groups for i in group) != list(range(len(shape))):
            raise ValueError("every layer must be in exactly one activation group")
        for group in self.groups:
            if len({frozenset(c.activation for c in self.candidates[i]) for i in group}) > 1:
                raise ValueError("all layers of a group must hold the same activation formats")

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order of every other table."""
        return self.table.names

    def objective(self, choice: tuple[int, ...]) -> float:
        """Return the summed score of a choice, interactions included."""
        alone = [row[k] for row, k in zip(self.scores, choice, strict=True)]
        together = [p.values[choice[p.first]][choice[p.second]] for p in self.pairs]
        return fsum(alone + together)

    def separable(self) -> "Problem":
        """Return the problem without interactions, for solvers that cannot hear them."""
        if not self.pairs:
            return self
        note = (
            f"The interactions of {len(self.pairs)} pairs of layers are left out: this solver sums "
            f"layers one by one. rlt and local use them."
        )
        return replace(self, pairs=(), notes=(*self.notes, note))

    def allocation(self, choice: tuple[int, ...]) -> Allocation:
        """Return a choice as an allocation."""
        chosen = tuple(own[k] for own, k in zip(self.candidates, choice, strict=True))
        return Allocation(layers=self.layers, candidates=chosen)

    def used(self, choice: tuple[int, ...]) -> tuple[tuple[CostRow, int], ...]:
        """Return, for each budget, the row of which a choice uses most, and how much."""
        totals = [[(row, row.total(choice)) for row in own] for own in budgets_of(self.rows)]
        return tuple(max(own, key=lambda pair: pair[1]) for own in totals)

    def overruns(self, choice: tuple[int, ...]) -> tuple[CostRow, ...]:
        """Return the budgets that a choice breaks, one row of each, compared in whole numbers."""
        if all(row.total(choice) <= row.limit for row in self.rows):
            return ()
        return tuple(row for row, total in self.used(choice) if total > row.limit)

    def split_groups(self, choice: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Return the groups in which a choice mixes activation formats."""
        formats = [own[k].activation for own, k in zip(self.candidates, choice, strict=True)]
        return tuple(g for g in self.groups if len({formats[i] for i in g}) > 1)


def build_problem(
    table: LayerTable,
    scores: ScoreTable,
    budgets: Sequence[Budget],
    pins: Mapping[str, Candidate | tuple[Candidate, ...]] | None = None,
    latency: LatencyTable | None = None,
) -> Problem:
    """Put layers, scores and budgets together.

    Layers that the table pins get w8a8 unless ``pins`` says otherwise. A layer without scores keeps
    its float weight and follows its group's activation format; it still counts in every cost.

    Args:
        table: The layers.
        scores: Scores of shape (L', C) for some or all of the layers.
        budgets: The budgets, at most one per resource; none gives the best scores there are.
        pins: Layer name to the candidate it must take, or to those it may take.
        latency: Times of the layers; a budget of ``latency_ms`` needs them.

    Raises:
        AllocationError: If the scores do not fit the layers, are not finite or do not tell
            candidates apart; if pins contradict each other within an activation group; if a group
            has no common activation format; if a budget comes twice or is not positive, or needs
            times or moments that are not known.
        UnknownNameError: If a pin names no layer, a budget no resource, a candidate no format.
    """
    values = _score_lookup(table, scores)
    resources = [budget.resource for budget in budgets]
    if len(set(resources)) != len(resources):
        raise AllocationError(
            f"Each resource can have one budget, got {', '.join(resources)}; keep the tighter one."
        )
    allowed, notes = allowed_candidates(table, scores, pins or {})
    if latency is not None:
        source = f"Latency is the sum of the layers' times ({latency.source}), not a measured time."
        notes = (*notes, source, *latency.notes)
    return Problem(
        table=table,
        metric=scores.metric,
        unit=scores.unit,
        candidates=allowed,
        scores=tuple(
            tuple(values.get((name, c), 0.0) for c in own)
            for name, own in zip(table.names, allowed, strict=True)
        ),
        rows=tuple(row for b in budgets for row in cost_rows(table, allowed, b, latency)),
        groups=tuple(
            tuple(table.names.index(name) for name in members) for members in table.groups.values()
        ),
        pairs=_pairs(table, scores, allowed),
        latency=latency,
        notes=notes,
    )


def allocation_costs(
    table: LayerTable, allocation: Allocation, latency: LatencyTable | None = None
) -> Costs:
    """Return what an allocation costs; its latency is None unless every layer's time is known.

    Raises:
        QuantizationError: If the allocation does not hold every layer exactly once, in order.
        UnknownNameError: If a candidate names no format.
    """
    missing = [name for name in table.names if name not in allocation.layers]
    unknown = [name for name in allocation.layers if name not in table.names]
    if allocation.layers != table.names or len(allocation.candidates) != len(table.names):
        found = "; ".join(
            f"{what}: {', '.join(names)}"
            for what, names in (("missing", missing), ("unknown", unknown))
            if names
        )
        raise QuantizationError(
            f"An allocation must hold every layer of `{table.model}` exactly once, in order; "
            f"{found or 'the order differs or a layer comes twice'}."
        )
    spent = costs(
        table,
        [bits_of(c.weight) for c in allocation.candidates],
        [bits_of(c.activation) for c in allocation.candidates],
    )
    scales = sum(
        scale_bits(layer, c.weight != FLOAT)
        for layer, c in zip(table.layers, allocation.candidates, strict=True)
    )
    spent = replace(spent, scales_mib=scales / BITS_PER_MIB)
    if latency is None:
        return spent
    lookup = Lookup(table, latency)
    times = [
        lookup.ns(layer, candidate)
        for layer, candidate in zip(table.layers, allocation.candidates, strict=True)
    ]
    known = [ns for ns in times if ns is not None]
    total = sum(known) / NS_PER_MS if len(known) == len(times) else None
    return replace(spent, latency_ms=total)


def _score_lookup(table: LayerTable, scores: ScoreTable) -> dict[tuple[str, Candidate], float]:
    if not table.layers:
        raise AllocationError(
            f"`{table.model}` must have a layer that can be quantized, got none; see its skipped "
            f"modules for the reasons."
        )
    shape = (len(scores.layers), len(scores.candidates))
    if not scores.candidates or scores.values.shape != shape:
        raise AllocationError(
            f"Metric `{scores.metric}` must score every candidate of every layer, got "
            f"values of shape {scores.values.shape} for {len(scores.layers)} layers and "
            f"{len(scores.candidates)} candidates; choose a metric that tells candidates apart."
        )
    if (len(set(scores.layers)), len(set(scores.candidates))) != shape:
        raise AllocationError(
            f"A score table must hold each layer and each candidate once; `{scores.metric}` "
            f"repeats one. Compute the scores again."
        )
    foreign = [name for name in scores.layers if name not in table.names]
    if foreign:
        raise AllocationError(
            f"Scores and layers must belong to one model; `{table.model}` has no layer "
            f"{', '.join(foreign)}. Compute the scores again."
        )
    lookup: dict[tuple[str, Candidate], float] = {}
    for name, row in zip(scores.layers, scores.values, strict=True):
        for candidate, value in zip(scores.candidates, row, strict=True):
            if not isfinite(value):
                raise AllocationError(
                    f"Scores must be finite, got {value} for {candidate.text} of `{name}`; leave "
                    f"the layer out of the table to keep it float."
                )
            lookup[name, candidate] = float(value)
    return lookup


def _pairs(
    table: LayerTable, scores: ScoreTable, allowed: tuple[tuple[Candidate, ...], ...]
) -> tuple[Pair, ...]:
    """Return the interactions among what each layer may become, those that are not all 0."""
    if scores.interactions is None:
        return ()
    shape = (len(scores.layers), len(scores.candidates)) * 2
    if scores.interactions.shape != shape or not np.isfinite(scores.interactions).all():
        raise AllocationError(
            f"Interactions must be finite and of shape {shape}, `{scores.metric}` has "
            f"{scores.interactions.shape}. Compute the scores again."
        )
    column = {candidate: c for c, candidate in enumerate(scores.candidates)}
    # A candidate without a score (a pin, a float layer) interacts with nothing.
    padded = np.pad(scores.interactions, [(0, 0), (0, 1)] * 2)
    columns = [[column.get(c, len(column)) for c in own] for own in allowed]
    order = sorted((table.names.index(name), row) for row, name in enumerate(scores.layers))
    found = []
    for n, (i, row) in enumerate(order):
        for j, other in order[n + 1 :]:
            values = padded[row][np.ix_(columns[i], [other], columns[j])][:, 0]
            if values.any():
                found.append(Pair(i, j, tuple(tuple(map(float, own)) for own in values)))
    return tuple(found)
