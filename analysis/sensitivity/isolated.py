"""Plans that quantize one layer at a time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.models.network import Network
from analysis.models.replay import Plan
from analysis.quant.configure import (
    Quantization,
    estimate_activation,
    estimate_weight,
)
from analysis.quant.quantizer import Quantizer
from analysis.quant.statistics import ActivationStatistics
from analysis.records import FLOAT, Candidate, Layer, QuantSettings
from analysis.sensitivity.task import SensitivityTask

# Quantized weights of all candidates are kept between batches while they fit in this many bytes.
_KEEP_BYTES = 256 * 2**20


class IsolatedPlans:
    """Plans in which one layer is quantized to one candidate and everything else is float.

    Quantizers are estimated once per layer and format.
    """

    def __init__(
        self,
        network: Network,
        candidates: tuple[Candidate, ...],
        statistics: ActivationStatistics,
        settings: QuantSettings,
        scores: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self._network, self._settings = network, settings
        formats = {c.weight for c in candidates} - {FLOAT}
        weights = sum(layer.num_weights for layer in network.table.layers)

        @cache
        def weight(layer: Layer, name: str) -> Quantizer:
            own = None if scores is None else scores.get(layer.name)
            return estimate_weight(network, layer, name, settings, own)

        @cache
        def activation(tensor: int, name: str) -> Quantizer:
            return estimate_activation(statistics, tensor, name, settings)

        def value(layer: Layer, name: str) -> Tensor:
            return weight(layer, name)(network.weight(layer))

        self._slots = {t.id: (t.call, t.slot) for t in network.table.tensors}
        self._activation = activation
        self._value = cache(value) if weights * len(formats) * 4 <= _KEEP_BYTES else value

    @classmethod
    def of(
        cls, task: SensitivityTask, candidates: tuple[Candidate, ...] | None = None
    ) -> "IsolatedPlans":
        """Return the plans for a task's candidates, or for others."""
        chosen = task.candidates if candidates is None else candidates
        return cls(task.network, chosen, task.statistics, task.settings, task.element_scores)

    def quantization(self, layer: Layer, candidate: Candidate) -> Quantization:
        """Return the quantizers of this layer alone."""
        result = Quantization()
        if candidate.weight != FLOAT:
            result.weight_values[layer.name] = self._value(layer, candidate.weight)
        if candidate.activation != FLOAT:
            result.activations = {
                tensor: self._activation(tensor, candidate.activation) for tensor in layer.inputs
            }
        return result

    def plan(self, layer: Layer, candidate: Candidate) -> Plan:
        """Return the plan under the settings' scope.

        On layer inputs, other layers that read the same tensor see its float values.
        """
        if self._settings.scope == "layer_input":
            return self.local(layer, candidate)
        quantization = self.quantization(layer, candidate)
        weights = {
            call: value for value in quantization.weight_values.values() for call in layer.calls
        }
        outputs = {self._slots[t]: quantizer for t, quantizer in quantization.activations.items()}
        return Plan(weights=weights, outputs=outputs)

    def local(self, layer: Layer, candidate: Candidate) -> Plan:
        """Return the plan in which only the layer's own calls see quantized values."""
        quantization = self.quantization(layer, candidate)
        inputs = {
            call: quantization.activations[tensor]
            for call, tensor in zip(layer.calls, layer.inputs, strict=True)
            if tensor in quantization.activations
        }
        weights = {
            call: value for value in quantization.weight_values.values() for call in layer.calls
        }
        return Plan(weights=weights, inputs=inputs)


@dataclass(frozen=True, slots=True)
class LocalOutput:
    """The output of one call of a layer on float inputs, float and with the layer quantized.

    ``layer`` is the layer's place in the table, ``plain`` the float output with one row per sample,
    (B, ...).
    """

    layer: int
    call: int
    plain: Tensor
    _quantized: Callable[[Candidate], Tensor]

    def error(self, candidate: Candidate) -> Tensor:
        """Return quantized minus float output (B, ...)."""
        return self._quantized(candidate) - self.plain


def local_outputs(network: Network, plans: IsolatedPlans, x: Tensor) -> Iterator[LocalOutput]:
    """Iterate over the layers' calls in a batch (B, ...), each on its float input.

    The batch's activations are held while the iterator lives.
    """
    with torch.no_grad():
        _, prefix = network.capture(x)
    for i, layer in enumerate(network.table.layers):
        for call in layer.calls:
            with torch.no_grad():
                plain = network.local(x, prefix, call)

            def quantized(candidate: Candidate, layer: Layer = layer, call: int = call) -> Tensor:
                with torch.no_grad():
                    z = network.local(x, prefix, call, plans.local(layer, candidate))
                return network.per_sample(call, z, len(x))

            yield LocalOutput(i, call, network.per_sample(call, plain, len(x)), quantized)
