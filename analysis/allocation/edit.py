"""Editing an allocation by hand without breaking what must hold."""

from collections.abc import Sequence

from analysis.records import Allocation, Candidate, LayerTable

PINNED = Candidate("int8", "int8")
# Weight widths a step up or down walks through.
LADDER = ("int2", "int3", "int4", "int5", "int6", "int7", "int8", "int16")


def settle(
    table: LayerTable, before: Allocation, after: Allocation, *, pin_first_last: bool
) -> Allocation:
    """Return ``after`` with pins and activation groups respected.

    Within a group, the activation format that was changed last wins; where a pinned layer is in the
    group, its format does.

    Args:
        table: The layers.
        before: The allocation before the edit.
        after: The allocation after it.
        pin_first_last: Whether the pinned layers are held at w8a8.
    """
    old, new = before.as_dict(), after.as_dict()
    for layer in table.layers:
        if layer.pinned and pin_first_last:
            new[layer.name] = PINNED
    for members in table.groups.values():
        pins = [n for n in members if pin_first_last and _pinned(table, n)]
        changed = [n for n in members if new[n].activation != old[n].activation]
        leader = (pins or changed or list(members))[0]
        for name in members:
            new[name] = Candidate(new[name].weight, new[leader].activation)
    return Allocation(layers=table.names, candidates=tuple(new[name] for name in table.names))


def shift(allocation: Allocation, steps: int) -> Allocation:
    """Raise or lower every integer weight format by ``steps`` on :data:`LADDER`."""
    return Allocation(
        layers=allocation.layers,
        candidates=tuple(
            Candidate(_moved(c.weight, steps), c.activation) for c in allocation.candidates
        ),
    )


def from_formats(
    table: LayerTable, weights: Sequence[str], activations: Sequence[str]
) -> Allocation:
    """Return the allocation with these formats, one per layer in order."""
    return Allocation(
        layers=table.names,
        candidates=tuple(Candidate(w, a) for w, a in zip(weights, activations, strict=True)),
    )


def _moved(name: str, steps: int) -> str:
    if name not in LADDER:
        return name
    return LADDER[min(max(LADDER.index(name) + steps, 0), len(LADDER) - 1)]


def _pinned(table: LayerTable, name: str) -> bool:
    return next(layer.pinned for layer in table.layers if layer.name == name)
