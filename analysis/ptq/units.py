"""The parts of a network that are reconstructed one after the other: layers, or blocks."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.models.activations import activation_of
from analysis.models.network import Network
from analysis.models.structure import blocks
from analysis.quant.configure import Quantization
from analysis.records import ActivationTensor, Layer


@dataclass(frozen=True, slots=True)
class Unit:
    """Calls ``start`` to ``stop``, whose last output is reconstructed by the weights of ``layers``.

    ``stop`` is the activation function behind the last call, where there is one.
    """

    layers: tuple[Layer, ...]
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The layer's name, or the first and the last one's."""
        names = [f"`{layer.name}`" for layer in self.layers]
        return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def units_of(
    network: Network, start: Quantization, kind: str
) -> tuple[tuple[Unit, ...], Mapping[str, str]]:
    """Return the units in the order of the pass, and why layers are in none, by name.

    Args:
        network: The network.
        start: Only layers whose weight it quantizes are reconstructed.
        kind: ``layer``; or ``block``, what lies between two tensors that the whole network passes
            through. A block whose end has no sample axis falls apart into its layers.
    """
    numbers = blocks(network.trace)
    layers = [layer for layer in network.table.layers if layer.name in start.weights]
    found: list[Unit] = []
    reasons: dict[str, str] = {}
    members: dict[int, list[Layer]] = {}
    for layer in layers:
        inside = {numbers[call] for call in layer.calls}
        if (kind == "layer" and len(layer.calls) > 1) or len(inside) > 1:
            what = "" if kind == "layer" else ", in several blocks"
            reasons[layer.name] = f"it is called {len(layer.calls)} times{what}"
        else:
            members.setdefault(inside.pop(), []).append(layer)
    for number, own in members.items():
        first = numbers.index(number)
        last = len(numbers) - 1 - numbers[::-1].index(number)
        if kind == "block" and (last, 0) in network.axes:
            found.append(Unit(tuple(own), first, _behind(network, last)))
            continue
        for layer in own:
            if len(layer.calls) > 1:
                reasons[layer.name] = f"it is called {len(layer.calls)} times"
                continue
            call = layer.calls[0]
            found.append(Unit((layer,), call, _behind(network, call)))
    return tuple(sorted(found, key=lambda unit: unit.start)), reasons


def own_tensors(network: Network, unit: Unit, scope: str) -> tuple[ActivationTensor, ...]:
    """Return the tensors whose quantizers act for the first time inside a unit.

    What the unit reads first belongs to it, what it ends with to the unit that reads it.
    """

    def place(tensor: ActivationTensor) -> int:
        if scope == "tensor":
            return tensor.call + 1
        reading = [
            call
            for layer in network.table.layers
            for call, read in zip(layer.calls, layer.inputs, strict=True)
            if read == tensor.id
        ]
        return min(reading)

    return tuple(t for t in network.table.tensors if unit.start <= place(t) <= unit.stop)


def _behind(network: Network, call: int) -> int:
    """Return the call of the activation function behind a call, the call itself without one."""
    slot, _ = activation_of(network.trace, (call, 0), network.plan.skip)
    return call if slot is None or slot not in network.axes else slot[0]
