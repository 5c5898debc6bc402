"""What quantization costs a trained network of the lab, by recipe and bit width."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.initialization.measuring import one_thread
from analysis.models.network import Network
from analysis.models.prefix import Prefix
from analysis.models.replay import Plan
from analysis.options import build
from analysis.quant.configure import Quantization, plan_of
from analysis.quant.estimators import RANGE_ESTIMATORS
from analysis.quant.formats import get_format
from analysis.quant.quantizer import affine_quantizer, symmetric_quantizer
from analysis.quant.ranges import Interval, Levels, Samples
from analysis.quant.statistics import ActivationStatistics, weight_samples
from analysis.records import FloatArray, QuantSettings
from analysis.records.initialization import PAPER, RECIPES

K = TypeVar("K", int, str)

SETTINGS = QuantSettings()  # as everywhere in the app
PINNED_BITS = 8
# Evaluation samples whose activations are held at a time.
BATCH = 600


@dataclass(frozen=True, slots=True)
class QuantizedFigures:
    """Figures by recipe and bit width; rows as in ``InitRun``."""

    correct: FloatArray
    qce: FloatArray
    float_entropy: float
    isolated: FloatArray
    accumulated: FloatArray


@one_thread()
@torch.no_grad()
def measure_quantized(
    network: Network,
    statistics: ActivationStatistics,
    x: Tensor,
    y: Tensor,
    bits: tuple[int, ...],
) -> QuantizedFigures:
    """Quantize by both recipes at every width and compare with the float network.

    QMSE of a layer is the mean squared error of what its call computes, before the activation
    function, over the variance of the float values; QCE is -sum p log q of the softmax outputs,
    p of the float network, and at least p's entropy.

    Args:
        network: The trained network, folded.
        statistics: Of the activations on the calibration batch.
        x: Evaluation samples (N, C, H, W).
        y: Labels (N,).
        bits: Widths of weights and activations alike.
    """
    layers = network.table.layers
    chosen = [
        quantization
        for recipe in RECIPES
        for quantization in (
            [paper_quantization(network, statistics, b) for b in bits]
            if recipe == PAPER
            else default_quantizations(network, statistics, bits)
        )
    ]
    plans = [plan_of(network, quantization, SETTINGS) for quantization in chosen]
    correct, crossed = np.zeros((2, len(plans)))
    isolated, accumulated = np.zeros((2, len(plans), len(layers)))
    spread = [_Variance() for _ in layers]
    entropy = 0.0
    for images, labels in batches(x, y):
        logits, prefix = network.capture(images)
        floats = _outputs(network, prefix, logits)
        for variance, values in zip(spread, floats, strict=True):
            variance.add(values)
        p = logits.softmax(1)
        entropy -= float(torch.xlogy(p, p).sum(dtype=torch.float64))
        for i, (quantization, plan) in enumerate(zip(chosen, plans, strict=True)):
            quantized, record = network.capture_from(images, prefix, plan)
            correct[i] += int((quantized.argmax(1) == labels).sum())
            crossed[i] -= float((p * F.log_softmax(quantized, 1)).sum(dtype=torch.float64))
            outputs = _outputs(network, record, quantized)
            each = _alone(network, images, prefix, quantization)
            for place, (alone, exact) in enumerate(zip(each, floats, strict=True)):
                isolated[i, place] += _squared(alone, exact)
                accumulated[i, place] += _squared(outputs[place], exact)
    variances = np.array([variance.total for variance in spread])
    with np.errstate(divide="ignore", invalid="ignore"):
        isolated, accumulated = isolated / variances, accumulated / variances
    shape = (len(RECIPES), len(bits))
    return QuantizedFigures(
        correct=correct.reshape(shape),
        qce=crossed.reshape(shape) / len(x),
        float_entropy=entropy / len(x),
        isolated=isolated.reshape(*shape, -1),
        accumulated=accumulated.reshape(*shape, -1),
    )


def batches(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Give samples and labels in batches that take little memory."""
    return zip(torch.split(x, BATCH), torch.split(y, BATCH), strict=True)


def paper_quantization(
    network: Network, statistics: ActivationStatistics, bits: int
) -> Quantization:
    """Return per-tensor affine min-max quantizers for all weights and activations.

    No layer is exempt. As described for arXiv:2011.14578; affine grids as in arXiv:1712.05877.
    """
    grid = get_format(f"int{bits}").grid(signed=False)
    result = Quantization()
    for layer in network.table.layers:
        low, high = torch.aminmax(network.weight(layer))
        result.weights[layer.name] = affine_quantizer(low.double()[None], high.double()[None], grid)
    for tensor in network.table.tensors:
        ends = (float(ends[tensor.id]) for ends in (statistics.low, statistics.high))
        low, high = (torch.tensor([end], dtype=torch.float64) for end in ends)
        result.activations[tensor.id] = affine_quantizer(low, high, grid)
    return result


def default_quantizations(
    network: Network, statistics: ActivationStatistics, bits: tuple[int, ...]
) -> list[Quantization]:
    """Return the app's default quantizers at every width.

    The same as ``quantize_nearest`` with default settings, the first and the last layer pinned at
    8 bits; the ranges of all layers are searched together, which takes a fraction of the time.
    """
    pinned = {layer.name for layer in network.table.layers if layer.pinned}
    held = _estimate(network, statistics, PINNED_BITS, pinned)
    free = set(network.table.names) - pinned
    found = []
    for width in bits:
        own = _estimate(network, statistics, width, free)
        found.append(
            Quantization(
                weights=held.weights | own.weights, activations=held.activations | own.activations
            )
        )
    return found


def _estimate(
    network: Network, statistics: ActivationStatistics, bits: int, layers: set[str]
) -> Quantization:
    """Return the quantizers of some layers and of the tensors that they read first."""
    kind = get_format(f"int{bits}")
    grid = kind.grid(signed=True)
    result = Quantization()
    chosen = [layer for layer in network.table.layers if layer.name in layers]
    axes = {layer.name: layer.channel_axis if SETTINGS.per_channel else None for layer in chosen}
    weights = {
        layer.name: weight_samples(network.weight(layer), axes[layer.name]) for layer in chosen
    }
    levels = Levels(*grid, symmetric=True)
    for name, (_, limit) in _intervals(weights, levels, SETTINGS.weight_range):
        result.weights[name] = symmetric_quantizer(limit, grid, axes[name])
    grid = kind.grid(signed=False)
    ids = [tensor.id for tensor in network.table.tensors if tensor.readers[0] in layers]
    # Ranges that begin at zero are searched along one side only, so they go together.
    for signed in (False, True):
        own = {i: statistics.samples(i) for i in ids if (statistics.low[i] < 0) == signed}
        levels = Levels(*grid, symmetric=False)
        for i, (low, high) in _intervals(own, levels, SETTINGS.activation_range):
            result.activations[i] = affine_quantizer(low, high, grid)
    return result


def _intervals(
    samples: Mapping[K, Samples], levels: Levels, estimator: str
) -> Iterator[tuple[K, Interval]]:
    """Give the ranges of several tensors, the rows of all of them searched at once.

    Shorter rows are filled up with values that occur zero times.
    """
    if not samples:
        return
    longest = max(own.values.shape[1] for own in samples.values())

    def stacked(parts: list[Tensor]) -> Tensor:
        return torch.cat([F.pad(part, (0, longest - part.shape[1])) for part in parts])

    together = Samples(
        stacked([own.values for own in samples.values()]),
        stacked([own.counts for own in samples.values()]),
        stacked([own.width for own in samples.values()]),
    )
    method = RANGE_ESTIMATORS[estimator]
    low, high = method.function(together, levels, build(method.options, {}))
    start = 0
    for name, own in samples.items():
        end = start + len(own.values)
        yield name, (low[start:end], high[start:end])
        start = end


def _alone(
    network: Network, x: Tensor, prefix: Prefix, quantization: Quantization
) -> Iterator[Tensor]:
    """Give every layer's output with its weight and the tensor that it reads quantized alone."""
    for layer in network.table.layers:
        call = layer.calls[0]
        weight = quantization.weights[layer.name](network.weight(layer))
        plan = Plan(
            weights={call: weight}, inputs={call: quantization.activations[layer.inputs[0]]}
        )
        yield network.local(x, prefix, call, plan)


def _outputs(network: Network, prefix: Prefix, logits: Tensor) -> list[Tensor]:
    return [prefix.outputs.get((layer.calls[0], 0), logits) for layer in network.table.layers]


def _squared(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).square_().sum(dtype=torch.float64))


class _Variance:
    """The summed squared deviation of values that come in batches (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.n, self.mean, self.total = 0, 0.0, 0.0

    def add(self, values: Tensor) -> None:
        variance, mean = (float(v) for v in torch.var_mean(values, correction=0))
        n, apart = values.numel(), mean - self.mean
        self.total += variance * n + apart**2 * self.n * n / (self.n + n)
        self.n += n
        self.mean += apart * n / self.n
