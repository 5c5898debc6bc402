"""A quantized network as a file: integer codes, scales, zero points and biases, as safetensors.

What is read back computes bit for bit what was written. Names of the tensors are
``weight.LAYER.codes``, ``.scale``, ``.zero_point``, ``bias.LAYER`` and ``activation.ID.scale``,
``.zero_point``; everything else is text in the file's metadata. Where the network was recalibrated
before, ``weight.LAYER.values`` holds what layers without a format compute with. Of a weight in two
parts, ``weight`` is the fine one and ``coarse.LAYER.codes``, ``.scale``, ``.zero_point`` are its
centre taps; such a file has a schema of its own, so that no reader takes one part for the whole.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from analysis.allocation_file import allocation_json, read_allocation
from analysis.errors import QuantizationError
from analysis.models.network import Network
from analysis.quant.configure import Quantization, check_allocation
from analysis.quant.formats import get_format
from analysis.quant.quantizer import Quantizer
from analysis.quant.split import COARSE, Split, centre_of, why_whole
from analysis.records import FLOAT, Allocation, Layer, QuantSettings

SCHEMA = "1"
SPLIT_SCHEMA = "2"


@dataclass(frozen=True, slots=True)
class Packed:
    """A quantization with what it was made from.

    ``identity`` says which model it belongs to, by digests; ``study`` names the study.
    """

    quantization: Quantization
    allocation: Allocation
    settings: QuantSettings
    method: str
    study: str
    identity: Mapping[str, str]
    recalibrations: tuple[str, ...] = ()


def check_packable(network: Network, recalibrations: tuple[str, ...]) -> None:
    """Check that a file can hold what recalibrations made of a network.

    Raises:
        QuantizationError: If one of them bounds activations.
    """
    if network.plan.outputs:
        raise QuantizationError(
            "A model file holds weights, biases and quantizers; bounds of activations are none of "
            f"them, and {' and '.join(recalibrations)} set some. Leave out what bounds "
            "activations, or write no file."
        )


def pack(network: Network, packed: Packed) -> bytes:
    """Return the content of the file.

    Raises:
        QuantizationError: If a weight is not on the grid of its quantizer, or a recalibration
            bounds activations.
    """
    check_packable(network, packed.recalibrations)
    tensors: dict[str, Tensor] = {}
    chosen, biases = packed.allocation.as_dict(), packed.quantization.biases
    for layer in network.table.layers:
        quantizer = packed.quantization.weights.get(layer.name)
        if quantizer is not None:
            values = packed.quantization.weight_values.get(layer.name)
            weight = quantizer(network.weight(layer)) if values is None else values
            tensors |= _named(f"weight.{layer.name}", quantizer)
            split = packed.quantization.splits.get(layer.name)
            tensors |= _codes(layer, quantizer, weight, split)
        elif packed.recalibrations:
            tensors[f"weight.{layer.name}.values"] = network.weight(layer)
        bias = biases.get(layer.name, network.bias(layer))
        changed = bool(packed.recalibrations) or layer.name in biases
        if bias is not None and (changed or chosen[layer.name].weight != FLOAT):
            tensors[f"bias.{layer.name}"] = bias
    for number, quantizer in packed.quantization.activations.items():
        tensors |= _named(f"activation.{number}", quantizer)
    splits = sorted(packed.quantization.splits)
    metadata = {
        "schema": SPLIT_SCHEMA if splits else SCHEMA,
        "study": packed.study,
        "identity": json.dumps(dict(packed.identity)),
        "allocation": allocation_json(packed.allocation, study=packed.study),
        "settings": json.dumps(asdict(packed.settings)),
        "method": packed.method,
        "recalibrations": json.dumps(packed.recalibrations),
        "corrected": json.dumps(sorted(biases)),
        **({"splits": json.dumps(splits)} if splits else {}),
    }
    content: bytes = save({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, metadata)
    return content


def unpack(path: Path, network: Network, identity: Mapping[str, str]) -> Packed:
    """Read a file for a network.

    Args:
        path: The file.
        network: The network that it must have been made for.
        identity: What identifies that network, by digests.

    Raises:
        QuantizationError: If the file cannot be read, is no such file, or was made for another
            model.
    """
    tensors, metadata = _read(path)
    try:
        found = json.loads(metadata["identity"])
        settings = QuantSettings(**json.loads(metadata["settings"]))
        method, study, text = metadata["method"], metadata["study"], metadata["allocation"]
        recalibrations = tuple(json.loads(metadata.get("recalibrations", "[]")))
        corrected = set(json.loads(metadata.get("corrected", "[]")))
        splits = set(json.loads(metadata.get("splits", "[]")))
    except (KeyError, TypeError, ValueError) as error:
        raise _foreign(path) from error
    if metadata.get("schema") != (SPLIT_SCHEMA if splits else SCHEMA):
        raise _foreign(path)
    differing = [name for name in identity if found.get(name) != identity[name]]
    if differing:
        raise QuantizationError(
            f"`{path.name}` must have been made for this model, its {' and '.join(differing)} "
            f"differ (it was made for `{found.get('architecture', 'another one')}`, study "
            f"`{study}`). Open the study that it was made from."
        )
    allocation = read_allocation(text, network.table)
    if recalibrations:
        corrected.update(network.table.names)
    check_allocation(network, allocation)
    try:
        quantization = _quantization(network, allocation, settings, tensors, corrected, splits)
    except KeyError as error:
        raise QuantizationError(
            f"`{path.name}` must hold every tensor that its allocation asks for, {error} is "
            "missing. Write it again."
        ) from error
    return Packed(quantization, allocation, settings, method, study, found, recalibrations)


def _quantization(
    network: Network,
    allocation: Allocation,
    settings: QuantSettings,
    tensors: dict[str, Tensor],
    corrected: set[str],
    splits: set[str],
) -> Quantization:
    result = Quantization()
    chosen = allocation.as_dict()
    for layer in network.table.layers:
        name = chosen[layer.name].weight
        if layer.name in corrected and f"bias.{layer.name}" in tensors:
            weight = network.weight(layer)
            result.biases[layer.name] = tensors[f"bias.{layer.name}"].to(weight)
        if name == FLOAT:
            if f"weight.{layer.name}.values" in tensors:
                values = tensors[f"weight.{layer.name}.values"]
                result.weight_values[layer.name] = values.to(network.weight(layer))
            continue
        axis = layer.channel_axis if settings.per_channel else None
        grid = get_format(name).grid(signed=True)
        quantizer = _quantizer(f"weight.{layer.name}", tensors, grid, axis)
        weight = network.weight(layer)
        codes = _read_codes(f"weight.{layer.name}", tensors, weight.shape, quantizer)
        bias = network.bias(layer)
        if (
            bias is not None
            and layer.name not in corrected
            and not torch.equal(tensors[f"bias.{layer.name}"], bias.cpu())
        ):
            raise QuantizationError(
                f"The bias of `{layer.name}` must be the model's own, the file holds another. "
                "Write the file again."
            )
        result.weights[layer.name] = quantizer
        codes = codes.to(weight)
        result.weight_values[layer.name] = quantizer.values(codes)
        if layer.name in splits:
            split = _read_split(layer, tensors, axis, codes)
            result.splits[layer.name] = split
            result.weight_values[layer.name] = split.values(quantizer)
    for tensor in network.table.tensors:
        name = chosen[tensor.readers[0]].activation
        if name != FLOAT:
            grid = get_format(name).grid(signed=False)
            key = f"activation.{tensor.id}"
            result.activations[tensor.id] = _quantizer(key, tensors, grid, None)
    return result


def _codes(
    layer: Layer, quantizer: Quantizer, weight: Tensor, split: Split | None
) -> dict[str, Tensor]:
    """Return the codes of a weight, and the coarse part's quantizer and codes if it has one."""
    codes = quantizer.codes(weight) if split is None else split.codes
    values = quantizer.values(codes) if split is None else split.values(quantizer)
    if not torch.equal(values, weight):
        raise QuantizationError(
            f"The weight of `{layer.name}` must lie on the grid of its quantizer, some values lie "
            "between two levels: the method's values cannot be written as integer codes."
        )
    found = {f"weight.{layer.name}.codes": codes.to(_dtype(quantizer.qmin, quantizer.qmax))}
    if split is not None:
        own, name = split.coarse, f"coarse.{layer.name}"
        found |= _named(name, own)
        found[f"{name}.codes"] = split.coarse_codes.to(_dtype(own.qmin, own.qmax))
    return found


def _read_codes(
    name: str, tensors: Mapping[str, Tensor], shape: torch.Size, quantizer: Quantizer
) -> Tensor:
    codes = tensors[f"{name}.codes"]
    if codes.shape != shape:
        raise QuantizationError(
            f"The codes of `{name}` must have shape {tuple(shape)}, got {tuple(codes.shape)}."
        )
    low, high = int(codes.min()), int(codes.max())
    if low < quantizer.qmin or high > quantizer.qmax:
        raise QuantizationError(
            f"The codes of `{name}` must lie in [{quantizer.qmin}, {quantizer.qmax}], got {low} to "
            f"{high}."
        )
    return codes


def _read_split(
    layer: Layer, tensors: Mapping[str, Tensor], axis: int | None, codes: Tensor
) -> Split:
    if reason := why_whole(layer):
        raise QuantizationError(
            f"A weight in two parts must have centre taps, that of `{layer.name}` has none: "
            f"{reason}."
        )
    name = f"coarse.{layer.name}"
    coarse = _quantizer(name, tensors, get_format(COARSE).grid(signed=True), axis)
    taps = _read_codes(name, tensors, centre_of(codes).shape, coarse)
    return Split(coarse, taps.to(codes), codes)


def _dtype(qmin: int, qmax: int) -> torch.dtype:
    for dtype in (torch.int8, torch.int16, torch.int32):
        limits = torch.iinfo(dtype)
        if limits.min <= qmin and qmax <= limits.max:
            return dtype
    return torch.int64


def _named(name: str, quantizer: Quantizer) -> dict[str, Tensor]:
    return {
        f"{name}.scale": quantizer.scale,
        f"{name}.zero_point": quantizer.zero_point.to(torch.int32),
    }


def _quantizer(
    name: str, tensors: Mapping[str, Tensor], grid: tuple[int, int], axis: int | None
) -> Quantizer:
    scale = tensors[f"{name}.scale"]
    return Quantizer(scale, tensors[f"{name}.zero_point"].to(scale), *grid, axis)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except FileNotFoundError as error:
        raise QuantizationError(
            f"The model file `{path}` does not exist. Check the path."
        ) from error
    except (OSError, SafetensorError) as error:
        raise QuantizationError(
            f"`{path.name}` must be a readable safetensors file, got: {error}."
        ) from error


def _foreign(path: Path) -> QuantizationError:
    return QuantizationError(
        f"`{path.name}` must be a quantized model written by `quantize --out-model`, its metadata "
        "say something else. Weights of a float model belong to `--weights`."
    )
