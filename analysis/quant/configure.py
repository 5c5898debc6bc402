"""From an allocation to quantizers, and from quantizers to a plan that runs them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from analysis.errors import QuantizationError, UnknownNameError
from analysis.models.network import Network
from analysis.models.replay import Plan, Transform, run, running
from analysis.quant.formats import get_format
from analysis.quant.intervals import interval, weight_quantizer
from analysis.quant.intervals import one_thread as one_thread
from analysis.quant.quantizer import Quantizer, affine_quantizer
from analysis.quant.ranges import Levels
from analysis.quant.split import Split
from analysis.quant.statistics import ActivationStatistics
from analysis.records import FLOAT, Allocation, FloatArray, Layer, QuantSettings, TensorRange

SCOPES = ("tensor", "layer_input")


@dataclass(slots=True)
class Quantization:
    """Quantizers of a network: by layer name for weights, by tensor id for activations.

    ``weight_values`` holds fake-quantized weights that a method computed itself; where a layer has
    none its weight is rounded to the nearest value of its quantizer. ``biases`` holds the biases
    that a method changed, ``log`` how a training went, in the columns ``logged``. A weight of
    ``splits`` is the sum of two parts, in ``weight_values`` too; its quantizer is that of the fine
    one, so its codes are in the split and cannot be read off its values.
    """

    weights: dict[str, Quantizer] = field(default_factory=dict)
    activations: dict[int, Quantizer] = field(default_factory=dict)
    weight_values: dict[str, Tensor] = field(default_factory=dict)
    biases: dict[str, Tensor] = field(default_factory=dict)
    ranges: tuple[TensorRange, ...] = ()
    splits: dict[str, Split] = field(default_factory=dict)
    log: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    logged: tuple[str, ...] = ()


@dataclass(slots=True)
class Estimates:
    """Quantizers of one network and its statistics that were estimated before.

    An edit of one layer then costs the estimates of that layer alone.
    """

    _found: dict[tuple[Any, ...], tuple[Quantizer, float]] = field(default_factory=dict)

    def once(
        self, what: tuple[Any, ...], estimate: Callable[[], tuple[Quantizer, float]]
    ) -> tuple[Quantizer, float]:
        """Return the quantizer and its clipped share under a key, estimated if need be."""
        if what not in self._found:
            self._found[what] = estimate()
        return self._found[what]


def estimate_weight(
    network: Network,
    layer: Layer,
    format_name: str,
    settings: QuantSettings,
    scores: NDArray[Any] | None = None,
) -> Quantizer:
    """Return the symmetric quantizer of a layer's folded weight, per output channel by default.

    Args:
        network: The folded network.
        layer: One of its layers.
        format_name: Of the codes.
        settings: Range estimator, per channel or per tensor.
        scores: How much an error of every element counts, in the weight's shape.

    Raises:
        QuantizationError: If the range estimator needs scores and there are none.
    """
    axis = layer.channel_axis if settings.per_channel else None
    return weight_quantizer(network.weight(layer), axis, format_name, settings, scores)


def estimate_activation(
    statistics: ActivationStatistics, tensor: int, format_name: str, settings: QuantSettings
) -> Quantizer:
    """Return the per-tensor quantizer of an activation: unsigned if its minimum is >= 0."""
    grid = get_format(format_name).grid(signed=False)
    low, high = interval(
        statistics.samples(tensor),
        Levels(*grid, symmetric=False),
        settings,
        settings.activation_range,
    )
    return affine_quantizer(low, high, grid)


def quantize_nearest(
    network: Network,
    allocation: Allocation,
    statistics: ActivationStatistics,
    settings: QuantSettings,
    estimates: Estimates | None = None,
    scores: Mapping[str, NDArray[Any]] | None = None,
) -> Quantization:
    """Estimate every quantizer that an allocation asks for.

    Args:
        network: The folded network.
        allocation: A candidate for each layer.
        statistics: Of the activations on the calibration set.
        settings: Range estimators, per channel or per tensor, scope.
        estimates: What was estimated before for this network, these statistics and scores; added
            to.
        scores: By layer name, how much an error of every weight counts; for estimators that ask.

    Raises:
        QuantizationError: If the allocation does not fit the layer table, or layers that read one
            tensor ask for different activation formats, or the range estimator of weights needs
            scores and a layer has none.
    """
    check_allocation(network, allocation)
    if settings.scope not in SCOPES:
        raise UnknownNameError("scope", settings.scope, SCOPES)
    known = Estimates() if estimates is None else estimates
    chosen = allocation.as_dict()
    result = Quantization()
    ranges: list[TensorRange] = []
    for layer in network.table.layers:
        name = chosen[layer.name].weight
        if name == FLOAT:
            continue
        own = None if scores is None else scores.get(layer.name)
        weight = partial(_weight, network, layer, name, settings, own)
        quantizer, clipped = known.once((layer.name, name, settings), weight)
        result.weights[layer.name] = quantizer
        ranges.append(range_of(layer.name, "weight", name, quantizer, clipped))
    for tensor in network.table.tensors:
        name = chosen[tensor.readers[0]].activation
        if name == FLOAT:
            continue
        activation = partial(_activation, statistics, tensor.id, name, settings)
        quantizer, clipped = known.once((tensor.id, name, settings), activation)
        result.activations[tensor.id] = quantizer
        ranges.append(range_of(tensor.produced_by, "activation", name, quantizer, clipped))
    result.ranges = tuple(ranges)
    return result


def check_allocation(network: Network, allocation: Allocation) -> None:
    """Check that an allocation names every layer once and agrees within activation groups.

    Raises:
        QuantizationError: Naming the layers that do not fit.
    """
    known, given = network.table.names, allocation.layers
    unknown = [name for name in given if name not in known]
    missing = [name for name in known if name not in given]
    if unknown or missing or len(set(given)) != len(given):
        raise QuantizationError(
            "An allocation must name every layer of the model once: "
            f"{len(missing)} missing ({', '.join(missing[:3]) or 'none'}), "
            f"{len(unknown)} unknown ({', '.join(unknown[:3]) or 'none'}). "
            "Was it made for another model?"
        )
    chosen = allocation.as_dict()
    for names in network.table.groups.values():
        formats = {chosen[name].activation for name in names}
        if len(formats) > 1:
            raise QuantizationError(
                f"Layers that read one tensor must share its activation format: "
                f"{', '.join(f'{n} has {chosen[n].activation}' for n in names)}."
            )


def plan_of(network: Network, quantization: Quantization, settings: QuantSettings) -> Plan:
    """Return the plan that runs a network with these quantizers under the settings' scope."""
    weights: dict[int, Tensor] = {}
    biases: dict[int, Tensor] = {}
    for layer in network.table.layers:
        if layer.name in quantization.biases:
            biases |= dict.fromkeys(layer.calls, quantization.biases[layer.name])
        value = quantization.weight_values.get(layer.name)
        if value is None and layer.name in quantization.weights:
            value = quantization.weights[layer.name](network.weight(layer))
        if value is not None:
            weights |= dict.fromkeys(layer.calls, value)
    activations = activation_plan(network, quantization.activations, settings.scope)
    return Plan(weights=weights, biases=biases) | activations


def activation_plan(network: Network, transforms: Mapping[int, Transform], scope: str) -> Plan:
    """Return the plan that transforms activations, by tensor id, where the scope says.

    Args:
        network: The network.
        transforms: Quantizers, or whatever stands for them while they are trained.
        scope: ``tensor``: every reader sees the transformed tensor; ``layer_input``: layers do.
    """
    if scope == "tensor":
        slots = {
            (t.call, t.slot): transforms[t.id] for t in network.table.tensors if t.id in transforms
        }
        return Plan(outputs=slots)
    inputs = {
        call: transforms[tensor]
        for layer in network.table.layers
        for call, tensor in zip(layer.calls, layer.inputs, strict=True)
        if tensor in transforms
    }
    return Plan(inputs=inputs)


@contextmanager
def fake_quantized(network: Network, plan: Plan) -> Iterator[nn.Module]:
    """Let the user's own module compute under a plan inside the block.

    Only the module's ``forward`` is replaced, on the instance, and put back whatever happens;
    parameters and buffers are never touched. Not for use from several threads at once:
    ``network(x, plan)`` is.
    """
    module = network.module
    if "forward" in vars(module):
        raise QuantizationError(
            "The module's `forward` is replaced already: leave the other block first."
        )
    plain: Transform = module.forward
    both = network.plan.then(plan)

    def forward(x: Tensor) -> Tensor:
        if running():  # the network itself runs the module, under a plan of its own
            return plain(x)
        return run(plain, network.trace, x, both)

    module.forward = forward
    try:
        yield module
    finally:
        del module.forward


def range_of(
    name: str, role: str, format_name: str, quantizer: Quantizer, clipped: float
) -> TensorRange:
    """Return the record of a quantizer and the share of its tensor's values that it clips."""
    return TensorRange(
        name=name,
        role=role,
        format=format_name,
        scale=quantizer.scale.double().cpu().numpy(),
        zero_point=quantizer.zero_point.double().cpu().numpy(),
        clipped=clipped,
    )


def _weight(
    network: Network,
    layer: Layer,
    name: str,
    settings: QuantSettings,
    scores: NDArray[Any] | None,
) -> tuple[Quantizer, float]:
    quantizer = estimate_weight(network, layer, name, settings, scores)
    return quantizer, quantizer.clipped(network.weight(layer)).double().mean().item()


def _activation(
    statistics: ActivationStatistics, tensor: int, name: str, settings: QuantSettings
) -> tuple[Quantizer, float]:
    quantizer = estimate_activation(statistics, tensor, name, settings)
    samples = statistics.samples(tensor)
    outside = quantizer.clipped(samples.values)
    return quantizer, float((samples.counts * outside).sum() / samples.counts.sum())
