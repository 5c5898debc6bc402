"""Activations of all samples at one place of a network, to start passes of any batch there."""

from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from analysis.events import Progress, Work
from analysis.models.calls import Slot
from analysis.models.network import Network
from analysis.models.prefix import Prefix
from analysis.models.replay import Plan, run
from analysis.models.samples import SampleAxis

_BATCH = 64


class Frontier:
    """What calls from ``call`` on read of earlier ones, under one plan, for all samples.

    What the call right before makes is kept as it is before the plan transforms it: whoever starts
    here decides what becomes of it. Samples lie along the first axis.

    Args:
        network: The network; passes must be able to start in the middle of it.
        x: All samples, (N, ...).
    """

    def __init__(self, network: Network, x: Tensor) -> None:
        self.network, self.x = network, x
        self.call = 0
        self._kept: dict[Slot, Tensor] = {}
        self._forms: dict[int, Prefix] = {}

    def advance(self, call: int, plan: Plan) -> Work[None]:
        """Go on to a later call.

        Args:
            call: The new place.
            plan: What differs from the float network on the way.
        """
        if call <= self.call:
            return
        stop = call - 1
        outputs = {slot: own for slot, own in plan.outputs.items() if slot[0] < stop}
        found: dict[Slot, list[Tensor]] = {}
        for start in range(0, len(self.x), _BATCH):
            rows = torch.arange(start, min(start + _BATCH, len(self.x)))
            for slot, value in self._passed(rows, stop, replace(plan, outputs=outputs), plan):
                found.setdefault(slot, []).append(value)
            yield Progress(start, len(self.x), "activations up to the unit")
        axes = self.network.axes
        self._kept = {
            slot: torch.cat(values) if slot in axes else values[0] for slot, values in found.items()
        }
        self.call = call

    def output(self, rows: Tensor, stop: int, plan: Plan) -> Tensor:
        """Return the result of a later call on samples, by number, under a plan."""
        network, x = self.network, self.x[rows]
        whole = network.plan.then(plan)
        prefix = self._prefix(rows, plan, stop)
        return run(
            network.module, network.trace, x, whole, start=self.call, stop=stop, prefix=prefix
        )

    def mib(self, call: int) -> float:
        """Return the memory that being at a call takes, in MiB."""
        trace = self.network.trace
        each = sum(
            prod(trace.calls[slot[0]].shapes[slot[1]])
            for slot in _live(self.network, call)
            if slot in self.network.axes
        )
        return each * len(self.x) / trace.batch * self.x.element_size() / 2**20

    def _passed(
        self, rows: Tensor, stop: int, plan: Plan, before: Plan
    ) -> list[tuple[Slot, Tensor]]:
        network, n = self.network, len(rows)
        prefix = self._prefix(rows, before, len(network.trace.calls))
        record = Prefix(dict(prefix.outputs), prefix.results[: self.call])
        with torch.no_grad():
            run(
                network.module, network.trace, self.x[rows], network.plan.then(plan),
                start=self.call, stop=stop, prefix=prefix, record=record,
            )  # fmt: skip
        live = _live(network, stop + 1)
        values = {slot: record.outputs[slot] for slot in live}
        return [
            (slot, network.axes[slot].first(value, n) if slot in network.axes else value)
            for slot, value in values.items()
        ]

    def _prefix(self, rows: Tensor, plan: Plan, stop: int) -> Prefix:
        """Return the activations of some samples, as a pass under the plan would have left them.

        What no call up to ``stop`` reads is stood in for by something of its shape.
        """
        n = len(rows)
        if n not in self._forms:
            form = Prefix(only=frozenset())
            network = self.network
            with torch.no_grad():
                run(network.module, network.trace, self.x[:n], network.plan, record=form)
            self._forms[n] = form
        values: dict[Slot, Tensor] = {}
        for slot, value in self._kept.items():
            read = any(self.call <= reader <= stop for reader in self.network.trace.readers[slot])
            axis = self.network.axes.get(slot)
            if axis is not None:
                value = value[rows] if read else value[:1].expand(n, *value.shape[1:])
                value = _laid_out(value, axis)
            if read and slot[0] == self.call - 1 and slot in plan.outputs:
                value = plan.outputs[slot](value)
            values[slot] = value
        return Prefix(values, self._forms[n].results)


def _live(network: Network, call: int) -> list[Slot]:
    """Return the slots of earlier calls that this call or a later one reads."""
    readers = network.trace.readers
    return [slot for slot in sorted(readers) if 0 <= slot[0] < call <= readers[slot][-1]]


def _laid_out(rows: Tensor, axis: SampleAxis) -> Tensor:
    """Return rows (B, ...) in the layout of the tensor that they were taken from."""
    moved = rows.movedim(0, axis.axis + 1 if axis.interleaved else axis.axis)
    return moved.flatten(axis.axis, axis.axis + 1)
