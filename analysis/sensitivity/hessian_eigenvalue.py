r"""HAWQ: the largest curvature of the loss at a layer's weight, times the squared error.

.. math:: \tfrac12 \Delta w^T H_l \Delta w \le \tfrac12 \lambda_{\max}(H_l) \lVert \Delta w \rVert^2

in nats, attained where the error points along the top eigenvector. Only the algebraically largest
eigenvalue bounds the loss: one of larger magnitude but negative sign does not. See
arXiv:1905.03696.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

from analysis.curvature.hessian import GradientGraph, gradient_graph, top_eigenvalue
from analysis.events import Progress, Work
from analysis.options import Options, option
from analysis.records import FloatArray, Layer, ScoreTable, Skipped
from analysis.sensitivity.hessian_trace import (
    UNIT,
    first_samples,
    negative_note,
    squared_weight_errors,
    weights_only_note,
)
from analysis.sensitivity.tables import score_table
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class HessianEigenvalueOptions(Options):
    """Options of :func:`hessian_eigenvalue`."""

    tolerance: float = option(1e-3, low=1e-6, high=0.5, help="Relative accuracy of the eigenvalue.")
    iterations: int = option(
        50, low=1, high=10_000, help="Sweeps of up to 20 products allowed per layer."
    )
    samples: int = option(
        64, low=0, high=10_000_000, help="Samples that are used, the first ones; 0 for all."
    )
    batch_size: int = option(
        64, low=1, high=4096, help="Samples per pass; one batch in all is fastest."
    )
    seed: int = option(0, low=0, high=2**31 - 1, help="Seed of the start vector.")


@METRICS.register(
    "hessian_eigenvalue",
    title="Hessian eigenvalue",
    answers="How strongly does the loss curve in the worst direction of the layer's weights?",
    reference="Dong et al. 2019 (HAWQ), arXiv:1905.03696",
    needs=("labels", "backward"),
    options=HessianEigenvalueOptions,
    cost="1 forward and about 20 backward passes per layer, on at most `samples` samples",
)
def hessian_eigenvalue(
    task: SensitivityTask, options: HessianEigenvalueOptions
) -> Work[ScoreTable]:
    """Score layers by the top eigenvalue of their block of the Hessian, candidates in nats.

    A layer whose eigenvalue is not reached is skipped. The gradient of a single batch is computed
    once per layer; of several batches, once per product.

    Raises:
        DataError: If the samples have no labels.
        DataflowError: If an operation of the model has no second derivative.
    """
    begin = perf_counter()
    task.labels("hessian_eigenvalue")
    used = first_samples(task, options.samples)
    layers = used.network.table.layers
    values = np.zeros(len(layers))
    products = 0
    skipped = []
    for i, layer in enumerate(layers):
        part = used.parts.load(f"layer-{i}")
        if part is None:
            part = _layer(used, i, options)
            used.parts.save(f"layer-{i}", part)
        values[i] = part["eigenvalue"][0]
        products += int(part["products"][0])
        if not part["reached"][0]:
            skipped.append(_skipped(layer, options))
        yield Progress(i + 1, len(layers), f"`{layer.name}`")
    factors = 0.5 * squared_weight_errors(used) if used.candidates else None
    once = used.n <= options.batch_size
    graphs = len(layers) if once else products
    return score_table(
        used,
        "hessian_eigenvalue",
        options,
        unit=UNIT if factors is None else "nats",
        begin=begin,
        passes=(graphs, graphs + products),
        values=values if factors is None else values[:, None] * factors,
        seed=options.seed,
        notes=[*negative_note(used.network.table.names, values), *weights_only_note(used)],
        skipped=skipped,
    )


def _layer(
    task: SensitivityTask, place: int, options: HessianEigenvalueOptions
) -> Mapping[str, FloatArray]:
    layer = task.network.table.layers[place]
    product = _products(task, layer, options.batch_size)
    count = 0

    def counted(vector: FloatArray) -> FloatArray:
        nonlocal count
        count += 1
        return product(vector)

    value = top_eigenvalue(
        counted,
        layer.num_weights,
        tolerance=options.tolerance,
        restarts=options.iterations,
        seed=(options.seed, place),
    )
    return {
        "eigenvalue": np.array([np.nan if value is None else value]),
        "reached": np.array([float(value is not None)]),
        "products": np.array([float(count)]),
    }


def _products(
    task: SensitivityTask, layer: Layer, batch_size: int
) -> Callable[[FloatArray], FloatArray]:
    """Return products (P,) -> (P,) with the layer's block of the mean loss's Hessian."""
    labels = task.labels("hessian_eigenvalue")
    batches = list(task.batches(batch_size))

    def graph_of(batch: range) -> GradientGraph:
        x = task.inputs(batch)
        y = torch.tensor(labels[batch.start : batch.stop], device=x.device)
        return gradient_graph(task.network, [layer], x, y)

    only = graph_of(batches[0]) if len(batches) == 1 else None

    def product(vector: FloatArray) -> FloatArray:
        total = np.zeros(len(vector))
        for batch in batches:
            graph = only or graph_of(batch)
            v = torch.from_numpy(vector).to(graph.weights[0]).view(layer.weight_shape)
            (found,) = graph.product([0], [v], keep=only is not None)
            total += found.double().flatten().cpu().numpy()
        return total / task.n

    return product


def _skipped(layer: Layer, options: HessianEigenvalueOptions) -> Skipped:
    return Skipped(
        name=layer.name,
        kind=layer.kind,
        num_params=layer.num_params,
        reason=f"its top eigenvalue was not reached within {options.iterations} sweeps to "
        f"{options.tolerance:g}",
    )
