"""What layers read, as rows that their weights multiply."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.models.channels import output_of
from analysis.models.network import NOTHING, Network
from analysis.models.prefix import Prefix
from analysis.models.replay import Plan, run
from analysis.records import Layer


@dataclass(frozen=True, slots=True)
class Unfolding:
    """How a layer's input becomes rows: its output is ``rows @ matrix.mT`` plus the bias.

    ``places`` (P, K) says which position of the input, counted from 1, every one of the P output
    positions reads through every one of the K taps, 0 where that is padding; None if linear.
    """

    groups: int
    places: Tensor | None

    def matrix(self, weight: Tensor) -> Tensor:
        """Return a weight (O, ...) as one matrix per group, (G, O / G, D)."""
        return weight.reshape(self.groups, len(weight) // self.groups, -1)

    def rows(self, z: Tensor) -> Tensor:
        """Return what the layer reads in the order of its weights, (G, R, D), in float64."""
        if self.places is None:
            return z.reshape(1, -1, z.shape[-1]).double()
        taken = F.pad(z.flatten(2), (1, 0))[:, :, self.places]
        split = taken.reshape(len(z), self.groups, -1, *self.places.shape)  # (N, G, C / G, P, K)
        # Widened while it is put into order, which is one pass over it in place of two.
        grouped = split.permute(1, 0, 3, 2, 4)
        grouped = grouped.to(torch.float64, memory_format=torch.contiguous_format)
        return grouped.reshape(self.groups, len(z) * len(self.places), -1)


def why_not(network: Network, layer: Layer) -> str:
    """Return why the input of a layer cannot be written as rows, empty if it can."""
    if len(layer.calls) != 1:
        return f"it is called {len(layer.calls)} times, with other inputs each time"
    call = network.trace.calls[layer.calls[0]]
    if call.name == "linear":
        return ""
    if call.name not in ("conv1d", "conv2d", "conv3d"):
        return f"`{call.name}` does not read every output from one place of its input"
    if len(call.input_shapes[0]) != len(call.input_shapes[1]):
        return "its input has no batch dimension"
    return ""


def unfolding_of(network: Network, layer: Layer, x: Tensor) -> Unfolding:
    """Return how a layer's input becomes rows, whatever its stride, padding, dilation and groups.

    A convolution is asked itself: it reads numbered positions through one tap at a time.

    Args:
        network: The network.
        layer: A layer that :func:`why_not` says nothing against.
        x: Any batch.
    """
    call = network.trace.calls[layer.calls[0]]
    if call.name == "linear":
        return Unfolding(1, None)
    weight = network.weight(layer)
    _, channels, *size = call.input_shapes[0]
    groups, kernel = channels // weight.shape[1], weight.shape[2:]
    taps, positions = kernel.numel(), torch.Size(size).numel()
    ask = torch.zeros(groups, taps, *weight.shape[1:], dtype=torch.float64, device=weight.device)
    ask[:, :, 0] = torch.eye(taps).reshape(taps, *kernel).to(ask)
    numbers = torch.arange(1, positions + 1).to(ask).reshape(1, 1, *size)
    plan = Plan(
        weights={call.index: ask.flatten(0, 1)},
        biases={call.index: ask.new_zeros(groups * taps)},
        inputs={call.index: lambda z: numbers.expand(1, channels, *size)},
    )
    places = output_of(network, x, call.index, plan)[0, :taps]
    return Unfolding(groups, places.flatten(1).mT.long())


class Front:
    """What layers read on every batch under one plan, computed from layer to layer.

    The activations that calls behind the last layer read are kept, so that all layers together cost
    one pass; for batches that do not fit ``memory_mib`` every layer's pass starts at the input.
    The plan may change between layers, from the call of the last one on.
    """

    def __init__(self, network: Network, memory_mib: float) -> None:
        self.network = network
        self._left = memory_mib * 2**20 if network.can_resume else 0.0
        self._kept: dict[int, tuple[int, Prefix]] = {}

    def input_of(self, batch: int, x: Tensor, call: int, plan: Plan = NOTHING) -> Tensor:
        """Return what a layer's call reads under a plan, its own quantizer applied.

        Args:
            batch: Number of the batch.
            x: The batch.
            call: Call of a layer, not before that of the last time.
            plan: Everything that differs from the float network.
        """
        network, caught = self.network, []

        def catch(z: Tensor) -> Tensor:
            caught.append(z)
            return z

        start, prefix = self._kept.pop(batch, (0, Prefix()))
        self._left += _size(prefix)
        record = Prefix(dict(prefix.outputs), prefix.results[:start])
        whole = network.plan.then(plan).then(Plan(inputs={call: catch}))
        with torch.no_grad():
            run(
                network.module, network.trace, x, whole,
                start=start, stop=call, prefix=prefix, record=record,
            )  # fmt: skip
        readers = network.trace.readers
        ahead = {
            slot: value
            for slot, value in record.outputs.items()
            if slot[0] < call <= readers[slot][-1]
        }
        kept = Prefix(ahead, record.results[:call])
        if _size(kept) <= self._left:
            self._left -= _size(kept)
            self._kept[batch] = (call, kept)
        return caught[0]


def _size(prefix: Prefix) -> int:
    return sum(value.numel() * value.element_size() for value in prefix.outputs.values())
