r"""Squared derivatives of the logits with respect to single weights, summed over samples.

.. math:: h_i = \sum_n \sum_c \Big( \frac{\partial f_c(x_n)}{\partial w_i} \Big)^2

is the diagonal of the Gauss-Newton matrix of the squared error of the logits: how much an error of
this one weight counts. See EPTQ, arXiv:2309.11531.

With random signs :math:`v_{nc}`, independent over samples and classes, one backward pass gives
:math:`g = \sum_n J_n^T v_n`, and :math:`E[g_i^2] = \sum_{nm} \sum_{cd} J_{nci} J_{mdi}
E[v_{nc} v_{md}] = h_i`, since the signs of two different logits average to nothing, be they of one
sample or of two. So one pass over a batch estimates the sum over its samples without bias.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.curvature.jacobian import (
    Linearisation,
    kept_inputs,
    linearise,
    one_hot_probes,
    sign_probes,
)
from analysis.curvature.kernels import Reading, squares
from analysis.errors import DataflowError
from analysis.events import Note, Progress, Work
from analysis.models.network import Network
from analysis.models.replay import Plan, Transform
from analysis.parts import Parts
from analysis.records import Record

# What the gradients of all probes at all layers may take, which bounds the batch.
_MEMORY = 256 << 20
_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementScores(Record):
    """Scores of every weight over ``n`` samples, by layer name, in the shapes of the weights.

    ``probes`` is the number of random probes of every batch, 0 where the scores are exact.
    """

    n: int
    probes: int
    scores: Mapping[str, NDArray[Any]]


def element_scores(
    network: Network,
    inputs: Callable[[range], Tensor],
    n: int,
    *,
    probes: int,
    seed: int,
    parts: Parts | None = None,
) -> Work[ElementScores]:
    """Score every weight of every layer: exactly where there are at most ``probes`` classes.

    A pass per class is exact; otherwise so many passes with random signs are averaged, whose
    relative standard error is about sqrt(2 / (passes of all batches)).

    Args:
        network: The folded network.
        inputs: Returns the preprocessed samples with the given numbers, (B, ...).
        n: Number of samples.
        probes: Backward passes per batch, at most.
        seed: Of the signs.
        parts: Keeps the sums over the batches that are done, for an interrupted run to go on from.

    Raises:
        DataflowError: If there are no samples, or a score is not finite.
    """
    if n < 1:
        raise DataflowError("Scores of weights need at least one sample, got none.")
    classes = network.num_classes
    exact = classes <= probes
    size = _batch_size(network, classes) if exact else _BATCH
    totals = {
        layer.name: np.zeros(layer.weight_shape, dtype=np.float64) for layer in network.table.layers
    }
    kept = None if parts is None else parts.load("sums")
    done = 0 if kept is None else int(kept["done"][0])
    if kept is not None:
        totals = {name: np.array(kept[f"sum.{name}"]) for name in totals}
        yield Note(f"The scores of {done} of {n} samples are kept from an earlier run.")
    for start in range(done, n, size):
        samples = range(start, min(start + size, n))
        yield Progress(start, n, "scoring single weights")
        if exact:
            found = exact_squares(network, inputs(samples))
        else:
            signs = sign_probes(samples, classes, probes, seed)
            found = probed_squares(network, inputs(samples), signs)
        for name, scores in found.items():
            totals[name] += scores.cpu().numpy()
        if parts is not None:
            sums = {f"sum.{name}": total for name, total in totals.items()}
            parts.save("sums", {"done": np.array([float(samples.stop)]), **sums})
    with np.errstate(over="ignore"):
        scored = {name: total.astype(np.float32) for name, total in totals.items()}
    broken = [name for name, values in scored.items() if not np.isfinite(values).all()]
    if broken:
        raise DataflowError(
            f"Scores of weights must be finite, those of `{broken[0]}` are not. Look for overflow "
            "in weights or data, or choose ranges that need no scores, such as `mse`."
        )
    yield Progress(n, n, "scoring single weights")
    return ElementScores(n=n, probes=0 if exact else probes, scores=scored)


def exact_squares(network: Network, x: Tensor) -> dict[str, Tensor]:
    """Return the scores of a batch (B, ...), from a backward pass for every class, in float64.

    Every sample's own gradient of a weight, summed over the calls that read it, comes from what
    the calls read and the gradients at what they return: no sample is passed alone.
    """
    layers, classes = network.table.layers, network.num_classes
    graph, readings = _graph(network, x)
    passes = [
        graph.pull_back(probe.to(graph.logits), keep=c < classes - 1)
        for c, probe in enumerate(one_hot_probes(len(x), classes))
    ]
    found: dict[str, Tensor] = {}
    first = 0
    for layer in layers:
        own = slice(first, first + len(layer.calls))
        found[layer.name] = squares(readings[own], [gradients[own] for gradients in passes])
        first = own.stop
    return found


def probed_squares(network: Network, x: Tensor, signs: Tensor) -> dict[str, Tensor]:
    """Return unbiased estimates of the scores of a batch (B, ...) from signs (K, B, C)."""
    layers = network.table.layers
    weights = [network.weight(layer).detach().requires_grad_() for layer in layers]
    variable = {c: w for layer, w in zip(layers, weights, strict=True) for c in layer.calls}
    totals = [torch.zeros_like(w, dtype=torch.float64) for w in weights]
    with torch.enable_grad():
        logits = network(x.detach(), kept_inputs(network) | Plan(weights=variable))
    for k, probe in enumerate(signs):
        found = torch.autograd.grad(
            logits,
            weights,
            grad_outputs=probe.to(logits),
            retain_graph=k < len(signs) - 1,
            allow_unused=True,
            materialize_grads=True,
        )
        for total, gradient in zip(totals, found, strict=True):
            total += gradient.double().square_()
    return {layer.name: total / len(signs) for layer, total in zip(layers, totals, strict=True)}


def _graph(network: Network, x: Tensor) -> tuple[Linearisation, list[Reading]]:
    """Return the graph that leads back to all layers' outputs, and what their calls read."""
    calls = [(layer, call) for layer in network.table.layers for call in layer.calls]
    kept = kept_inputs(network).inputs
    read: dict[int, Tensor] = {}

    def catch(call: int) -> Transform:
        def transform(value: Tensor) -> Tensor:
            value = kept[call](value) if call in kept else value
            read[call] = value.detach()
            return value

        return transform

    # Weights that ask for gradients give every output a node that knows the stride and padding.
    weights = {call: network.weight(layer).detach().requires_grad_() for layer, call in calls}
    plan = Plan(weights=weights, inputs={call: catch(call) for _, call in calls})
    graph = linearise(network, [call for _, call in calls], x, plan)
    readings = [
        Reading.of(z, read[call], layer.weight_shape, partial(_by_sample, network, call, len(x)))
        for (layer, call), z in zip(calls, graph.outputs, strict=True)
    ]
    return graph, readings


def _by_sample(network: Network, call: int, n: int, z: Tensor) -> Tensor:
    return network.per_sample(call, z, n)


def _batch_size(network: Network, classes: int) -> int:
    """Return how many samples' gradients fit the memory.

    Those at all layers' outputs are held for all classes, those of weights for one at a time; a
    layer whose outputs have a single position needs none of the latter.
    """
    outputs, largest = 0, 1
    for layer in network.table.layers:
        own = sum(
            prod(network.trace.calls[call].shapes[0]) // network.trace.batch for call in layer.calls
        )
        outputs += own
        if own > layer.weight_shape[layer.channel_axis]:
            largest = max(largest, layer.num_weights)
    return max(min(_MEMORY // (4 * classes * outputs), _MEMORY // (4 * largest), _BATCH), 1)
