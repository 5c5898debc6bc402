"""What each initializer would have given the layers of a loaded network, and how far they moved."""

from dataclasses import dataclass

import numpy as np

from analysis.initialization.draws import ExpectedRange
from analysis.initialization.initializers import INITIALIZERS, Fans, Initializer, fans
from analysis.records import FloatArray, Layer, LayerTable


@dataclass(frozen=True, slots=True)
class LayerExpectation:
    """What one initializer would have given one layer, None with the reason where unknown."""

    layer: str
    initializer: str
    expected: ExpectedRange | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """How the weights of L layers compare with an initializer; NaN where it is not known.

    ``std`` (L,), ``range`` (L,) and ``largest`` (L,) are what a layer holds over what it would have
    been given: 1 is unmoved. ``widest`` is the largest magnitude over the largest that the
    initializer would give with a probability of 97.5 %: above 1 the layer has grown beyond its
    start, and ``inherited`` (L,) says that its largest magnitude is what the start alone explains.
    """

    initializer: str
    layers: tuple[str, ...]
    std: FloatArray
    range: FloatArray
    largest: FloatArray
    widest: FloatArray
    inherited: tuple[bool, ...]


def expected_ranges(
    table: LayerTable, initializers: tuple[Initializer, ...] = tuple(INITIALIZERS.values())
) -> tuple[LayerExpectation, ...]:
    """Return what initializers would have given every layer, by initializer and layer.

    This is the weight as drawn: where a BatchNorm was folded into a layer (``Layer.folded``), it
    must be compared with the weight before folding.
    """
    found = []
    for initializer in initializers:
        for layer in table.layers:
            expected = initializer.expected(layer.weight_shape, layer_fans(table, layer))
            reason = "" if expected else "the number of its groups is not known"
            found.append(LayerExpectation(layer.name, initializer.name, expected, reason))
    return tuple(found)


def layer_fans(table: LayerTable, layer: Layer) -> Fans:
    """Return a layer's fans; the groups follow from the channels that it reads or gives out.

    ``fan_out`` is None for a convolution where they do not, because it reads a rearranged tensor.
    """
    shape = layer.weight_shape
    if len(shape) == 2:
        return fans(shape)
    if layer.kind.startswith("conv_transpose"):
        return fans(shape, layer.output_shape[0] // shape[1], transposed=True)
    read = table.tensors[layer.inputs[0]].shape
    groups, rest = divmod(read[0], shape[1])
    if len(read) != len(shape) - 1 or rest or groups == 0 or shape[0] % groups:
        return Fans(fans(shape).fan_in, None)
    return fans(shape, groups)


def moved(
    table: LayerTable, initializer: Initializer, std: FloatArray, low: FloatArray, high: FloatArray
) -> Moved:
    """Compare what layers hold with what an initializer would have given them.

    Args:
        table: The layers.
        initializer: To compare with.
        std: Standard deviation of every layer's weight as trained, before folding, (L,).
        low: Their smallest values, (L,).
        high: Their largest values, (L,).
    """
    expected = [e.expected for e in expected_ranges(table, (initializer,))]

    def known(name: str) -> FloatArray:
        return np.array([np.nan if e is None else getattr(e, name) for e in expected])

    magnitude = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(divide="ignore", invalid="ignore"):
        widest = magnitude / known("largest_high")
        return Moved(
            initializer=initializer.name,
            layers=table.names,
            std=std / known("std"),
            range=(high - low) / known("range"),
            largest=magnitude / known("largest"),
            widest=widest,
            inherited=tuple(
                bool(lower <= value) and bool(share <= 1)
                for lower, value, share in zip(known("largest_low"), magnitude, widest, strict=True)
            ),
        )
