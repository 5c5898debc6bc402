"""Distributions of every layer's weight and activations, in one pass over the samples."""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from math import prod
from time import perf_counter

import torch
from torch import Tensor

from analysis.distributions.streaming import Accumulator
from analysis.errors import QuantizationError
from analysis.events import Progress, Work
from analysis.models.activations import activation_of, folded_output, is_activation
from analysis.models.calls import INPUT, Slot
from analysis.models.dataflow import Call
from analysis.models.folding import WEIGHTED_CALLS
from analysis.models.network import NOTHING, Network
from analysis.models.replay import Plan, Transform
from analysis.records import Distribution, Distributions, Layer, Place
from analysis.records import distributions as roles

_CHANNELS_LAST = ("linear", "layer_norm")


def collect_distributions(
    network: Network,
    batches: Callable[[], Iterable[Tensor]],
    num_batches: int,
    *,
    plan: Plan = NOTHING,
    calibration: str = "",
    title: str = "float",
) -> Work[Distributions]:
    """Describe what every layer holds, reads and gives out, in one pass over the samples.

    Every tensor is measured once, however many places name it, as its readers see it: after what
    the plan makes of it. Channels are those of the layer that makes or reads it. The tensors of a
    layer that is called several times are taken together. What cannot be described is listed with
    the reason. One batch is in memory at a time.

    Args:
        network: The folded network.
        batches: Called once; gives the preprocessed batches.
        num_batches: Their number, for progress.
        plan: What differs from the folded network.
        calibration: Digest of the samples.
        title: Says what was changed about the network.

    Raises:
        QuantizationError: If there are no samples.
    """
    begin = perf_counter()
    threads, n = torch.get_num_threads(), 0
    pool: AbstractContextManager[Executor | None]
    pool = ThreadPoolExecutor(threads) if threads > 1 else nullcontext()
    with pool as workers:
        tensors = _Tensors(network, network.plan.then(plan), plan, workers)
        for layer in network.table.layers:
            tensors.name(layer)
        taps = tensors.taps()
        for done, batch in enumerate(batches()):
            n += len(batch)
            with torch.no_grad():
                network(batch, plan | taps)
            yield Progress(done + 1, num_batches, "looking at every tensor")
    if n == 0:
        raise QuantizationError("The calibration set must hold at least one sample, got none.")
    places, described = tensors.described()
    return Distributions(
        layers=network.table.names,
        places=places,
        tensors=described,
        n=n,
        calibration=calibration,
        network=title,
        seconds=perf_counter() - begin,
    )


def title_of(described: str) -> str:
    """Return how a tensor is called: a module's name says it where that names the call as well."""
    name, _, module = described.partition(" in ")
    return module if module.rpartition(".")[2] == name else described


@dataclass(frozen=True)
class _Look:
    """What is looked at as one: tensors as their readers see them, or what calls alone read."""

    slots: tuple[Slot, ...] = ()
    calls: tuple[int, ...] = ()


@dataclass
class _Tensors:
    """The tensors of a network under a plan, each with the places that name it."""

    network: Network
    plan: Plan  # everything that runs
    added: Plan  # what runs on top of the network's own
    workers: Executor | None
    looks: dict[_Look, Accumulator] = field(default_factory=dict)
    places: list[tuple[str, str, Accumulator | None, str]] = field(default_factory=list)
    # Tensor -> the view of it that a layer reads, and the name of the layer's call.
    readings: dict[Slot, tuple[Slot, str]] = field(default_factory=dict)

    def name(self, layer: Layer) -> None:
        """Name a layer's tensors and measure its weight."""
        # A call that a transform stands in for is no BatchNorm to pass over.
        replaced = {call for call, _ in self.network.plan.outputs}
        trace, skip = self.network.trace, self.plan.skip - replaced
        weight = self.plan.weights.get(layer.calls[0], self.network.weight(layer))
        measured = Accumulator(layer.weight_name, self.workers)
        measured.update(weight, layer.channel_axis)
        self.places.append((layer.name, roles.WEIGHT, measured, ""))

        read = tuple(dict.fromkeys(self._read(call) for call in layer.calls))
        alone = any(call in self.plan.inputs for call in layer.calls)
        look = _Look(calls=layer.calls) if alone else _Look(slots=read)
        self._place(layer, roles.INPUT, look, title_of(trace.describe(read[0])))

        made = tuple(folded_output(trace, call, skip) for call in layer.calls)
        self._place(layer, roles.PRE_ACTIVATION, _Look(slots=made), f"output of {layer.name}")

        after = [activation_of(trace, slot, skip) for slot in made]
        slots = tuple(slot for slot, _ in after if slot is not None)
        reasons = [reason for slot, reason in after if slot is None]
        if reasons:
            self.places.append((layer.name, roles.POST_ACTIVATION, None, reasons[0]))
        else:
            self._place(
                layer, roles.POST_ACTIVATION, _Look(slots=slots), title_of(trace.describe(slots[0]))
            )

    def taps(self) -> Plan:
        """Return the plan that shows every tensor to its accumulators as a batch passes."""
        outputs: dict[Slot, Transform] = dict(self.added.outputs)
        inputs: dict[int, Transform] = dict(self.added.inputs)
        for look, accumulator in self.looks.items():
            axes = dict(self._channels(slot) for slot in look.slots)
            if len({self._shape(slot)[a] for slot, a in axes.items() if a is not None}) > 1:
                axes = dict.fromkeys(axes)  # their channels are not the same
            for slot, axis in axes.items():
                outputs[slot] = _tap(accumulator, axis, outputs.get(slot))
            for call in look.calls:
                axis = -1 if self.network.trace.calls[call].name in _CHANNELS_LAST else 1
                inputs[call] = _tap(accumulator, axis, inputs.get(call))
        return Plan(outputs=outputs, inputs=inputs)

    def described(self) -> tuple[tuple[Place, ...], tuple[Distribution, ...]]:
        """Return the places and the tensors that could be described."""
        numbers: dict[int, int] = {}
        found: list[Distribution] = []
        places = []
        for layer, role, accumulator, reason in self.places:
            number = -1
            if accumulator is not None and not accumulator.reason:
                if id(accumulator) not in numbers:
                    numbers[id(accumulator)] = len(found)
                    found.append(accumulator.finish())
                number = numbers[id(accumulator)]
            elif accumulator is not None:
                reason = accumulator.reason
            places.append(Place(layer=layer, role=role, tensor=number, reason=reason))
        return tuple(places), tuple(found)

    def _place(self, layer: Layer, role: str, look: _Look, title: str) -> None:
        accumulator = self.looks.setdefault(look, Accumulator(title, self.workers))
        self.places.append((layer.name, role, accumulator, ""))

    def _read(self, call: int) -> Slot:
        """Return the tensor that a layer's call reads, as the plan last changed it."""
        trace = self.network.trace
        slot = view = trace.calls[call].inputs[0]
        assert slot is not None
        while slot != INPUT and slot not in self.plan.outputs:
            maker = trace.calls[slot[0]]
            if not maker.preserves_values or maker.inputs[0] is None:
                break
            slot = maker.inputs[0]
        assert view is not None
        self.readings.setdefault(slot, (view, trace.calls[call].name))
        return slot

    def _shape(self, slot: Slot) -> tuple[int, ...]:
        trace = self.network.trace
        return trace.example_shape if slot == INPUT else trace.calls[slot[0]].shapes[slot[1]]

    def _channels(self, slot: Slot) -> tuple[Slot, int | None]:
        """Return where to look at a tensor, and the axis of its channels, None where unknown.

        The channels are those of the layer that makes the tensor, itself or by an activation
        function; else of one that reads it, in the view of it that the layer sees.
        """
        trace, shape = self.network.trace, self._shape(slot)
        maker = slot
        while maker != INPUT and self._elementwise(call := trace.calls[maker[0]]):
            source = call.inputs[0]
            if source is None or self._shape(source) != shape:
                break
            maker = source
        name = "" if maker == INPUT else trace.calls[maker[0]].name
        if name not in WEIGHTED_CALLS and slot in self.readings:
            view, name = self.readings[slot]
            slot = view if prod(self._shape(view)) == prod(shape) else slot
        shape = self._shape(slot)
        tokens = name not in WEIGHTED_CALLS and len(shape) == 3
        axis = len(shape) - 1 if tokens or name in _CHANNELS_LAST else 1
        samples = self.network.axes[slot].axis if slot in self.network.axes else 0
        return slot, None if axis == samples or axis >= len(shape) else axis

    def _elementwise(self, call: Call) -> bool:
        return is_activation(call) or call.index in self.plan.skip


def _tap(accumulator: Accumulator, axis: int | None, own: Transform | None) -> Transform:
    def look(value: Tensor) -> Tensor:
        if own is not None:
            value = own(value)
        accumulator.update(value, axis)
        return value

    return look
