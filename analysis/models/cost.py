"""What a network costs at given bits: size and BOPs, in exact integers first.

Bits come as one whole number per layer, in the order of the layer table, float counting 32, so
that this module needs to know no format.
"""

from collections.abc import Sequence

from analysis.errors import QuantizationError
from analysis.records import Costs, LayerTable

OTHER_BITS = 32  # biases, skipped modules, everything that no layer quantizes
REFERENCE_BITS = 8
BITS_PER_MIB = 8 * 2**20


def other_bits(table: LayerTable) -> int:
    """Return the bits of all parameters that no layer can quantize, 32 each.

    Raises:
        QuantizationError: If the layers hold more weights than the model has parameters.
    """
    weights = sum(layer.num_weights for layer in table.layers)
    if weights > table.params_after_folding:
        raise QuantizationError(
            f"The layers of `{table.model}` must not hold more weights than the model has "
            f"parameters, got {weights} of {table.params_after_folding}; a weight that two layers "
            f"share is counted twice: list it once."
        )
    return OTHER_BITS * (table.params_after_folding - weights)


def size_bits(table: LayerTable, weight_bits: Sequence[int]) -> int:
    """Return the size of all parameters in bits: weights at their bits, all others at 32.

    Args:
        table: The layers.
        weight_bits: Bits per weight of each layer, shape (L,).

    Raises:
        QuantizationError: If there is not one number per layer.
    """
    _check(table, weight_bits, "weight_bits")
    quantized = sum(
        layer.num_weights * bits for layer, bits in zip(table.layers, weight_bits, strict=True)
    )
    return quantized + other_bits(table)


def bops(table: LayerTable, weight_bits: Sequence[int], activation_bits: Sequence[int]) -> int:
    """Return the bit operations per sample: MACs x weight bits x activation bits, summed.

    Args:
        table: The layers.
        weight_bits: Bits per weight of each layer, shape (L,).
        activation_bits: Bits of the activation that each layer reads, shape (L,).

    Raises:
        QuantizationError: If there is not one number per layer.
    """
    _check(table, weight_bits, "weight_bits")
    _check(table, activation_bits, "activation_bits")
    rows = zip(table.layers, weight_bits, activation_bits, strict=True)
    return sum(layer.macs * weight * activation for layer, weight, activation in rows)


def reference_size_bits(table: LayerTable) -> int:
    """Return the size in bits with every layer at 8-bit weights."""
    return size_bits(table, [REFERENCE_BITS] * len(table.layers))


def reference_bops(table: LayerTable) -> int:
    """Return the bit operations with every layer at w8a8."""
    eight = [REFERENCE_BITS] * len(table.layers)
    return bops(table, eight, eight)


def costs(table: LayerTable, weight_bits: Sequence[int], activation_bits: Sequence[int]) -> Costs:
    """Return every cost of the network at the given bits.

    ``compression`` compares with all parameters at 32 bits. ``avg_weight_bits`` is the mean over
    quantizable weights, ``avg_activation_bits`` the mean over multiply-accumulates.

    Args:
        table: The layers.
        weight_bits: Bits per weight of each layer, shape (L,).
        activation_bits: Bits of the activation that each layer reads, shape (L,).

    Raises:
        QuantizationError: If there is not one number per layer, or nothing to quantize at all.
    """
    weights = sum(layer.num_weights for layer in table.layers)
    macs = sum(layer.macs for layer in table.layers)
    if weights <= 0 or macs <= 0:
        raise QuantizationError(
            f"`{table.model}` must have a layer with weights and multiply-accumulates, got "
            f"{weights} weights and {macs} MACs in {len(table.layers)} layers; see its skipped "
            f"modules for the reasons."
        )
    size = size_bits(table, weight_bits)
    operations = bops(table, weight_bits, activation_bits)
    return Costs(
        size_mib=size / BITS_PER_MIB,
        size_ratio=size / reference_size_bits(table),
        compression=OTHER_BITS * table.params_after_folding / size,
        bops=float(operations),
        bops_ratio=operations / reference_bops(table),
        avg_weight_bits=(size - other_bits(table)) / weights,
        avg_activation_bits=bops(table, [1] * len(table.layers), activation_bits) / macs,
    )


def _check(table: LayerTable, bits: Sequence[int], name: str) -> None:
    if len(bits) != len(table.layers):
        raise QuantizationError(
            f"`{name}` must hold one number for each of the {len(table.layers)} layers, "
            f"got {len(bits)}."
        )
