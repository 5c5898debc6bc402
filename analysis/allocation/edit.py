"""Editing an allocation by hand without breaking what must hold."""

from collections.abc import Collection, Sequence

from analysis.records import Allocation, Candidate, LayerTable

# Formats that one step up or down walks through, for weights and activations alike.
LADDER = ("int2", "int3", "int4", "int5", "int6", "int7", "int8", "int16")


def default_pins(table: LayerTable) -> tuple[str, ...]:
    """Return the layers that are held unless a user releases them: the first and the last."""
    return tuple(layer.name for layer in table.layers if layer.pinned)


def settle(
    table: LayerTable, before: Allocation, after: Allocation, pins: Collection[str]
) -> Allocation:
    """Return ``after`` with pins and activation groups respected.

    A pinned layer keeps the candidate that it has in ``before``. Within a group, the format of a
    pinned member counts, else the activation format that was changed, else that of the first.

    Args:
        table: The layers.
        before: The allocation before the edit.
        after: The allocation after it; equal to ``before`` where it comes from elsewhere.
        pins: Names of the layers that are held.
    """
    old, new = before.as_dict(), after.as_dict()
    for name in pins:
        new[name] = old[name]
    for members in table.groups.values():
        held = [name for name in members if name in pins]
        changed = [name for name in members if new[name].activation != old[name].activation]
        leader = (held or changed or list(members))[0]
        for name in members:
            new[name] = Candidate(new[name].weight, new[leader].activation)
    return Allocation(layers=table.names, candidates=tuple(new[name] for name in table.names))


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
