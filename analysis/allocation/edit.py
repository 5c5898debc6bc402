"""Editing an allocation by hand without breaking what must hold."""

from collections.abc import Collection, Sequence

from analysis.allocation.tying import Ties, checked_ties, united
from analysis.records import Allocation, Candidate, LayerTable

# Formats that one step up or down walks through, for weights and activations alike.
LADDER = ("int2", "int3", "int4", "int5", "int6", "int7", "int8", "int16")


def default_pins(table: LayerTable) -> tuple[str, ...]:
    """Return the layers that are held unless a user releases them: the first and the last."""
    return tuple(layer.name for layer in table.layers if layer.pinned)


def settle(
    table: LayerTable,
    before: Allocation,
    after: Allocation,
    pins: Collection[str],
    ties: Ties = (),
) -> Allocation:
    """Return ``after`` with pins, ties and activation groups respected.

    A pinned layer keeps the candidate that it has in ``before``. Tied layers share their weight
    format; groups, and groups that ties connect, share their activation format. Of those that share
    one, the format of a pinned layer counts, else the one that was changed, else that of the first.
    Once settled, nothing changes any more.

    Args:
        table: The layers.
        before: The allocation before the edit.
        after: The allocation after it; equal to ``before`` where it comes from elsewhere.
        pins: Names of the layers that are held.
        ties: Names of layers that take the same candidate.

    Raises:
        AllocationError: If a tie has fewer than two layers, or a layer comes twice.
        UnknownNameError: If a tie names no layer.
    """
    old = before.as_dict()
    new = after.as_dict() | {name: old[name] for name in pins}
    ties = checked_ties(table, ties)
    weights = {name: c.weight for name, c in new.items()}
    activations = {name: c.activation for name, c in new.items()}
    new_weights = {name for name in table.names if weights[name] != old[name].weight}
    new_activations = {name for name in table.names if activations[name] != old[name].activation}
    for own in ties:
        weights |= dict.fromkeys(own, weights[_leader(own, pins, new_weights, new_activations)])
    for own in united(table.groups.values(), ties):
        activations |= dict.fromkeys(own, activations[_leader(own, pins, new_activations)])
    return Allocation(
        layers=table.names,
        candidates=tuple(Candidate(weights[name], activations[name]) for name in table.names),
    )


def _leader(names: tuple[str, ...], *preferred: Collection[str]) -> str:
    """Return the first of the names that is preferred, by the first preference that tells."""
    found = (name for own in preferred for name in names if name in own)
    return next(found, names[0])


def from_formats(
    table: LayerTable, weights: Sequence[str], activations: Sequence[str]
) -> Allocation:
    """Return the allocation with these formats, one per layer in order.

    Raises:
        ValueError: If there is not one format per layer.
    """
    return Allocation(
        layers=table.names,
        candidates=tuple(
            Candidate(w, a) for _, w, a in zip(table.names, weights, activations, strict=True)
        ),
    )
