"""Pairs of layers between which every channel can be rescaled without changing the function.

A pair is two layers where the second alone reads the first's output, through nothing but calls that
keep channels apart and are positively homogeneous, :math:`f(s x) = s f(x)` for :math:`s > 0`. The
way is found on the observed dataflow; which input channels of the second layer hold which output
channel of the first is measured by sending a different value down every channel, so flattening,
permuting and pooling need no rules of their own. A last pass with random scales checks the pair.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from analysis.models.calls import Slot
from analysis.models.channels import Probe, channel_axis, per_channel
from analysis.models.dataflow import Call
from analysis.models.network import Network
from analysis.models.recalibrated import Changes
from analysis.models.rectifiers import Clip, limits
from analysis.models.replay import changed_in_place
from analysis.recalibration.kernels import Kernel
from analysis.records import Layer

# fmt: off
# Linear in each channel, or equal to it where all values are moved by one constant.
POOLING = frozenset([
    "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "mean", "amax", "interpolate", "upsample",
])
_HOMOGENEOUS = frozenset(["leaky_relu", "leaky_relu_", "prelu", "abs"])
# fmt: on
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two layers, ``second`` the only reader of ``first``.

    ``calls`` leads from the first layer's call to the second's, both included. ``channels`` (I,)
    says which output channel of the first each input channel of the second holds, -1 for none.
    ``clips`` are the limits of the calls in between that have an upper one, by call.
    """

    first: str
    second: str
    calls: tuple[int, ...]
    channels: Tensor
    clips: dict[int, Clip]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Every pair of a network, in order, and why the other layers are the first of none."""

    pairs: tuple[Pair, ...]
    alone: dict[str, str] = field(default_factory=dict)


class _ObstacleError(Exception):
    """Why a layer is the first of no pair."""


def find_pairs(network: Network) -> Pairs:
    """Find all pairs of a network, by one pass over a random batch and three short ones a pair."""
    owners = {call: layer for layer in network.table.layers for call in layer.calls}
    probe = Probe(network)
    found, alone = [], {}
    for layer in network.table.layers:
        try:
            pair = _measured(probe, layer, *_way(network, layer, owners))
            _check(probe, pair)
            found.append(pair)
        except _ObstacleError as obstacle:
            alone[layer.name] = str(obstacle)
    return Pairs(tuple(found), alone)


def scaled_limits(pair: Pair, network: Network, scale: Tensor) -> dict[int, Clip]:
    """Return the limits between the layers once the first one's output is divided by ``scale``."""
    call = network.trace.calls[pair.calls[0]]
    return {
        index: clip.times(per_channel(1 / scale, call).float())
        for index, clip in pair.clips.items()
    }


def _way(
    network: Network, layer: Layer, owners: dict[int, Layer]
) -> tuple[Layer, tuple[int, ...], dict[int, Clip]]:
    """Follow a layer's output to the layer that alone reads it."""
    trace, plan = network.trace, network.plan
    if len(layer.calls) > 1:
        raise _ObstacleError(f"it is called {len(layer.calls)} times in one pass")
    mutated = changed_in_place(trace, plan)
    slot: Slot = (layer.calls[0], 0)
    if slot in plan.outputs:
        raise _ObstacleError("its output is transformed already")
    calls = [layer.calls[0]]
    clips: dict[int, Clip] = {}
    while True:
        readers = trace.readers.get(slot, ())
        if slot == trace.output:
            raise _ObstacleError("its output is the network's")
        if len(readers) != 1:
            raise _ObstacleError(f"its output is read by {len(readers)} calls")
        if slot in mutated:
            raise _ObstacleError("its output is changed in place")
        call = trace.calls[readers[0]]
        if call.inputs[0] != slot or any(read is not None for read in call.inputs[1:]):
            raise _ObstacleError(f"`{call.name}` joins its output with another tensor")
        calls.append(call.index)
        if call.index in plan.inputs:
            raise _ObstacleError("what reads its output transforms it")
        if call.index in owners:
            second = owners[call.index]
            if len(second.calls) > 1:
                raise _ObstacleError(
                    f"the layer behind it is called {len(second.calls)} times in one pass"
                )
            return second, tuple(calls), clips
        if any((call.index, other) in trace.readers for other in range(1, len(call.shapes))):
            raise _ObstacleError(f"`{call.name}` behind it takes its output apart")
        clip = _limit(network, call)
        if clip is not None:
            clips[call.index] = clip
        slot = (call.index, 0)


def _limit(network: Network, call: Call) -> Clip | None:
    """Return the call's limits if it has an upper one; None if it is homogeneous as it is."""
    clip = limits(network, call)
    if clip is not None:
        return clip if clip.bounded or bool((clip.low < 0).any()) else None
    if (call.index, 0) in network.plan.outputs:
        raise _ObstacleError("what reads its output is transformed")
    known = call.preserves_values or call.name in POOLING or call.name in _HOMOGENEOUS
    if not known and call.index not in network.plan.skip:
        raise _ObstacleError(
            f"`{call.name}` behind it is not positively homogeneous in each channel"
        )
    return None


def _measured(
    probe: Probe, layer: Layer, second: Layer, calls: tuple[int, ...], clips: dict[int, Clip]
) -> Pair:
    """Measure which channels go where, by a pass in which each holds a value of its own."""
    first = probe.network.trace.calls[calls[0]]
    count = first.shapes[0][channel_axis(first)]
    for index in clips:
        shape = probe.network.trace.calls[index].shapes[0]
        if shape != first.shapes[0]:
            raise _ObstacleError(
                "an activation with an upper limit follows where channels were moved"
            )
    # Small enough to pass every upper limit unchanged, and far enough apart to be told apart.
    highest = min([1.0, *(float(clip.high.min()) for clip in clips.values())])
    if highest <= 0:
        raise _ObstacleError("an activation behind it is held at zero")
    marks = torch.arange(1, count + 1) * (highest / (count + 1))
    values = per_channel(marks, first)
    read = probe.inputs((calls[0], 0), lambda z: values.to(z).expand_as(z), calls[-1])
    last = probe.network.trace.calls[calls[-1]]
    most = read.movedim(channel_axis(last), 0).flatten(1).amax(1).cpu()
    channels = (most / (highest / (count + 1))).round().long() - 1
    if not bool(((channels >= -1) & (channels < count)).all()):
        raise _ObstacleError("calls behind it mix its channels")
    return Pair(layer.name, second.name, calls, channels, clips)


def _check(probe: Probe, pair: Pair) -> None:
    """Check that dividing the first layer's output by random scales can be undone."""
    network = probe.network
    first, last = (network.trace.calls[pair.calls[i]] for i in (0, -1))
    weight = network.weight(network.layer(pair.second))
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(first.shapes[0], generator=generator)
    scale = torch.exp2(torch.rand(first.shapes[0][channel_axis(first)], generator=generator) * 4)
    padded = torch.cat([scale, torch.ones(1)])  # -1 is the one at the end
    kernel = Kernel.of(last, weight)
    clips = scaled_limits(pair, network, scale)
    multiplied = kernel.times_input(weight, padded[pair.channels].to(weight))
    undone = Changes(weights={pair.second: multiplied}, clips=clips).plan(network)
    divided = noise / per_channel(scale, first)
    slot = (first.index, 0)
    before = probe.through(slot, lambda z: noise.to(z), last.index)
    after = probe.through(slot, lambda z: divided.to(z), last.index, undone)
    if not float((after - before).abs().max()) <= _TOLERANCE * float(before.abs().max()):
        raise _ObstacleError("calls behind it mix its channels")
