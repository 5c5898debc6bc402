"""Cross-layer equalization: every channel is given the same share of two layers' ranges."""

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.events import Note, Progress, Work
from analysis.models.network import Network
from analysis.models.recalibrated import Changes, Gaussian, Recalibrated, gaussians
from analysis.notes import left_out
from analysis.options import Options, option
from analysis.recalibration.kernels import Kernel
from analysis.recalibration.pairs import find_pairs, scaled_limits
from analysis.recalibration.ranges import PairRanges, input_scale
from analysis.recalibration.task import (
    RECALIBRATIONS,
    RecalibrationTask,
    change_of_logits,
    many,
)

TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class EqualizationOptions(Options):
    """Options of :func:`equalization`."""

    iterations: int = option(
        200,
        low=1,
        high=10_000,
        help="Most rounds over all pairs; ends when scales change by 0.1 %.",
    )
    limit: float = option(
        100.0, low=1.0, high=1e6, help="Largest factor by which a channel is scaled up or down."
    )
    capped: str = option(
        "scale",
        choices=("scale", "leave"),
        help="Behind ReLU6 and other activations with an upper limit: scale the limit with each "
        "channel (the limit then differs by channel), or leave the pair alone.",
    )


@RECALIBRATIONS.register(
    "equalization",
    title="Cross-layer equalization",
    answers="What if the channels of neighbouring layers had equal ranges?",
    reference="Nagel et al. 2019, arXiv:1906.04721",
    options=EqualizationOptions,
    cost="no pass over the samples; a few short ones over a random batch",
)
def equalization(task: RecalibrationTask, options: EqualizationOptions) -> Work[Network]:
    r"""Rescale channels between pairs of layers until both layers' ranges agree.

    With :math:`r^{(1)}_i` the largest magnitude among the weights that write channel i and
    :math:`r^{(2)}_i` among those that read it, the first layer's output is divided by

    .. math:: s_i = \sqrt{r^{(1)}_i r^{(2)}_i} / r^{(2)}_i

    and the second's weights are multiplied by it, so both become
    :math:`\sqrt{r^{(1)}_i r^{(2)}_i}`. Pairs that share a layer are taken in turns until no scale
    changes by more than 0.1 %; a chain of three layers is two pairs. Channels without weights on
    one side keep their scale. The float function stays the same.
    """
    network = task.network
    yield Progress(0, options.iterations, "looking for pairs of layers")
    found = find_pairs(network)
    pairs, alone = [], dict(found.alone)
    for pair in found.pairs:
        if pair.clips and options.capped == "leave":
            alone[pair.first] = "an activation with an upper limit follows"
        else:
            pairs.append(pair)
    ranges = PairRanges(network, pairs)
    change, done = 0.0, 0
    while done < options.iterations and (done == 0 or change >= TOLERANCE):
        change = max((ranges.balance(pair, options.limit) for pair in pairs), default=0.0)
        done += 1
        yield Progress(done, options.iterations, f"scales change by {change:.2g}")
    if change >= TOLERANCE:
        yield Note(
            f"After {many(done, 'round')} scales still change by {change:.2g}; allow more "
            "iterations."
        )
    result = _changes(network, ranges).apply(network)
    yield from _said(task, ranges, result)
    yield from left_out("equalized", alone)
    return result


def _changes(network: Network, ranges: PairRanges) -> Changes:
    changes, known = Changes(), gaussians(network)

    def weight(name: str) -> Tensor:
        return changes.weights.get(name, network.weight(network.layer(name)))

    for pair in ranges.pairs:
        scale = ranges.scales[pair.first]
        written_by, read_by = (network.trace.calls[pair.calls[i]] for i in (0, -1))
        first = weight(pair.first)
        factor = (1 / scale).to(first)
        changes.weights[pair.first] = Kernel.of(written_by, first).times_output(first, factor)
        second = weight(pair.second)
        factor = input_scale(pair.channels, scale).to(second)
        changes.weights[pair.second] = Kernel.of(read_by, second).times_input(second, factor)
        bias = network.bias(network.layer(pair.first))
        if bias is not None:
            changes.biases[pair.first] = (bias.double().cpu() / scale).to(bias)
        if pair.first in known:
            old = known[pair.first]
            changes.gaussians[pair.first] = Gaussian(old.mean / scale, old.std / scale)
        changes.clips |= scaled_limits(pair, network, scale)
    return changes


def _said(task: RecalibrationTask, ranges: PairRanges, result: Recalibrated) -> Work[None]:
    if not ranges.pairs:
        yield Note("No pair of layers can be equalized: the network stays as it is.")
        return
    every = torch.cat(list(ranges.scales.values()))
    capped = sum(bool(pair.clips) for pair in ranges.pairs)
    yield Note(
        f"{many(len(ranges.pairs), 'pair')} equalized; channels divided by {every.min():.3g} to "
        f"{every.max():.3g}."
        + (f" Behind {capped} of them the upper limit now differs by channel." if capped else "")
    )
    yield change_of_logits(task, result)
