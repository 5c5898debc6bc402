"""Slow two-pass distributions: everything in memory, everything in float64, bins one by one."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.models.network import Network
from analysis.records import Distribution
from analysis.records.distributions import INPUT, POST_ACTIVATION, PRE_ACTIVATION, WEIGHT
from tests.reference.sensitivity import folded_copy

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.GELU)


def rows(values: Tensor, axis: int | None) -> np.ndarray:
    """Values of every channel in float64, (C, V)."""
    whole = values.double().numpy()
    return (
        whole.reshape(1, -1)
        if axis is None
        else np.moveaxis(whole, axis, 0).reshape(whole.shape[axis], -1)
    )


def statistics(values: np.ndarray) -> np.ndarray:
    """The seven statistics of a one-dimensional array."""
    values = np.sort(values.ravel())
    mean = values.mean()
    variance = ((values - mean) ** 2).mean()
    kurtosis = ((values - mean) ** 4).mean() / variance**2 if variance else np.nan
    tails = [values[-(-len(values) * percent // 100) - 1] for percent in (1, 99)]
    return np.array([values[0], values[-1], mean, variance**0.5, kurtosis, *tails])


def check(
    found: Distribution, values: np.ndarray, *, rtol: float = 1e-5, ends: float = 0.0
) -> None:
    """Compare a distribution with values (C, V); ``ends`` allows extremes to differ by rounding."""
    assert found.count == values.size
    size = np.abs(values).max()
    for mine, theirs in [
        (found.statistics[:, None], statistics(values)[:, None]),
        (found.channels, np.stack([statistics(row) for row in values], 1)),
    ]:
        np.testing.assert_allclose(mine[:2], theirs[:2], rtol=0, atol=ends * size)
        np.testing.assert_allclose(mine[2:4], theirs[2:4], rtol=rtol, atol=rtol * size)
        # Deviations near the precision of the values have no shape.
        clear = theirs[3] > 1e-4 * size
        np.testing.assert_allclose(mine[4, clear], theirs[4, clear], rtol=20 * rtol)
        assert np.all(np.abs(mine[5:] - theirs[5:]) <= found.width + ends * size)
    if ends == 0:
        assert found.zeros == (values == 0).sum()
        np.testing.assert_array_equal(found.counts, histogram(found, values))


def histogram(found: Distribution, values: np.ndarray) -> np.ndarray:
    """Counts of the values in the bins of a distribution, in exact arithmetic."""
    places = np.floor(values.ravel() / found.width) - round(found.start / found.width)
    assert places.min() >= 0
    return np.bincount(places.astype(np.int64), minlength=len(found.counts))


def layer_tensors(network: Network, x: Tensor) -> dict[tuple[str, str], np.ndarray]:
    """What hooks on a folded copy of the model see of every layer's roles, (C, V) each.

    For models whose layers are modules, or the projections of an attention with its batch first.
    """
    seen: dict[tuple[str, str], np.ndarray] = {}
    for layer in network.table.layers:
        seen[layer.name, WEIGHT] = rows(network.weight(layer), layer.channel_axis)
    with torch.no_grad(), _hooked(folded_copy(network), set(network.table.names), seen) as model:
        model(x)
    return seen


@contextmanager
def _hooked(
    model: nn.Module, names: set[str], seen: dict[tuple[str, str], np.ndarray]
) -> Iterator[nn.Module]:
    made: list[tuple[str, Tensor]] = []

    def layer(name: str, axis: int):
        def hook(_module, inputs, output):
            seen[name, INPUT] = rows(inputs[0], axis)
            seen[name, PRE_ACTIVATION] = rows(output, axis)
            made.append((name, output))

        return hook

    def activation(_module, inputs, output):
        for name, tensor in made:
            if tensor is inputs[0]:
                axis = -1 if output.dim() != 4 else 1
                seen[name, POST_ACTIVATION] = rows(output, axis)

    def attention(name: str):
        def hook(module, inputs, output):
            x = inputs[0]
            packed = F.linear(x, module.in_proj_weight, module.in_proj_bias)
            split = [
                t.unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for t in packed.chunk(3, -1)
            ]
            scores = split[0] @ split[1].mT / split[0].shape[-1] ** 0.5
            mixed = (scores.softmax(-1) @ split[2]).transpose(1, 2).flatten(2)
            seen[f"{name}.in_proj", INPUT] = rows(x, -1)
            seen[f"{name}.in_proj", PRE_ACTIVATION] = rows(packed, -1)
            seen[f"{name}.out_proj", INPUT] = rows(mixed, -1)
            seen[f"{name}.out_proj", PRE_ACTIVATION] = rows(output[0], -1)

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            module.register_forward_hook(attention(name))
        elif name in names and isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(layer(name, 1 if isinstance(module, nn.Conv2d) else -1))
        elif isinstance(module, ACTIVATIONS):
            module.register_forward_hook(activation)
    yield model
