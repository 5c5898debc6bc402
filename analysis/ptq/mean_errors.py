"""How far the mean of a layer's output is off behind quantized layers, and the bias for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from analysis.events import Progress, Work
from analysis.models.channels import ChannelMoments, channel_axis, output_of
from analysis.models.network import Network
from analysis.models.replay import Plan
from analysis.ptq.task import PTQTask
from analysis.records import Layer


def why_not_corrected(layer: Layer) -> str:
    """Return why a layer's bias cannot be corrected, empty if it can."""
    if len(layer.calls) == 1:
        return ""
    return f"it is called {len(layer.calls)} times and one bias cannot be right for all"


def corrected(network: Network, layer: Layer, change: Tensor) -> Tensor:
    """Return a layer's bias with a change (O,) added, which is all of it where it has none."""
    bias = network.bias(layer)
    before = torch.zeros_like(change) if bias is None else bias.double().cpu()
    return (before + change).to(network.weight(layer))


@dataclass(slots=True)
class MeanErrors:
    """Mean errors of layers' outputs on the calibration set, per channel, against the float ones.

    Args:
        task: Network and samples.
        layers: Which layers can be asked for, each called once.
        batch_size: Samples in memory at a time.
    """

    task: PTQTask
    layers: Sequence[Layer]
    batch_size: int
    _float: dict[str, ChannelMoments] = field(default_factory=dict)

    def prepare(self) -> Work[None]:
        """Pass all samples through the float network once."""
        network = self.task.network
        self._float = {layer.name: ChannelMoments() for layer in self.layers}

        def look(layer: Layer, z: Tensor) -> Tensor:
            self._float[layer.name].add(z, channel_axis(network.trace.calls[layer.calls[0]]))
            return z

        taps = {(layer.calls[0], 0): lambda z, layer=layer: look(layer, z) for layer in self.layers}
        for x in self._batches():
            with torch.no_grad():
                network(x, Plan(outputs=taps))
            yield Progress(0, len(self.layers), "means of the float network")

    def shift(self, layer: Layer, plan: Plan) -> Tensor:
        """Return by what the layer's mean output is below the float one under a plan, (O,)."""
        network, call = self.task.network, layer.calls[0]
        found = ChannelMoments()
        for x in self._batches():
            z = output_of(network, x, call, plan)
            found.add(z, channel_axis(network.trace.calls[call]))
        return self._float[layer.name].mean - found.mean

    def deviation(self, layer: Layer) -> Tensor:
        """Return the standard deviation of the layer's channels in the float network, (O,)."""
        return self._float[layer.name].variance.sqrt()

    def _batches(self) -> Iterator[Tensor]:
        for start in range(0, self.task.n, self.batch_size):
            yield self.task.inputs(range(start, min(start + self.batch_size, self.task.n)))
