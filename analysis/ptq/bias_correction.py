"""Bias correction: round to nearest, then take the mean error of every channel off its bias."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.events import Note, Progress, Work
from analysis.models.calls import INPUT, Slot
from analysis.models.channels import ChannelMoments, Probe, channel_axis, per_channel
from analysis.models.network import Network
from analysis.models.recalibrated import Gaussian, gaussians
from analysis.models.rectifiers import Clip, limits
from analysis.models.replay import Plan
from analysis.notes import left_out
from analysis.options import Options, option
from analysis.ptq.mean_errors import MeanErrors, corrected, why_not_corrected
from analysis.ptq.nearest import nearest
from analysis.ptq.task import PTQ_METHODS, PTQTask
from analysis.ptq.wording import few, sample_count
from analysis.quant.configure import Quantization, plan_of
from analysis.records import Layer

# Linear with weights that add up to one, so the mean of the result is the mean of the argument.
_AVERAGES = frozenset(
    ["avg_pool1d", "avg_pool2d", "avg_pool3d", "mean"]
    + [f"adaptive_avg_pool{n}d" for n in (1, 2, 3)]
)


@dataclass(frozen=True, slots=True)
class BiasCorrectionOptions(Options):
    """Options of :func:`bias_correction`."""

    estimate: str = option(
        "empirical",
        choices=("empirical", "analytic"),
        help="Mean errors from the calibration set, layer by layer, or of weight rounding alone "
        "from what the folded BatchNorms say.",
    )
    batch_size: int = option(128, low=1, high=4096, help="Samples in memory at a time.")


@PTQ_METHODS.register(
    "bias_correction",
    title="Round to nearest, biases corrected",
    answers="How much of the loss is a shift of every channel's mean that its bias can take off?",
    reference="Nagel et al. 2019, arXiv:1906.04721",
    options=BiasCorrectionOptions,
    cost="half a pass over the samples a layer; none if analytic",
)
def bias_correction(task: PTQTask, options: BiasCorrectionOptions) -> Work[Quantization]:
    r"""Round to nearest and correct every layer's bias for the mean error of its output.

    Empirical: :math:`b \mathrel{+}= E[W x] - E[W_q x_q]` for every output channel, over all samples
    and positions, layer by layer behind the corrected quantized layers before; afterwards no
    channel's mean is off on the calibration set. A layer in float is corrected for what reaches it.

    Analytic: :math:`b \mathrel{-}= (W_q - W) E[x]` with the mean of the input from the folded
    BatchNorm that made it, clipped by a ReLU or not: a Gaussian clipped from below at l has mean
    :math:`l + (m - l) \Phi(z) + s \varphi(z)`, :math:`z = (m - l) / s`. Zero padding is taken into
    account; errors of activations are not.
    """
    result = yield from nearest(task, Options())
    if options.estimate == "empirical":
        yield from _empirical(task, result, options.batch_size)
    else:
        yield from _analytic(task, result)
    return result


def _said(
    how: str, shifts: Mapping[str, Tensor], deviations: Mapping[str, Tensor]
) -> Iterator[Note]:
    """Say how many biases were corrected, and the largest shift in deviations of its channel.

    Args:
        how: Where the mean errors come from.
        shifts: What was added to every layer's bias, (O,).
        deviations: Standard deviation of the layer's channels (O,), where it is known.
    """
    if not shifts:
        yield Note("No bias was corrected.")
        return
    said = f"{len(shifts)} {'bias' if len(shifts) == 1 else 'biases'} corrected {how}"
    relative = {
        name: shift.abs() / deviations[name]
        for name, shift in shifts.items()
        if name in deviations and bool((deviations[name] > 0).any())
    }
    # A channel that does not vary has no deviation to hold its shift against.
    relative = {n: r.nan_to_num(0.0, 0.0, 0.0) for n, r in relative.items()}
    if not relative:
        largest = max(float(shift.abs().max()) for shift in shifts.values())
        yield Note(f"{said}: by {largest:.3g} at most.")
        return
    worst = max(relative, key=lambda name: float(relative[name].max()))
    every = torch.cat(list(relative.values()))
    yield Note(
        f"{said}: by {_number(every.max())} standard deviations of the channel at most (channel "
        f"{int(relative[worst].argmax())} of `{worst}`), by {_number(every.median())} in the "
        "median."
    )


def _number(value: Tensor) -> str:
    return f"{float(value):,.0f}" if value >= 100 else f"{float(value):.2g}"


# --- empirical -----------------------------------------------------------------------------------


def _empirical(task: PTQTask, result: Quantization, batch_size: int) -> Work[None]:
    network = task.network
    plan = plan_of(network, result, task.settings)
    reasons = {
        layer.name: reason for layer in network.table.layers if (reason := why_not_corrected(layer))
    }
    layers = [
        layer
        for layer in network.table.layers
        if layer.name not in reasons and plan.first_call <= layer.calls[0]
    ]
    layers.sort(key=lambda layer: layer.calls[0])
    shifts, deviations = {}, {}
    broken = ""
    errors = MeanErrors(task, layers, batch_size)
    yield from errors.prepare()
    for done, layer in enumerate(layers, start=1):
        shift = errors.shift(layer, plan)
        if not bool(shift.isfinite().all()):
            broken = layer.name
            break
        shifts[layer.name] = shift
        deviations[layer.name] = errors.deviation(layer)
        bias = corrected(network, layer, shift)
        result.biases[layer.name] = bias
        plan = plan | Plan(biases={layer.calls[0]: bias})
        yield Progress(done, len(layers), f"bias of `{layer.name}` corrected")
    on = sample_count(task.n, "calibration")
    yield from _said(f"by the mean errors on {on}", shifts, deviations)
    if shifts:
        yield from few(task.n, "learnt from")
    if broken:
        yield Note(
            f"Stopped at `{broken}`: the mean of its output is not finite. Its bias and those "
            "behind it stay as they are. Look for very large values in weights or data, or "
            "quantize the layers before it less."
        )
    yield from left_out("bias-corrected", reasons)


# --- analytic ------------------------------------------------------------------------------------


def _analytic(task: PTQTask, result: Quantization) -> Work[None]:
    network = task.network
    probe, known = Probe(network), gaussians(network)
    owners = {call: layer.name for layer in network.table.layers for call in layer.calls}
    reasons: dict[str, str] = {}
    shifts: dict[str, Tensor] = {}
    for done, layer in enumerate(network.table.layers, start=1):
        yield Progress(done, len(network.table.layers), f"bias of `{layer.name}`")
        if layer.name not in result.weights:
            continue
        reason = why_not_corrected(layer)
        origin = None if reason else _origin(network, layer, owners)
        if origin is None or origin.layer not in known:
            reasons[layer.name] = reason or "its input does not come from a BatchNorm or its ReLU"
            continue
        mean = clipped_mean(known[origin.layer], origin.clip)
        weight = network.weight(layer)
        error = result.weights[layer.name](weight) - weight
        shifts[layer.name] = -_mean_output(probe, origin, mean, layer, error)
        result.biases[layer.name] = corrected(network, layer, shifts[layer.name])
    deviations = {name: gaussian.std for name, gaussian in known.items()}
    yield from _said("by what the folded BatchNorms say", shifts, deviations)
    yield from left_out("bias-corrected", reasons)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a layer's input has the distribution of a BatchNorm, clipped or not."""

    layer: str
    call: int
    slot: Slot
    clip: Clip | None


def _origin(network: Network, layer: Layer, owners: dict[int, str]) -> _Origin | None:
    """Go back from a layer's input to the layer and the ReLU that made it."""
    trace, plan = network.trace, network.plan
    read = trace.calls[layer.calls[0]].inputs[0]
    slot, clip = read, None
    held: Slot | None = None
    while slot is not None and slot != INPUT:
        call = trace.calls[slot[0]]
        found = limits(network, call)
        if found is not None and held is None:
            clip, held = found, slot
        elif slot in plan.outputs:
            return None
        elif call.index in owners:
            return _Origin(owners[call.index], call.index, held or slot, clip)
        elif call.index not in plan.skip and (
            held is not None or not (call.preserves_values or call.name in _AVERAGES)
        ):
            return None
        slot = call.inputs[0]
    return None


def clipped_mean(gaussian: Gaussian, clip: Clip | None) -> Tensor:
    """Return the mean of a Gaussian of every channel (O,) whose values are clipped."""
    mean, std = gaussian.mean, gaussian.std
    if clip is None:
        return mean
    low, high = (limit.double().cpu().flatten() for limit in (clip.low, clip.high))
    # min(max(x, l), h) = l + relu(x - l) - relu(x - h)
    above = torch.where(high.isinf(), 0.0, _relu_mean(mean - high.nan_to_num(posinf=0.0), std))
    if bool(low.isinf().any()):
        return mean - above
    return low + _relu_mean(mean - low, std) - above


def _relu_mean(mean: Tensor, std: Tensor) -> Tensor:
    r"""Return :math:`m \Phi(m / s) + s \varphi(m / s)`, relu(m) where s is 0."""
    z = mean / std.clamp_min(1e-300)
    density = torch.exp(-z.square() / 2) / (2 * torch.pi) ** 0.5
    return torch.where(std > 0, mean * torch.special.ndtr(z) + std * density, mean.clamp_min(0.0))


def _mean_output(
    probe: Probe, origin: _Origin, mean: Tensor, layer: Layer, weight: Tensor
) -> Tensor:
    """Return what a weight gives in the mean over positions when its input holds its mean, (O,)."""
    calls = probe.network.trace.calls
    values = per_channel(mean, calls[origin.call])
    call = layer.calls[0]
    bias = probe.network.bias(layer)
    plan = Plan(
        weights={call: weight}, biases={} if bias is None else {call: torch.zeros_like(bias)}
    )
    z = probe.through(origin.slot, lambda z: values.to(z).expand_as(z), call, plan)
    moments = ChannelMoments()
    moments.add(z, channel_axis(calls[call]))
    return moments.mean
