"""Bounded ReLU: activations get an upper limit taken from the calibration set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analysis.events import Note, Progress, Work
from analysis.models.activations import is_activation
from analysis.models.dataflow import Call
from analysis.models.network import Network
from analysis.models.recalibrated import Changes
from analysis.models.rectifiers import clip_of, limits
from analysis.models.replay import Plan
from analysis.notes import left_out
from analysis.options import Options, option
from analysis.quant.estimators import RANGE_ESTIMATORS
from analysis.quant.ranges import Levels, PercentileOptions, Samples
from analysis.quant.statistics import collect_statistics
from analysis.recalibration.task import (
    RECALIBRATIONS,
    RecalibrationTask,
    change_of_logits,
    many,
)
from analysis.records import ActivationTensor


@dataclass(frozen=True, slots=True)
class BoundedReluOptions(Options):
    """Options of :func:`bounded_relu`."""

    bound: str = option(
        "percentile",
        choices=("percentile", "deviations"),
        help="Where the limit lies: at a percentile of the values, or deviations above their mean.",
    )
    percent: float = option(
        99.99, low=50.0, high=100.0, help="Share of the values, in %, below the limit."
    )
    deviations: float = option(
        6.0, low=0.5, high=100.0, help="Standard deviations from the mean up to the limit."
    )


@RECALIBRATIONS.register(
    "bounded_relu",
    title="Bounded ReLU",
    answers="What if every ReLU had an upper limit that hardly any value exceeds?",
    reference="Choi et al. 2018, arXiv:1805.06085; Zhao et al. 2020, arXiv:2006.11735",
    options=BoundedReluOptions,
    cost="three passes over the samples",
)
def bounded_relu(task: RecalibrationTask, options: BoundedReluOptions) -> Work[Network]:
    r"""Replace every ReLU by :math:`\min(\max(x, 0), a)` with a limit a per tensor.

    The limit comes from the calibration set and is not trained, unlike PACT's. Zeros count as
    values, in percentiles, means and deviations alike; these are read from histograms of 2,048
    bins. An activation that has an upper limit already keeps the lower of both. The float function
    is the same below the limits.
    """
    network = task.network
    calls = [call for call in network.trace.calls if _is_relu(network, call)]
    chosen = {call.index for call in calls}
    left = {
        call.module or f"call {call.index}": f"`{call.name}` is no ReLU"
        for call in network.trace.calls
        if is_activation(call) and call.index not in chosen
    }
    if not calls:
        yield Note("The network has no ReLU to bound: it stays as it is.")
        yield from left_out("bounded", left)
        return network
    # The statistics of tensors that layers read, taken of the ReLUs' results instead.
    table = replace(network.table, tensors=tuple(_tensor(network, c) for c in calls))
    statistics = yield from collect_statistics(
        replace(network, table=table), task.batches, task.num_batches
    )
    bounds = {}
    for place, call in enumerate(calls):
        bound = _bound(statistics.samples(place), options)
        if bound > 0:
            bounds[call.index] = bound
        else:
            left[call.module or f"call {call.index}"] = (
                "so few of its values are above zero that the limit would be zero"
            )
    changes = Changes()
    for call in calls:
        own = limits(network, call)
        if call.index in bounds and own is not None:
            changes.clips[call.index] = own.within(clip_of(0.0, bounds[call.index]))
    result = changes.apply(network)
    yield from _said(task, calls, bounds)
    yield change_of_logits(task, result)
    yield from left_out("bounded", left)
    return result


def _is_relu(network: Network, call: Call) -> bool:
    clip = limits(network, call)
    read = (call.index, 0) in network.trace.readers or (call.index, 0) == network.trace.output
    return clip is not None and read and bool((clip.low == 0).all())


def _tensor(network: Network, call: Call) -> ActivationTensor:
    return ActivationTensor(
        id=call.index,
        call=call.index,
        slot=0,
        produced_by=network.trace.describe((call.index, 0)),
        shape=call.shapes[0][1:],
        readers=(),
    )


def _bound(samples: Samples, options: BoundedReluOptions) -> float:
    if options.bound == "percentile":
        estimator = RANGE_ESTIMATORS["percentile"].function
        # A bin's values may all lie at its upper end, as those at a limit do.
        ends = Samples(samples.values + samples.width / 2, samples.counts, samples.width)
        chosen = PercentileOptions(percent=options.percent)
        _, bound = estimator(ends, Levels(0, 255, symmetric=False), chosen)
        return min(float(bound), float(samples.high))
    share = samples.counts / samples.counts.sum()
    mean = (samples.values * share).sum()
    deviation = ((samples.values - mean).square() * share).sum().sqrt()
    return float(mean + options.deviations * deviation)


def _said(
    task: RecalibrationTask, calls: Sequence[Call], bounds: Mapping[int, float]
) -> Work[None]:
    """Count what the limits clip, in a pass over the network as it was."""
    clipped, values = dict.fromkeys(bounds, 0), dict.fromkeys(bounds, 0)

    def count(index: int, z: Tensor) -> Tensor:
        clipped[index] += int((z > bounds[index]).sum())
        values[index] += z.numel()
        return z

    taps = {(index, 0): lambda z, index=index: count(index, z) for index in bounds}
    for done, x in enumerate(task.batches(), start=1):
        with torch.no_grad():
            task.network(x, Plan(outputs=taps))
        yield Progress(done, task.num_batches, "counting what is clipped")
    if not bounds:
        return
    names = {c.index: c.module or f"call {c.index}" for c in calls}
    worst = max(bounds, key=lambda index: clipped[index] / values[index])
    yield Note(
        f"{many(len(bounds), 'activation')} bounded at {min(bounds.values()):.3g} to "
        f"{max(bounds.values()):.3g}; {sum(clipped.values()) / sum(values.values()):.3%} of their "
        f"values are clipped, most behind `{names[worst]}` "
        f"({clipped[worst] / values[worst]:.3%})."
    )
