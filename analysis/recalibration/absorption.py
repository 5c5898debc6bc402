"""High-bias absorption: the constant part of an activation moves into the next layer's bias."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.events import Note, Progress, Work
from analysis.models.channels import ChannelMoments, Probe, channel_axis, output_of, per_channel
from analysis.models.network import Network
from analysis.models.recalibrated import Changes, Gaussian, gaussians
from analysis.models.rectifiers import Clip, limits
from analysis.models.replay import Plan
from analysis.notes import left_out
from analysis.options import Options, option
from analysis.recalibration.pairs import POOLING, Pair, find_pairs
from analysis.recalibration.task import (
    RECALIBRATIONS,
    RecalibrationTask,
    change_of_logits,
    many,
)

_SAME = 1e-4


@dataclass(frozen=True, slots=True)
class AbsorptionOptions(Options):
    """Options of :func:`absorption`."""

    source: str = option(
        "batchnorm",
        choices=("batchnorm", "deviations", "minimum"),
        help="What tells how low a channel goes: the folded BatchNorm's mean and deviation where "
        "there is one and the calibration set's elsewhere, the calibration set's everywhere, or "
        "its smallest value.",
    )
    deviations: float = option(
        3.0, low=0.0, high=20.0, help="Deviations below the mean that count as never undercut."
    )
    padding: str = option(
        "refuse",
        choices=("refuse", "interior", "mean"),
        help="Where the second layer pads with zeros no bias is right everywhere: leave the pair "
        "alone, be right in the interior, or in the mean over all positions.",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Move:
    """What leaves a pair's first layer (O1,) and what its second one's bias gains (O2,)."""

    pair: Pair
    constant: Tensor
    gain: Tensor


@RECALIBRATIONS.register(
    "absorption",
    title="High-bias absorption",
    answers="What if the part of an activation that is always there moved into the next bias?",
    reference="Nagel et al. 2019, arXiv:1906.04721",
    options=AbsorptionOptions,
    cost="a pass over the first batch a pair; one over all samples where BatchNorm tells nothing",
)
def absorption(task: RecalibrationTask, options: AbsorptionOptions) -> Work[Network]:
    r"""Lower pre-activations by what they hold nearly always, and raise the next layer's bias.

    For a channel whose pre-activation is above c nearly always, relu(x - c) = relu(x) - c, so c can
    leave the first layer's bias when the second layer's bias takes over what c adds to its output:
    W c. An upper limit between the two is lowered by c as well. With
    :math:`c = \max(0, \beta - 3 \gamma)` a Gaussian lies below c once in 741 times, and the float
    function changes a little there. A layer that pads with zeros reads no c beyond the border, see
    ``padding``.
    """
    network = task.network
    yield Progress(0, 1, "looking for pairs of layers")
    found = find_pairs(network)
    alone = dict(found.alone)
    alone |= {p.first: reason for p in found.pairs if (reason := _obstacle(network, p))}
    pairs = [pair for pair in found.pairs if pair.first not in alone]
    constants = yield from _constants(task, pairs, options)
    probe, moves = Probe(network), []
    for pair in pairs:
        constant = constants[pair.first]
        if not bool((constant > 0).any()):
            alone[pair.first] = "no channel stays above zero"
            continue
        gain = _gain(probe, pair, constant, options.padding)
        if gain is None:
            alone[pair.first] = (
                "the layer behind it reads the constant in places only, as at the border of a "
                "zero padding; the option `padding` allows it"
            )
            continue
        moves.append(_Move(pair, constant, gain))
    result = _changes(network, moves).apply(network)
    x = task.first_batch()
    for done, move in enumerate(moves, start=1):
        yield _effect(network, move, x)
        yield Progress(done, len(moves), f"`{move.pair.first}` absorbed")
    if moves:
        yield change_of_logits(task, result)
    else:
        yield Note("Nothing can be absorbed: the network stays as it is.")
    yield from left_out("absorbed", alone)
    return result


def _obstacle(network: Network, pair: Pair) -> str:
    """Return why nothing can be moved between two layers, empty if it can."""
    if any(bool((clip.low != 0).any()) for clip in pair.clips.values()):
        return "an activation that lets negative values pass follows"
    rectifiers = 0
    for index in pair.calls[1:-1]:
        call = network.trace.calls[index]
        if limits(network, call) is not None:
            rectifiers += 1
        elif not (call.preserves_values or call.name in POOLING or index in network.plan.skip):
            return f"`{call.name}` behind it does not pass a constant on"
    return "" if rectifiers else "no ReLU lies between it and the layer that reads it"


def _constants(
    task: RecalibrationTask, pairs: Sequence[Pair], options: AbsorptionOptions
) -> Work[dict[str, Tensor]]:
    """Return what every pair's first layer can give up, (O,), at least 0."""
    known = gaussians(task.network)
    told = {p.first: known[p.first] for p in pairs if p.first in known}
    if options.source != "batchnorm":
        told = {}
    looked = yield from _look(task, [pair for pair in pairs if pair.first not in told])
    result = {}
    for pair in pairs:
        if pair.first in told:
            mean, std = told[pair.first].mean, told[pair.first].std
        else:
            moments, smallest = looked[pair.first]
            mean, std = moments.mean, moments.variance.sqrt().nan_to_num(0.0)
        lowest = mean - options.deviations * std
        if options.source == "minimum":
            lowest = smallest
        for clip in pair.clips.values():
            lowest = lowest.clamp_max(clip.high.double().cpu().flatten())
        result[pair.first] = lowest.clamp_min(0.0)
    return result


def _look(
    task: RecalibrationTask, pairs: Sequence[Pair]
) -> Work[dict[str, tuple[ChannelMoments, Tensor]]]:
    """Return moments and least values of the pairs' first layers over the calibration set."""
    if not pairs:
        return {}
    calls = {pair.first: task.network.trace.calls[pair.calls[0]] for pair in pairs}
    seen = {
        name: (ChannelMoments(), torch.full((), torch.inf, dtype=torch.float64)) for name in calls
    }

    def look(name: str, z: Tensor) -> Tensor:
        axis = channel_axis(calls[name])
        moments, least = seen[name]
        moments.add(z, axis)
        seen[name] = moments, torch.minimum(least, z.movedim(axis, 0).flatten(1).amin(1).cpu())
        return z

    taps = {(c.index, 0): lambda z, name=name: look(name, z) for name, c in calls.items()}
    for done, x in enumerate(task.batches(), start=1):
        with torch.no_grad():
            task.network(x, Plan(outputs=taps))
        yield Progress(done, task.num_batches, "looking at pre-activations")
    return seen


def _gain(probe: Probe, pair: Pair, constant: Tensor, padding: str) -> Tensor | None:
    """Return what the constant adds to the second layer's output (O2,), None if it is refused."""
    first, last = (probe.network.trace.calls[pair.calls[i]] for i in (0, -1))
    values = per_channel(constant, first)
    slot = (first.index, 0)
    absent = probe.through(slot, torch.zeros_like, last.index)
    present = probe.through(slot, lambda z: values.to(z).expand_as(z), last.index)
    gain = (present - absent).double().cpu().movedim(channel_axis(last), 0)
    rows = gain.flatten(1)
    spread = float((rows.amax(1) - rows.amin(1)).max())
    if spread <= _SAME * float(rows.abs().max()) or padding == "mean":
        return rows.mean(1)
    if padding == "refuse":
        return None
    for size in gain.shape[1:]:
        gain = gain[:, size // 2]
    return gain


def _changes(network: Network, moves: Sequence[_Move]) -> Changes:
    changes, known = Changes(), gaussians(network)
    for move in moves:
        for name, change in ((move.pair.first, -move.constant), (move.pair.second, move.gain)):
            changes.biases[name] = _added(network, name, changes.biases.get(name), change)
        call = network.trace.calls[move.pair.calls[0]]
        for index, clip in move.pair.clips.items():
            lowered = clip.high.cpu() - per_channel(move.constant, call).float()
            changes.clips[index] = Clip(clip.low, lowered)
        if move.pair.first in known:
            old = known[move.pair.first]
            changes.gaussians[move.pair.first] = Gaussian(old.mean - move.constant, old.std)
    return changes


def _added(network: Network, name: str, bias: Tensor | None, change: Tensor) -> Tensor:
    """Return a layer's bias, or the one it was given already, with a change added."""
    layer = network.layer(name)
    bias = network.bias(layer) if bias is None else bias
    before = torch.zeros_like(change) if bias is None else bias.double().cpu()
    return (before + change).to(network.weight(layer))


def _effect(network: Network, move: _Move, x: Tensor) -> Note:
    """Say what a move changes in float behind the second layer."""
    call = move.pair.calls[-1]
    plan = _changes(network, [move]).plan(network)
    before, after = output_of(network, x, call), output_of(network, x, call, plan)
    scale = float(before.double().std().clamp_min(1e-12))
    change = float((after - before).double().square().mean().sqrt()) / scale
    moved = int((move.constant > 0).sum())
    return Note(
        f"`{move.pair.first}`: {moved} of {len(move.constant)} channels gave up to "
        f"{float(move.constant.max()):.3g} to `{move.pair.second}`, whose output changes by "
        f"{change:.2%} of its deviation (rms) on {many(len(x), 'sample')}."
    )
