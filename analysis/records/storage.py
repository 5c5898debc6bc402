"""What a backend keeps of an allocation: which integers there are, and what is stored instead."""

from dataclasses import dataclass

from analysis.records.base import Record

SAME, WIDER, COARSER, UNQUANTIZED = "same", "wider", "coarser", "float"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(Record):
    """How a backend keeps a tensor.

    ``how`` is ``same`` (as asked), ``wider`` (the codes that were asked for, in a wider integer),
    ``coarser`` (with fewer steps than asked for) or ``float`` (not quantized). ``bits`` are those
    of one stored value. ``reason`` says why it is not kept as asked, empty where it is.
    """

    asked: str
    stored: str
    bits: int
    how: str = SAME
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer(Record):
    """The weight of a layer and the activation that it reads, as a backend keeps them.

    ``asked_bits`` and ``stored_bits`` are those of the whole weight, padding included in what is
    stored; scales are in neither.
    """

    layer: str
    weight: Stored
    activation: Stored
    asked_bits: int
    stored_bits: int

    @property
    def changed(self) -> bool:
        """Whether the weight or the activation is kept in another way than asked for."""
        return self.weight.how != SAME or self.activation.how != SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage(Record):
    """An allocation as a backend keeps it.

    ``asked_mib`` and ``stored_mib`` count every parameter of the model, those of no layer at 32
    bits each, without scales: the first is the ``size_mib`` of its costs.
    """

    backend: str
    title: str
    layers: tuple[StoredLayer, ...]
    asked_mib: float
    stored_mib: float

    @property
    def changed(self) -> tuple[StoredLayer, ...]:
        """The layers of which something is kept in another way than asked for."""
        return tuple(layer for layer in self.layers if layer.changed)
