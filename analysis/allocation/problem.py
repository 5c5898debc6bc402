"""The allocation problem: layers, what each may become, scores, budgets, groups and ties."""

from dataclasses import dataclass, replace
from math import fsum

from analysis.allocation.budgets import CostRow, budgets_of
from analysis.errors import QuantizationError
from analysis.models.cost import BITS_PER_MIB, costs, scale_bits
from analysis.models.latency import NS_PER_MS, Lookup
from analysis.quant.formats import bits_of
from analysis.records import (
    FLOAT,
    Allocation,
    Candidate,
    Costs,
    LatencyTable,
    LayerTable,
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

    ``members`` are the layers that each choice decides, as indices of the table: one, or several
    that are tied. Every other field counts tied layers as one layer, at the place of the first: its
    scores and costs are their sums, and ``apart`` keeps the scores of each of them (nothing for a
    layer that is not tied). Below, layer means either.

    A choice is a tuple of L indices into each layer's ``candidates``. Layers of one group (indices,
    every layer in exactly one) must choose equal activation formats, and hold only candidates whose
    activation format every member of the group can take. A pinned layer has one candidate.
    ``pairs`` hold the interactions that were measured, each pair of layers at most once. Rows with
    one ``budget`` belong together: the largest of them is what is used of it.
    """

    table: LayerTable
    metric: str
    unit: str
    members: tuple[tuple[int, ...], ...]
    candidates: tuple[tuple[Candidate, ...], ...]
    scores: tuple[tuple[float, ...], ...]
    rows: tuple[CostRow, ...]
    groups: tuple[tuple[int, ...], ...]
    apart: tuple[tuple[tuple[float, ...], ...], ...]
    pairs: tuple[Pair, ...] = ()
    latency: LatencyTable | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that every table has one entry per layer and candidate."""
        shape = [len(own) for own in self.candidates]
        tables = (self.scores, *(row.costs for row in self.rows))
        if any([len(own) for own in values] != shape for values in tables):
            raise ValueError("scores and costs must have one value per layer and candidate")
        if sorted(m for own in self.members for m in own) != list(range(len(self.table.names))):
            raise ValueError("every layer of the table must be a member exactly once")
        kept = [[shape[i]] * len(own) * (len(own) > 1) for i, own in enumerate(self.members)]
        if [[len(row) for row in rows] for rows in self.apart] != kept:
            raise ValueError("every tied layer must keep its own scores, one per candidate")
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

    def called(self, layer: int) -> str:
        """Return the name of a layer in a sentence, tied ones joined."""
        return " with ".join(f"`{self.table.names[m]}`" for m in self.members[layer])

    def each(self, layer: int) -> tuple[tuple[float, ...], ...]:
        """Return the scores of every layer that a choice decides, one row per member."""
        return self.apart[layer] or (self.scores[layer],)

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
            f"layers one by one. Exact with interactions (`rlt`) and local search (`local`) use "
            f"them."
        )
        return replace(self, pairs=(), notes=(*self.notes, note))

    def allocation(self, choice: tuple[int, ...]) -> Allocation:
        """Return a choice as an allocation, tied layers written out."""
        chosen = {
            m: own[k]
            for members, own, k in zip(self.members, self.candidates, choice, strict=True)
            for m in members
        }
        candidates = tuple(chosen[m] for m in range(len(chosen)))
        return Allocation(layers=self.table.names, candidates=candidates)

    def choice(self, allocation: Allocation) -> tuple[int, ...]:
        """Return an allocation as a choice; of tied layers the first counts.

        Raises:
            ValueError: If a layer has a candidate that it cannot take.
        """
        chosen = [allocation.candidates[members[0]] for members in self.members]
        return tuple(own.index(c) for own, c in zip(self.candidates, chosen, strict=True))

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
