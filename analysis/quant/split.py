"""A convolution's weight in two parts: 8-bit codes of its centre taps, and everything else.

Where a kernel's centre tap is much larger than the others, as when an identity or a 1x1 branch was
merged into it, one scale for both wastes the codes. Coarse are the centre taps alone, rounded to 8
bits; fine is the weight less that, rounded to the layer's own format with a scale of its own. The
layer computes with the sum; on a device they are two convolutions, the coarse one 1x1. See
Coarse-Fine Weight Split, arXiv:2312.10588.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from analysis.errors import QuantizationError
from analysis.models.cost import BITS_PER_MIB, reference_bops, scale_bits
from analysis.quant.formats import bits_of, get_format
from analysis.quant.quantizer import Quantizer, symmetric_quantizer
from analysis.records import Allocation, Costs, Layer, LayerTable

COARSE = "int8"
COARSE_ROLE = "coarse weight"  # of its range in a record
_COARSE_BITS = bits_of(COARSE)


@dataclass(frozen=True, slots=True)
class Split:
    """The two parts of a weight (O, C, k, ...), less the quantizer of the fine one.

    ``coarse_codes`` are those of the centre taps, (O, C, 1, ...): the weight of a 1x1 convolution.
    ``codes`` are those of the fine part, in the weight's shape.
    """

    coarse: Quantizer
    coarse_codes: Tensor
    codes: Tensor

    def centre(self) -> Tensor:
        """Return the coarse part in the weight's shape, zero beside the centre taps."""
        return at_centre(self.coarse.values(self.coarse_codes), self.codes)

    def values(self, fine: Quantizer) -> Tensor:
        """Return the weight that the layer computes with: the sum of both parts."""
        return fine.values(self.codes) + self.centre()


def why_whole(layer: Layer) -> str:
    """Return why a layer's weight cannot be split, empty if it can."""
    kernel = layer.weight_shape[2:]
    if layer.kind.startswith("conv") and prod(kernel) > 1 and all(k % 2 for k in kernel):
        return ""
    return "only a convolution whose kernel is odd and larger than 1 has a centre tap to split off"


def centre_of(weight: Tensor) -> Tensor:
    """Return a view of the centre taps of a weight (O, C, k, ...), (O, C, 1, ...)."""
    for axis in range(2, weight.dim()):
        weight = weight.narrow(axis, weight.shape[axis] // 2, 1)
    return weight


def at_centre(taps: Tensor, weight: Tensor) -> Tensor:
    """Return a tensor like a weight that holds centre taps (O, C, 1, ...) and zeros."""
    values = torch.zeros_like(weight)
    centre_of(values).copy_(taps)
    return values


def coarse_part(weight: Tensor, axis: int | None) -> tuple[Quantizer, Tensor]:
    """Return the quantizer of the centre taps of a weight and their codes, (O, C, 1, ...).

    The largest centre tap is the largest code, of every channel or of the tensor: none is clipped,
    so less than a code of each is left to the fine part.
    """
    taps = centre_of(weight)
    limit = taps.abs().amax()[None]
    if axis is not None:
        limit = taps.abs().movedim(axis, 0).flatten(1).amax(1)
    quantizer = symmetric_quantizer(limit, get_format(COARSE).grid(signed=True), axis)
    return quantizer, quantizer.codes(taps)


def check_whole(splits: Mapping[str, Split], what: str) -> None:
    """Check that no weight is in two parts, for what can hold one set of codes alone.

    Args:
        splits: By layer name.
        what: What cannot hold them, as the subject of a sentence.

    Raises:
        QuantizationError: Naming the layers.
    """
    if splits:
        names = ", ".join(f"`{name}`" for name in splits)
        raise QuantizationError(
            f"{what} must get one set of codes for every weight, got two parts, coarse and fine, "
            f"for {names}. Quantize with a method that does not split weights, or write a model "
            "file, which holds both."
        )


def added_bits(layer: Layer) -> int:
    """Return what the codes of a coarse part take."""
    return _COARSE_BITS * layer.num_weights // prod(layer.weight_shape[2:])


def added_macs(layer: Layer) -> int:
    """Return the multiply-accumulates of a coarse part, per sample: one tap's share."""
    return layer.macs // prod(layer.weight_shape[2:])


def costs_with(
    table: LayerTable, allocation: Allocation, costs: Costs, splits: Mapping[str, Split]
) -> Costs:
    """Return costs of an allocation with those of the coarse parts beside them.

    Size, bits per weight, BOPs and scales count both parts of every split weight; activations and
    times stay as they are.
    """
    chosen, layers = allocation.as_dict(), [n for n in table.layers if n.name in splits]
    if not layers:
        return costs
    bits = sum(added_bits(layer) for layer in layers)
    size = costs.size_mib * BITS_PER_MIB
    ratio = (size + bits) / size
    operations = sum(
        added_macs(layer) * _COARSE_BITS * bits_of(chosen[layer.name].activation)
        for layer in layers
    )
    return replace(
        costs,
        size_mib=(size + bits) / BITS_PER_MIB,
        size_ratio=costs.size_ratio * ratio,
        compression=costs.compression / ratio,
        bops=costs.bops + operations,
        bops_ratio=costs.bops_ratio + operations / reference_bops(table),
        avg_weight_bits=costs.avg_weight_bits
        + bits / sum(layer.num_weights for layer in table.layers),
        scales_mib=costs.scales_mib + sum(scale_bits(n, True) for n in layers) / BITS_PER_MIB,
    )
