"""BatchNorm re-estimation: folded layers are renormalized to the calibration set's statistics."""

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.events import Note, Progress, Work
from analysis.models.channels import ChannelMoments, channel_axis, output_of
from analysis.models.network import Network
from analysis.models.recalibrated import Changes, Gaussian, folded_norm, gaussians
from analysis.models.replay import Plan
from analysis.notes import left_out
from analysis.options import Options
from analysis.recalibration.kernels import Kernel
from analysis.recalibration.task import (
    RECALIBRATIONS,
    RecalibrationTask,
    change_of_logits,
    many,
)
from analysis.records import Layer

_CONSTANT = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """Factor and shift (O,) of a layer's output; ``constant`` channels keep their scale."""

    factor: Tensor
    shift: Tensor
    constant: Tensor


@RECALIBRATIONS.register(
    "batchnorm_reestimation",
    title="BatchNorm re-estimation",
    answers="What if BatchNorm had taken its statistics from the calibration set?",
    reference="Li et al. 2016, arXiv:1603.04779",
    cost="half a pass over the samples for every layer with a folded BatchNorm",
)
def batchnorm_reestimation(task: RecalibrationTask, options: Options) -> Work[Network]:
    r"""Replace each folded BatchNorm's running statistics by the calibration set's.

    Layer by layer in the order of the calls, behind what was corrected before. The folded output z
    of a channel with weight :math:`\gamma` and bias :math:`\beta` becomes

    .. math:: \beta + k (z - \bar z), \quad
        k = \Bigl(\frac{\mathrm{var}(z)}{\gamma^2}
            + \frac{\epsilon}{\sigma^2 + \epsilon}\Bigr)^{-1/2},

    which is the BatchNorm itself with the new mean and (unbiased) variance, :math:`\sigma^2` being
    the old variance; k is 1 where the variances agree. Where a channel hardly varies on the
    calibration set, by less than a hundredth of :math:`\gamma`, only its mean is corrected: the
    rest would blow up noise. The float function changes unless the statistics
    agree.
    """
    del options
    network, known = task.network, gaussians(task.network)
    layers = [layer for layer in network.table.layers if layer.name in known]
    left = {n: "it has no folded BatchNorm" for n in network.table.names if n not in known}
    layers.sort(key=lambda layer: layer.calls[0])
    changes, constant, factors = Changes(), 0, []
    for done, layer in enumerate(layers):
        yield Progress(done, len(layers), f"re-estimating `{layer.name}`")
        moments = _moments(task, layer, changes.plan(network))
        step = _step(network, layer, known[layer.name], moments)
        constant += int(step.constant.sum())
        factors.append(step.factor)
        weight, bias = network.weight(layer), network.bias(layer)
        kernel = Kernel.of(network.trace.calls[layer.calls[0]], weight)
        scaled = kernel.times_output(weight.double().cpu(), step.factor)
        before = torch.zeros_like(step.shift) if bias is None else bias.double().cpu()
        changes.weights[layer.name] = scaled.to(weight)
        changes.biases[layer.name] = (before * step.factor + step.shift).to(weight)
    result = changes.apply(network)
    if not layers:
        yield Note("No layer has a folded BatchNorm: the network stays as it is.")
        yield from left_out("re-estimated", left)
        return result
    every = torch.cat(factors)
    yield Note(
        f"{many(len(layers), 'layer')} re-estimated; channels multiplied by {every.min():.3g} to "
        f"{every.max():.3g}."
        + (f" What hardly varies keeps its scale: {many(constant, 'channel')}." if constant else "")
    )
    yield change_of_logits(task, result)
    yield from left_out("re-estimated", left)
    return result


def _moments(task: RecalibrationTask, layer: Layer, plan: Plan) -> ChannelMoments:
    moments = ChannelMoments()
    (call,) = layer.calls  # a weight that is read twice is never folded
    for x in task.batches():
        z = output_of(task.network, x, call, plan)
        moments.add(z, channel_axis(task.network.trace.calls[call]))
    return moments


def _step(network: Network, layer: Layer, wanted: Gaussian, moments: ChannelMoments) -> _Step:
    norm = folded_norm(network, layer.folded)
    assert norm.running_var is not None
    variance = norm.running_var.detach().double().cpu()
    found = moments.variance.nan_to_num(0.0)
    constant = found.sqrt() <= _CONSTANT * wanted.std
    ratio = found / wanted.std.square().clamp_min(1e-300)
    factor = torch.where(constant, 1.0, torch.rsqrt(ratio + norm.eps / (variance + norm.eps)))
    return _Step(factor, wanted.mean - factor * moments.mean, constant)
