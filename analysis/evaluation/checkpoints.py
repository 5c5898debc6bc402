"""Evaluating again after an edit: only what comes after the first change is computed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from math import prod
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import Tensor

from analysis.models.calls import INPUT, Slot
from analysis.models.dataflow import Trace
from analysis.models.network import Network
from analysis.models.prefix import Prefix
from analysis.models.replay import Plan
from analysis.models.structure import blocks
from analysis.quant.quantizer import Quantizer

Place = TypeVar("Place", int, Slot)


@dataclass(slots=True)
class Checkpoints:
    """Activations of the pass that was last made over each batch, at a few places.

    A pass under another plan starts at the last of these places before the first call whose weight,
    bias or quantizer differs; it executes the same calls on the same tensors as a whole pass would
    from there, so the logits are the same numbers. Places lie between blocks, where one tensor is
    all that has to be kept, and before every layer; where they do not fit into the memory, those
    that spare least for what they take are left out.

    Args:
        memory_mib: How much may be kept, in MiB (2^20 bytes), for all batches together.
    """

    memory_mib: float
    starts: tuple[int, ...] = ()
    _network: Network | None = None
    _samples: int = 0
    _batches: dict[range, tuple[Plan, Prefix]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def over(self, network: Network, samples: int) -> Iterator["Checkpoints | None"]:
        """Reserve the checkpoints for evaluating ``network``; None while another thread has them.

        What was kept of another network or another number of samples is let go.
        """
        if not self._lock.acquire(blocking=False):
            yield None
            return
        try:
            if self._network is not network or self._samples != samples:
                self._batches.clear()
                self._network, self._samples = network, samples
                self.starts = _places(network, self.memory_mib * 2**20 / max(samples, 1))
            yield self
        finally:
            self._lock.release()

    def logits(self, x: Tensor, batch: range, plan: Plan) -> Tensor:
        """Return the logits (B, C) of a batch of the network under a plan, from as late as can be.

        Args:
            x: The preprocessed batch (B, ...).
            batch: The samples in it: what it is kept under.
            plan: What differs from the float network.
        """
        network = self._network
        assert network is not None
        last, prefix = self._batches.get(batch, (None, None))
        start = 0
        if last is not None and prefix is not None:
            changed = first_difference(last, plan)
            start = max((s for s in self.starts if s <= changed), default=0)
        else:
            prefix = Prefix(only=_kept(network.trace, self.starts))
        logits, record = network.capture_from(x, prefix, plan, start=start)
        if self.starts:
            self._batches[batch] = plan, record
        return logits


def first_difference(first: Plan, second: Plan) -> int:
    """Return the first call that two plans treat differently, -1 for the network's input.

    Where they agree everywhere, that is far behind the last call.
    """
    calls = [*_different(first.weights, second.weights), *_different(first.biases, second.biases)]
    calls += [call for call, _ in _different(first.outputs, second.outputs)]
    calls += [*_different(first.inputs, second.inputs), *(first.skip ^ second.skip)]
    return min(calls, default=1 << 60)


def _different(first: Mapping[Place, Any], second: Mapping[Place, Any]) -> list[Place]:
    places: set[Place] = set(first) | set(second)
    both = first.keys() & second.keys()
    return [p for p in places if p not in both or not _same(first[p], second[p])]


def _same(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and torch.equal(first, second)
    if isinstance(first, Quantizer) and isinstance(second, Quantizer):
        alike = (first.qmin, first.qmax, first.axis) == (second.qmin, second.qmax, second.axis)
        return (
            alike
            and torch.equal(first.scale, second.scale)
            and torch.equal(first.zero_point, second.zero_point)
        )
    return False


def _places(network: Network, limit: float) -> tuple[int, ...]:
    """Return the calls at which passes can start, within ``limit`` bytes per sample."""
    if not network.can_resume:
        return ()
    trace = network.trace
    work = _work(network)
    between = [n for n, (here, there) in enumerate(pairwise(blocks(trace)), 1) if there != here]
    starts = sorted({*between, *(n for n, macs in enumerate(work) if macs and n)})
    bytes_of = partial(_bytes, trace)
    while starts and sum(map(bytes_of, _kept(trace, starts))) > limit:
        ends = [0, *starts, len(trace.calls)]

        def loss(place: int, ends: list[int] = ends) -> float:
            """What is computed anew without a place, per byte that it takes."""
            before, here, after = ends[place], ends[place + 1], ends[place + 2]
            anew = sum(work[before:here]) * sum(work[n] > 0 for n in range(here, after))
            return anew / max(sum(map(bytes_of, _needed(trace, here))), 1)

        del starts[min(range(len(starts)), key=loss)]
    return tuple(starts)


def _work(network: Network) -> list[int]:
    """Return the multiply-accumulates of every call, (K,)."""
    work = [0] * len(network.trace.calls)
    for layer in network.table.layers:
        for call in layer.calls:
            work[call] = layer.macs // len(layer.calls)
    return work


def _needed(trace: Trace, start: int) -> frozenset[Slot]:
    """Return the outputs of earlier calls that a pass from ``start`` on reads."""
    return frozenset(
        slot
        for slot, calls in trace.readers.items()
        if slot != INPUT and slot[0] < start <= calls[-1]
    )


def _kept(trace: Trace, starts: tuple[int, ...] | list[int]) -> frozenset[Slot]:
    return frozenset[Slot]().union(*(_needed(trace, start) for start in starts))


def _bytes(trace: Trace, slot: Slot) -> float:
    """Return the memory of a tensor per sample, as float32."""
    return 4 * prod(trace.calls[slot[0]].shapes[slot[1]]) / trace.example_shape[0]
