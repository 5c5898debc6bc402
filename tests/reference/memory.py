"""Slow, obvious activation memory: every tensor looked up at every call, nothing left out."""

from math import prod

from analysis.models.activations import is_activation
from analysis.models.calls import INPUT, Slot
from analysis.models.network import Network


class Memory:
    """The tensors of a network by where they were made, one question to its calls at a time."""

    def __init__(self, network: Network) -> None:
        self.trace, self.axes, self.skip = network.trace, network.axes, network.plan.skip
        groups = {layer.name: layer.activation_group for layer in network.table.layers}
        self.quantized = {(t.call, t.slot): groups[t.readers[0]] for t in network.table.tensors}
        made = [(c.index, p) for c in self.trace.calls for p in range(len(c.shapes))]
        self.slots = [INPUT, *(slot for slot in made if slot in self.axes)]

    def renames(self, call) -> bool:
        known = call.inputs and call.inputs[0] in self.slots
        return bool(known) and (call.preserves_values or call.index in self.skip)

    def plain(self, slot: Slot) -> Slot:
        """Where the values of a slot were computed."""
        while slot != INPUT and self.renames(self.trace.calls[slot[0]]):
            slot = self.trace.calls[slot[0]].inputs[0]
        return slot

    def readers(self, slot: Slot) -> list[int]:
        """Calls that compute with the values of a slot, under any name; -1 reads the output."""
        found = []
        for call in self.trace.calls:
            names = [self.plain(s) for s in call.inputs if s in self.slots]
            if slot in names and not self.renames(call):
                found.append(call.index)
        return found + ([-1] if self.plain(self.trace.output) == slot else [])

    def own_group(self, slot: Slot) -> int | None:
        names = [s for s in self.slots if self.plain(s) == slot and s in self.quantized]
        return self.quantized[names[0]] if names else None

    def fused(self, index: int) -> bool:
        """Whether a call is an activation function computed where its argument is made."""
        call = self.trace.calls[index]
        if not is_activation(call) or call.inputs[0] not in self.slots or self.renames(call):
            return False
        source = self.plain(call.inputs[0])
        # A chain of activation functions: what the first one makes has the home of its argument.
        return self.readers(source) == [index] and self.own_group(source) is None

    def home(self, slot: Slot) -> Slot:
        slot = self.plain(slot)
        while slot != INPUT and self.fused(slot[0]):
            slot = self.plain(self.trace.calls[slot[0]].inputs[0])
        return slot

    def names(self, home: Slot) -> list[Slot]:
        return [s for s in self.slots if self.home(s) == home]

    def size(self, home: Slot) -> int:
        return max(self.values(s) for s in self.names(home))

    def values(self, slot: Slot) -> int:
        if slot == INPUT:
            return prod(self.trace.example_shape[1:])
        return prod(self.trace.calls[slot[0]].shapes[slot[1]]) // self.trace.batch

    def uses(self, home: Slot) -> list[int]:
        plains = {self.plain(s) for s in self.names(home)}
        found = [home[0]]
        for slot in plains:
            found += [len(self.trace.calls) if r == -1 else r for r in self.readers(slot)]
        return found

    def group(self, home: Slot) -> int | None:
        own = {self.quantized[s] for s in self.names(home) if s in self.quantized}
        if own:
            return own.pop()
        readers = [r for r in set(self.uses(home)) - {home[0]} if not self._is_fused(r)]
        if len(readers) == 1 and readers[0] < len(self.trace.calls):
            call = self.trace.calls[readers[0]]
            if "max_pool" in call.name:
                return self.group(self.home((call.index, 0)))
        return None

    def _is_fused(self, reader: int) -> bool:
        return reader < len(self.trace.calls) and self.fused(reader)

    def peak_bits(self, bits: dict[int, int]) -> int:
        """The most bits at any call, every tensor weighed by its own group."""
        homes = {self.home(s) for s in self.slots}
        last = {h: max(self.uses(h)) for h in homes}
        weight = {h: self.size(h) * bits.get(self.group(h), 32) for h in homes}
        worst = 0
        for call in self.trace.calls:
            if self.renames(call) or self.fused(call.index):
                continue
            alive = {h for h in homes if h[0] <= call.index <= last[h]}
            old = (
                self.home(call.inputs[0]) if call.inputs and call.inputs[0] in self.slots else None
            )
            new = (call.index, 0)
            replaces = (
                (call.in_place or is_activation(call))
                and old in homes
                and new in homes
                and last[old] == call.index
                and self.size(old) == self.size(new)
            )
            for gone in ({old}, {new}) if replaces else (set(),):
                worst = max(worst, sum(weight[h] for h in alive - gone))
        return worst
