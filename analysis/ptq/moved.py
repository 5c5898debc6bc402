"""Which weights a method rounds differently from nearest."""

from analysis.models.network import Network
from analysis.quant.configure import Quantization


def moved_shares(network: Network, start: Quantization, found: Quantization) -> dict[str, float]:
    """Return the share of every quantized layer's codes that rounding to nearest does not have.

    Codes are compared, not values: a scale that was trained, by which a layer's large weights at
    many bits lie nearer to another level than to their own, moves none. A weight in two parts has
    a grid that rounding to nearest does not have; the codes of its fine part are compared with
    those nearest on that.

    Args:
        network: Of the float weights.
        start: What rounding to nearest gives for the same formats and ranges.
        found: What the method gives.
    """
    shares = {}
    for name, quantizer in found.weights.items():
        weight, values = network.weight(network.layer(name)), found.weight_values.get(name)
        split = found.splits.get(name)
        if split is not None:
            codes, nearest = split.codes, quantizer.codes(weight - split.centre())
        else:
            codes = quantizer.codes(weight if values is None else values)
            nearest = start.weights[name].codes(weight)
        shares[name] = (codes != nearest).double().mean().item()
    return shares
