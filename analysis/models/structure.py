"""How layers hang together: which reads which, which lie in one block, how far apart they are."""

from collections import deque
from collections.abc import Collection, Mapping

import numpy as np

from analysis.models.calls import INPUT, Slot
from analysis.models.dataflow import Trace
from analysis.records import IntArray, LayerTable

FAR = -1


def blocks(trace: Trace) -> tuple[int, ...]:
    """Return the number of the block that each call lies in, from 0, in the order of the calls.

    A block ends where all that later calls read of the network's input is one tensor: after the
    addition of a residual block, after every layer of a plain chain. An attention and the MLP
    behind it are two blocks of a transformer, a dense block is one.
    """
    last = _last_readers(trace)
    made: dict[int, list[Slot]] = {}
    for slot in last:
        made.setdefault(slot[0], []).append(slot)
    numbers, block = [], 0
    live = set(made.get(INPUT[0], ()))
    for call in trace.calls:
        numbers.append(block)
        live |= set(made.get(call.index, ()))
        live = {slot for slot in live if last[slot] > call.index}
        if len(live) == 1 and next(iter(live))[0] == call.index:
            block += 1
    return tuple(numbers)


def layers_read(trace: Trace, calls: Mapping[str, Collection[int]]) -> dict[str, tuple[str, ...]]:
    """Return, for every layer, the layers whose outputs reach it through no other layer.

    Args:
        trace: The calls.
        calls: Indices of each layer's calls.
    """
    owner = {index: name for name, indices in calls.items() for index in indices}
    found: dict[str, tuple[str, ...]] = {}
    for name, indices in calls.items():
        names: set[str] = set()
        pending = [slot for index in indices for slot in trace.calls[index].inputs]
        seen: set[Slot] = set()
        while pending:
            slot = pending.pop()
            if slot is None or slot == INPUT or slot in seen:
                continue
            seen.add(slot)
            if slot[0] in owner:
                names.add(owner[slot[0]])
            else:
                pending.extend(trace.calls[slot[0]].inputs)
        found[name] = tuple(other for other in calls if other in names)
    return found


def hops(table: LayerTable) -> IntArray:
    """Return how many steps lie between any two layers, (L, L), :data:`FAR` where none lead there.

    A step goes from a layer to one that reads its output through no other layer, in either
    direction, or to one that reads the same tensor. A shortcut makes layers near each other.
    """
    places = {name: place for place, name in enumerate(table.names)}
    near: list[set[int]] = [set() for _ in table.layers]
    for place, layer in enumerate(table.layers):
        for source in layer.reads:
            near[place].add(places[source])
            near[places[source]].add(place)
    for tensor in table.tensors:
        together = {places[name] for name in tensor.readers}
        for place in together:
            near[place] |= together - {place}
    result = np.full((len(near), len(near)), FAR, dtype=np.int64)
    for start in range(len(near)):
        result[start, start] = 0
        queue = deque([start])
        while queue:
            here = queue.popleft()
            for there in near[here]:
                if result[start, there] == FAR:
                    result[start, there] = result[start, here] + 1
                    queue.append(there)
    return result


def _last_readers(trace: Trace) -> dict[Slot, int]:
    """Return the last call that needs each slot on the way from the input to the output."""
    carrying = {INPUT}
    for call in trace.calls:
        if carrying.intersection(call.inputs):
            carrying |= {(call.index, place) for place in range(len(call.shapes))}
    last = {trace.output: len(trace.calls)}
    for call in reversed(trace.calls):
        if any((call.index, place) in last for place in range(len(call.shapes))):
            for slot in carrying.intersection(call.inputs):
                if slot is not None:
                    last.setdefault(slot, call.index)
    return last
