"""Activation memory: which tensors lie in memory together while the network runs.

What counts as a tensor, and in how many bits:

- A call that only moves or repeats values (a view, a slice, a zero padding) and a folded BatchNorm
  make no tensor of their own: they are other names of what they read. A tensor is as large as the
  largest of its names.
- An activation function that alone reads an unquantized tensor is computed where that tensor is
  made, as every runtime does: the two are one tensor. Any other activation function, and every
  call that torch executes in place, overwrites its first argument if nothing reads it later: it is
  alive before the call, the result after it, not both.
- Everything else, additions included, needs its arguments and its result at the same time.
- A tensor lives from the call that makes it to the last call that reads it, the network's output
  to the end. Reads of memory that was changed under another name are not seen.
- A tensor with a quantizer has the bits of its activation group, as in the scope ``tensor``. One
  that only a max pooling reads has the bits of what the pooling makes: rounding keeps the order, so
  pooling the rounded values gives the same numbers. Every other tensor has 32 bits.
- Weights, working memory of single calls and tables without samples are not counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from analysis.models.activations import is_activation
from analysis.models.calls import INPUT, Slot
from analysis.models.dataflow import Call, Trace
from analysis.models.samples import SampleAxis
from analysis.records import Moment

UNQUANTIZED_BITS = 32
_MAX_POOLINGS = ("max_pool", "adaptive_max_pool")


@dataclass(slots=True, eq=False)
class Buffer:
    """A tensor in memory: when it is alive, its elements per sample, the group it belongs to.

    ``readers`` are the calls that compute with it; ``group`` is None where it has 32 bits.
    """

    born: int
    elements: int = 0
    last: int = -1
    group: int | None = None
    readers: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The tensors of a forward pass, by slot; ``fused`` are calls computed where they read."""

    buffers: Mapping[Slot, Buffer]
    fused: frozenset[int]
    executed: tuple[int, ...]


def schedule(
    trace: Trace,
    skip: frozenset[int],
    axes: Mapping[Slot, SampleAxis],
    quantized: Mapping[Slot, int],
) -> Schedule:
    """Find the tensors of a forward pass and how long each is needed.

    Args:
        trace: The network's calls.
        skip: Calls that are passed over, as folded BatchNorms are.
        axes: Where the samples lie; slots without are not counted.
        quantized: Activation group of each slot that has a quantizer.
    """
    roots, readers = _read(trace, skip)
    buffers = {INPUT: Buffer(born=INPUT[0], group=quantized.get(INPUT))}
    fused: set[int] = set()
    executed: list[int] = []
    for call in trace.calls:
        first = buffers.get(call.inputs[0]) if call.inputs and call.inputs[0] else None
        own: Buffer | None = None
        if first is not None and _renames(call, skip):
            own = first
        else:
            executed.append(call.index)
            if first is not None and first.group is None and is_activation(call):
                alone = readers.get(roots.get(call.inputs[0] or INPUT)) == {call.index}
                own = first if alone else None
            if own is not None:
                fused.add(call.index)
                own.last = call.index
            else:
                for slot in call.inputs:
                    if slot in buffers:
                        buffers[slot].readers.add(call.index)
        for place in range(len(call.shapes)):
            slot = (call.index, place)
            if slot in axes:
                made = own or Buffer(born=call.index)
                made.group = quantized.get(slot, made.group)
                buffers[slot] = made
    for slot, buffer in buffers.items():
        buffer.elements = max(buffer.elements, elements(trace, axes, slot))
        buffer.last = max(buffer.born, buffer.last, *buffer.readers)
    if trace.output in buffers:
        buffers[trace.output].last = len(trace.calls)
    _pool(trace, buffers)
    return Schedule(buffers, frozenset(fused), tuple(executed))


def moments(trace: Trace, plan: Schedule) -> tuple[Moment, ...]:
    """Return the moments of a pass at which most can be in memory, per sample.

    A moment that never needs more than another one, whatever the bits from 0 to 32, is left out.
    """
    live = list(dict.fromkeys(plan.buffers.values()))
    found: list[Moment] = []
    for index in plan.executed:
        if index in plan.fused:
            continue
        call = trace.calls[index]
        here = [b for b in live if b.born <= index <= b.last]
        taken = _overwritten(plan, call)
        if taken is None:
            found.append(_moment(trace, index, here))
        else:
            old, new = taken
            found.append(_moment(trace, index, [b for b in here if b is not new]))
            found.append(_moment(trace, index, [b for b in here if b is not old]))
    return largest(found)


def largest(found: Sequence[Moment]) -> tuple[Moment, ...]:
    """Keep the moments that need most for some bits from 0 to 32 of each group, in their order."""
    order = sorted(
        range(len(found)), key=lambda i: (-sum(found[i].elements) - found[i].unquantized, i)
    )
    kept: list[int] = []
    for i in order:
        if not any(never_more(found[i], found[k]) for k in kept):
            kept = [k for k in kept if not never_more(found[k], found[i])]
            kept.append(i)
    return tuple(found[i] for i in sorted(kept))


def never_more(one: Moment, other: Moment) -> bool:
    """Tell whether a moment needs at most what another one does, whatever the bits.

    The difference is linear in the bits of each group, so it is largest where the groups of which
    ``one`` holds more have 32 bits and the others none.
    """
    theirs = dict(zip(other.groups, other.elements, strict=True))
    more = sum(
        max(0, count - theirs.get(group, 0))
        for group, count in zip(one.groups, one.elements, strict=True)
    )
    return more + one.unquantized <= other.unquantized


def elements(trace: Trace, axes: Mapping[Slot, SampleAxis], slot: Slot) -> int:
    """Return the number of values per sample of a slot."""
    if slot == INPUT:
        return prod(trace.example_shape[1:])
    return prod(axes[slot].without(trace.calls[slot[0]].shapes[slot[1]]))


def _renames(call: Call, skip: frozenset[int]) -> bool:
    return call.preserves_values or call.index in skip


def _read(
    trace: Trace, skip: frozenset[int]
) -> tuple[dict[Slot | None, Slot], dict[Slot | None, set[int]]]:
    """Return the slot that each slot is another name of, and the calls that compute with it.

    The network's output is read by one more, -1.
    """
    roots: dict[Slot | None, Slot] = {INPUT: INPUT}
    readers: dict[Slot | None, set[int]] = {}
    for call in trace.calls:
        source = roots.get(call.inputs[0]) if call.inputs else None
        renamed = source is not None and _renames(call, skip)
        for place in range(len(call.shapes)):
            slot = (call.index, place)
            roots[slot] = source if renamed and source is not None else slot
        if not renamed:
            for read in call.inputs:
                readers.setdefault(roots.get(read), set()).add(call.index)
    readers.setdefault(roots[trace.output], set()).add(-1)
    return roots, readers


def _pool(trace: Trace, buffers: Mapping[Slot, Buffer]) -> None:
    """Give tensors that only a max pooling reads the group of what it makes, last ones first."""
    for buffer in reversed(list(dict.fromkeys(buffers.values()))):
        if buffer.group is None and len(buffer.readers) == 1 and buffer.last < len(trace.calls):
            call = trace.calls[next(iter(buffer.readers))]
            if call.name.startswith(_MAX_POOLINGS) and (call.index, 0) in buffers:
                buffer.group = buffers[call.index, 0].group


def _overwritten(plan: Schedule, call: Call) -> tuple[Buffer, Buffer] | None:
    """Return what a call reads and makes in one place, None where it needs both."""
    old = plan.buffers.get(call.inputs[0]) if call.inputs and call.inputs[0] else None
    new = plan.buffers.get((call.index, 0))
    if old is None or new is None or not (call.in_place or is_activation(call)):
        return None
    return (old, new) if old.last == call.index and old.elements == new.elements else None


def _moment(trace: Trace, index: int, here: Sequence[Buffer]) -> Moment:
    counts: dict[int, int] = {}
    for buffer in here:
        if buffer.group is not None:
            counts[buffer.group] = counts.get(buffer.group, 0) + buffer.elements
    groups = tuple(sorted(counts))
    return Moment(
        at=trace.describe((index, 0)),
        groups=groups,
        elements=tuple(counts[group] for group in groups),
        unquantized=sum(b.elements for b in here if b.group is None),
    )
