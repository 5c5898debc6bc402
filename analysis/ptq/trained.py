"""A trained quantization as arrays, and back, bit for bit."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.models.network import Network
from analysis.quant.configure import Quantization
from analysis.quant.split import check_whole


def to_arrays(network: Network, found: Quantization) -> dict[str, NDArray[Any]]:
    """Return the codes, scales, biases and activation steps of a quantization.

    Raises:
        QuantizationError: If a weight is in two parts.
    """
    check_whole(found.splits, "A stored training")
    arrays: dict[str, NDArray[Any]] = {}
    for name, quantizer in found.weights.items():
        values = found.weight_values.get(name)
        values = network.weight(network.layer(name)) if values is None else values
        arrays[f"codes.{name}"] = quantizer.codes(values).cpu().numpy().astype(np.int32)
        arrays[f"scale.{name}"] = quantizer.scale.cpu().numpy()
    arrays |= {f"bias.{name}": bias.cpu().numpy() for name, bias in found.biases.items()}
    arrays |= {f"step.{i}": own.scale.cpu().numpy() for i, own in found.activations.items()}
    return arrays


def from_arrays(
    network: Network, start: Quantization, arrays: Mapping[str, NDArray[Any]]
) -> Quantization:
    """Return the quantization that these arrays make of the one that the training began with."""
    result = Quantization(ranges=start.ranges)
    for name, quantizer in start.weights.items():
        weight = network.weight(network.layer(name))
        own = replace(quantizer, scale=_tensor(arrays[f"scale.{name}"], quantizer.scale))
        result.weights[name] = own
        result.weight_values[name] = own.values(_tensor(arrays[f"codes.{name}"], weight))
    for key, bias in arrays.items():
        if key.startswith("bias."):
            name = key.removeprefix("bias.")
            result.biases[name] = _tensor(bias, network.weight(network.layer(name)))
    for tensor, quantizer in start.activations.items():
        step = _tensor(arrays[f"step.{tensor}"], quantizer.scale)
        result.activations[tensor] = replace(quantizer, scale=step)
    return result


def _tensor(array: NDArray[Any], like: Tensor) -> Tensor:
    return torch.from_numpy(np.array(array)).to(like)
