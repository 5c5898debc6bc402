"""How far the distributions of two networks lie apart: which layers were changed, and how much."""

import numpy as np

from analysis.records import Distribution, Distributions

# What float32 and the order of additions leave of a change of nothing.
SAME = 1e-5


def change(before: Distribution, after: Distribution) -> float:
    """Return how far the ends of the channels moved, mean over them, over the range before.

    Where the channels are not the same ones, the ends of the whole tensor are compared. NaN where
    the tensor had no range before.
    """
    ends = ("low", "high")
    if before.channels.shape == after.channels.shape and before.channels.shape[1]:
        moved = [after.per_channel(end) - before.per_channel(end) for end in ends]
    else:
        moved = [np.array([after.value(end) - before.value(end)]) for end in ends]
    if not before.range > 0:
        return float("nan")
    return float(np.abs(moved).max(axis=0).mean() / before.range)


def changes(before: Distributions, after: Distributions, role: str) -> dict[str, float]:
    """Return the change of every layer that both describe, in network order.

    Args:
        before: The distributions of a network.
        after: Those of another one.
        role: One of the roles of :mod:`analysis.records.distributions`.
    """
    found = {}
    for layer in before.layers:
        first = before.of(layer, role)
        second = after.of(layer, role) if layer in after.layers else None
        if first is not None and second is not None:
            found[layer] = change(first, second)
    return found


def most_changed(changes: dict[str, float]) -> str:
    """Return the layer that changed most, empty where none did."""
    moved = {layer: value for layer, value in changes.items() if value > SAME}
    return max(moved, key=lambda layer: moved[layer], default="")
