"""What a network costs at given bits, in exact integers first: size, BOPs, activation memory, ACE.

Bits come as one whole number per layer, in the order of the layer table, float counting 32, so
that this module needs to know no format.
"""

from collections.abc import Mapping, Sequence

from analysis.errors import QuantizationError
from analysis.records import Arithmetic, Costs, Layer, LayerTable, Moment

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


def peak_activation_bits(table: LayerTable, activation_bits: Sequence[int]) -> int:
    """Return the most bits of activations that are in memory together, per sample.

    What is in memory at a moment, and what is not counted: :mod:`analysis.models.schedule`.

    Args:
        table: The layers; one without moments, as made by hand, has peak 0.
        activation_bits: Bits of the activation that each layer reads, shape (L,); layers of one
            activation group have one number.

    Raises:
        QuantizationError: If there is not one number per layer.
    """
    bits = group_bits(table, activation_bits)
    return max((_weighed(m, bits) for m in table.moments), default=0)


def arithmetic_effort(
    table: LayerTable, weight_bits: Sequence[int], activation_bits: Sequence[int]
) -> int:
    r"""Return the arithmetic effort per sample, element-wise operations included.

    .. math:: \sum_i m_i b^w_i b^a_i + 32^2 p + \sum_v b_v

    with the layers' MACs m, the MACs p between two activations, and b_v the bits of every
    activation value v that any other operation reads. Products count as in the arithmetic
    computation effort of PokeBNN (arXiv 2112.00133); that element-wise operations belong in it is
    the point of PikeLPN (arXiv 2404.00103), whose own prices per operation are not used: here an
    operation costs the bits of every operand, which keeps the sum linear in the bits of a group.

    Args:
        table: The layers, as observed on a network.
        weight_bits: Bits per weight of each layer, shape (L,).
        activation_bits: Bits of the activation that each layer reads, shape (L,).

    Raises:
        QuantizationError: If there is not one number per layer, or calls could not be counted.
    """
    layers = bops(table, weight_bits, activation_bits)
    return layers + effort_between(table, group_bits(table, activation_bits))


def effort_between(table: LayerTable, bits: Mapping[int, int]) -> int:
    """Return the part of :func:`arithmetic_effort` outside the layers, by bits of each group.

    Raises:
        QuantizationError: If it was not observed, or calls could not be counted.
    """
    work = table.arithmetic
    if work is None or work.uncounted:
        missing = ", ".join(f"`{name}`" for name in work.uncounted[:3]) if work else "any call"
        raise QuantizationError(
            f"The arithmetic effort must count every call of `{table.model}`, that of {missing} "
            f"cannot be told from shapes. Use bops."
        )
    return OTHER_BITS**2 * work.products + _weighed(work, bits)


def group_bits(table: LayerTable, activation_bits: Sequence[int]) -> dict[int, int]:
    """Return the activation bits of each group from those of each layer, shape (L,)."""
    _check(table, activation_bits, "activation_bits")
    rows = zip(table.layers, activation_bits, strict=True)
    return {layer.activation_group: bits for layer, bits in rows}


def reference_peak_bits(table: LayerTable) -> int:
    """Return the peak activation memory in bits with every layer at 8-bit activations."""
    return peak_activation_bits(table, [REFERENCE_BITS] * len(table.layers))


def reference_effort(table: LayerTable) -> int:
    """Return the arithmetic effort with every layer at w8a8."""
    eight = [REFERENCE_BITS] * len(table.layers)
    return arithmetic_effort(table, eight, eight)


def scale_bits(layer: Layer, quantized: bool) -> int:
    """Return what the scales of a layer's weight take: 32 bits per output channel if quantized."""
    return OTHER_BITS * layer.weight_shape[layer.channel_axis] if quantized else 0


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
        peak_activation_mib=peak_activation_bits(table, activation_bits) / BITS_PER_MIB,
    )


def _weighed(values: Moment | Arithmetic, bits: Mapping[int, int]) -> int:
    counted = zip(values.groups, values.elements, strict=True)
    return OTHER_BITS * values.unquantized + sum(bits[group] * n for group, n in counted)


def _check(table: LayerTable, bits: Sequence[int], name: str) -> None:
    if len(bits) != len(table.layers):
        raise QuantizationError(
            f"`{name}` must hold one number for each of the {len(table.layers)} layers, "
            f"got {len(bits)}."
        )
