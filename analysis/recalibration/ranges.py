"""Ranges of channels in the weights on both sides of a pair, balanced without touching weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.models.network import Network
from analysis.recalibration.kernels import Kernel
from analysis.recalibration.pairs import Pair


@dataclass(slots=True)
class _Table:
    """Largest magnitudes of a layer's weights between channels, (G, O / G, I / G).

    An axis whose channels no pair scales is reduced to one entry. ``channels`` says which channel
    of the layer before each input channel holds, -1 for none.
    """

    values: Tensor
    channels: Tensor

    def written(self) -> Tensor:
        """Return the range of every output channel, (O,)."""
        return self.values.amax(2).flatten()

    def read(self, count: int) -> Tensor:
        """Return the range of the weights that read each of the layer before's channels."""
        kept = self.channels >= 0
        result = torch.zeros(count, dtype=self.values.dtype)
        seen = self.values.amax(1).flatten()[kept]
        return result.scatter_reduce(0, self.channels[kept], seen, "amax")


class PairRanges:
    """The ranges of pairs of layers and the scales given so far.

    ``scales`` holds, by a pair's first layer, what its output is divided by (O,), in float64.
    """

    def __init__(self, network: Network, pairs: Sequence[Pair]) -> None:
        self.pairs = tuple(pairs)
        into = {pair.second: pair for pair in pairs}
        first = {pair.first for pair in pairs}
        self._tables = {
            name: _table(network, name, into.get(name), writes=name in first)
            for name in dict.fromkeys([*first, *into])
        }
        self.scales = {
            name: torch.ones_like(self._tables[name].written(), dtype=torch.float64)
            for name in first
        }

    def of(self, pair: Pair) -> tuple[Tensor, Tensor]:
        """Return the ranges of a pair's channels in its first and its second layer, (C,) each."""
        written = self._tables[pair.first].written().double()
        return written, self._tables[pair.second].read(len(written)).double()

    def balance(self, pair: Pair, limit: float) -> float:
        r"""Give a pair equal ranges as far as the limit allows; return the largest :math:`|s-1|`.

        Channels without weights on one side keep their scale.
        """
        written, read = self.of(pair)
        alive = (written > 0) & (read > 0)
        before = self.scales[pair.first]
        ratio = torch.where(alive, written / read.clamp_min(1e-300), 1.0)
        after = torch.where(alive, (before * ratio.sqrt()).clamp(1 / limit, limit), before)
        scale = after / before
        self.scales[pair.first] = after
        first, second = self._tables[pair.first], self._tables[pair.second]
        groups = len(first.values)
        first.values /= scale.reshape(groups, -1, 1).to(first.values)
        scaled = input_scale(second.channels, scale).reshape(len(second.values), 1, -1)
        second.values *= scaled.to(second.values)
        return float((scale - 1).abs().max())


def input_scale(channels: Tensor, scale: Tensor) -> Tensor:
    """Return what every input channel (I,) is multiplied by when its channel is divided by a scale.

    Args:
        channels: The channel that each input channel holds, (I,), -1 for none, which keeps 1.
        scale: One scale per channel.
    """
    return torch.cat([scale, torch.ones(1, dtype=scale.dtype)])[channels]


def _table(network: Network, name: str, into: Pair | None, *, writes: bool) -> _Table:
    layer = network.layer(name)
    weight = network.weight(layer).cpu()
    values = Kernel.of(network.trace.calls[layer.calls[0]], weight).magnitudes(weight)
    if not writes:
        values = values.amax(1, keepdim=True)
    if into is None:
        return _Table(values.amax(2, keepdim=True), torch.full((len(values),), -1))
    channels = into.channels
    if len(values) > 1:
        return _Table(values, channels)
    # Input channels that hold one channel, as behind a flattening, share one entry.
    held, place = torch.unique(channels, return_inverse=True)
    folded = torch.zeros(1, values.shape[1], len(held), dtype=values.dtype)
    return _Table(folded.scatter_reduce_(2, place.expand_as(values), values, "amax"), held)
