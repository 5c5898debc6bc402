"""What is followed through training: the tensors of every layer with BatchNorm folded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, sqrt

import numpy as np
import torch
from torch import Tensor

from analysis.models.calls import Slot
from analysis.models.dataflow import Trace
from analysis.models.folding import fold_batchnorm
from analysis.models.network import Network
from analysis.records import FloatArray
from analysis.records.initialization import FOLLOWED, KEPT

# Calls between a layer and its activation function.
_PASSED = ("batch_norm", "add", "__add__", "__iadd__", "add_")
_ACTIVATIONS = ("relu",)


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold torch to one thread: the work is small, and one thread gives the same bits anywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True, slots=True)
class Measured:
    """One epoch's statistics (3, L, 9) and channel extremes (3, total); rows as in ``InitRun``.

    ``broken`` names the first tensor with values that are not finite, empty if there is none; what
    follows from such tensors is NaN.
    """

    statistics: FloatArray
    channel_low: FloatArray
    channel_high: FloatArray
    broken: str


def refolded(network: Network) -> Network:
    """Return the network with the BatchNorms folded as they are now, in eval mode.

    The calls are the observed ones; only weights and running statistics have moved since.
    """
    return replace(network, plan=fold_batchnorm(network.module, network.trace).plan)


def offsets(network: Network) -> tuple[int, ...]:
    """Return where the channels of every layer begin among all of them, (L + 1,)."""
    counts = [layer.weight_shape[layer.channel_axis] for layer in network.table.layers]
    return tuple(int(n) for n in np.cumsum([0, *counts]))


@one_thread()
@torch.no_grad()
def measure(network: Network, x: Tensor) -> Measured:
    """Return the statistics of folded weights and, on a batch, of pre- and post-activations.

    A post-activation is what the ReLU behind a layer gives out, a shortcut in between added. The
    last layer has none: its rows are NaN.
    """
    starts = offsets(network)
    layers = network.table.layers
    statistics = np.full((len(FOLLOWED), len(layers), len(KEPT)), np.nan)
    low, high = (np.full((len(FOLLOWED), starts[-1]), np.nan) for _ in range(2))
    logits, prefix = network.capture(x)
    broken = ""
    for place, layer in enumerate(layers):
        call = layer.calls[0]
        after = activation_slot(network.trace, call)
        tensors = (
            network.weight(layer),
            prefix.outputs.get((call, 0), logits),
            None if after is None else prefix.outputs[after],
        )
        for role, tensor in enumerate(tensors):
            if tensor is None:
                continue
            if not bool(tensor.isfinite().all()):
                broken = broken or f"`{layer.name}` ({FOLLOWED[role].replace('_', '-')})"
                continue
            channels = tensor.movedim(layer.channel_axis if role == 0 else 1, 0).flatten(1)
            own = slice(starts[place], starts[place + 1])
            statistics[role, place], low[role, own], high[role, own] = describe_rows(channels)
    return Measured(statistics, low, high, broken)


def describe_rows(channels: Tensor) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the statistics of a finite tensor and the extremes of its channels.

    Quantiles are the smallest value with at least that share of the values at or below it. ACP is
    the mean of the live channels' ranges over the tensor's range, arXiv:2011.14578; it and the
    kurtosis are NaN for a tensor of one value.

    Args:
        channels: One row per channel, (C, M).

    Returns:
        Statistics (9,) in the order of ``KEPT``, smallest and largest values (C,).
    """
    low, high = channels.amin(1), channels.amax(1)
    smallest, largest = float(low.min()), float(high.max())
    values = channels.flatten()
    constant = smallest == largest
    # Brought to [-1, 1] first, so that fourth powers of huge activations stay finite.
    unit = max(abs(smallest), abs(largest)) or 1.0
    scaled = values / unit
    mean = scaled.mean()
    squares = (scaled - mean).square_()
    variance = float(squares.mean())
    kurtosis = float("nan") if constant else float(squares.square_().mean()) / variance**2
    ranges = (high - low).double()
    live = ranges > 0
    acp = float("nan") if constant else float(ranges[live].mean()) / (largest - smallest)
    # One partition for both order statistics takes half of two selections.
    places = [max(ceil(share * len(values)), 1) - 1 for share in (0.01, 0.99)]
    q01, q99 = np.partition(values.numpy(), places)[places].tolist()
    found = {
        "low": smallest,
        "high": largest,
        "mean": float(mean) * unit,
        "std": 0.0 if constant else sqrt(variance) * unit,
        "kurtosis": kurtosis,
        "q01": q01,
        "q99": q99,
        "acp": acp,
        "dead": float((~live).sum()),
    }
    return (
        np.array([found[name] for name in KEPT]),
        low.double().numpy(),
        high.double().numpy(),
    )


def activation_slot(trace: Trace, call: int) -> Slot | None:
    """Return what the activation function behind a layer gives out, None where there is none."""
    slot: Slot = (call, 0)
    while slot in trace.readers:
        reader = trace.calls[trace.readers[slot][0]]
        if reader.name in _ACTIVATIONS:
            return (reader.index, 0)
        if reader.name not in _PASSED:
            return None
        slot = (reader.index, 0)
    return None
