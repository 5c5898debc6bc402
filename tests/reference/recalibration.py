"""Slow, obvious oracles for recalibrations: one weight, one layer, one channel at a time."""

import copy
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from analysis.models.network import Network
from analysis.models.replay import Plan
from analysis.quant.configure import fake_quantized


def written_ranges(weight: Tensor) -> list[float]:
    """Largest magnitude of each output channel of a convolution or linear weight."""
    return [float(row.abs().max()) for row in weight]


def read_ranges(weight: Tensor, inputs: int, *, repeats: int = 1) -> list[float]:
    """Largest magnitude among the weights that read each channel of a (grouped) convolution.

    ``repeats`` input features in a row hold one channel, as behind a flattening.
    """
    groups = inputs * repeats // weight.shape[1]
    result = [0.0] * inputs
    for o, row in enumerate(weight.flatten(2) if weight.dim() > 2 else weight[:, :, None]):
        group = o // (len(weight) // groups)
        for k, value in enumerate(row.abs().amax(1).tolist()):
            channel = (group * weight.shape[1] + k) // repeats
            result[channel] = max(result[channel], value)
    return result


def clipped_gaussian_mean(mean: float, std: float, low: float, high: float) -> float:
    """Mean of a clipped Gaussian by summing over 10,001 points within 12 deviations."""
    total = norm = 0.0
    for i in range(-5_000, 5_001):
        z = i * 12 / 5_000
        density = math.exp(-z * z / 2)
        total += density * min(max(mean + std * z, low), high)
        norm += density
    return total / norm


def renormalized(module: nn.Module, names: Iterable[str], batches: list[Tensor]) -> nn.Module:
    """A copy whose BatchNorms hold the data's statistics, set one after the other."""
    module = copy.deepcopy(module)
    for name in names:
        norm = module.get_submodule(name)
        seen: list[Tensor] = []
        handle = norm.register_forward_pre_hook(
            lambda _, args, seen=seen: seen.append(args[0].detach().clone())
        )
        with torch.no_grad():
            for x in batches:
                module(x)
        handle.remove()
        values = torch.cat([z.movedim(1, 0).flatten(1) for z in seen], 1).double()
        norm.running_mean.copy_(values.mean(1))
        norm.running_var.copy_(values.var(1))
    return module


def channel_means(outputs: Callable[[Tensor], Tensor], batches: list[Tensor]) -> Tensor:
    """Mean of every channel (axis 1) of what a function returns, over all that is fed to it."""
    values = torch.cat([outputs(x).detach().movedim(1, 0).flatten(1) for x in batches], 1)
    return values.double().mean(1)


def means_at(network: Network, layer: str, plan: Plan, batches: list[Tensor]) -> Tensor:
    """Channel means of a layer's module's output, seen by a hook on the user's own module."""
    seen: list[Tensor] = []
    handle = network.module.get_submodule(layer).register_forward_hook(
        lambda _, __, output: seen.append(output)
    )

    def output(x: Tensor) -> Tensor:
        seen.clear()
        with torch.no_grad(), fake_quantized(network, plan) as module:
            module(x)
        return seen[0]

    try:
        return channel_means(output, batches)
    finally:
        handle.remove()
