"""The layers of a model and the tensors between them."""

from dataclasses import dataclass

from analysis.records.base import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer(Record):
    """A weight that a convolution or linear call reads, under the user's own dotted name.

    Shapes are without the batch dimension. ``num_weights`` and ``num_biases`` count after BatchNorm
    folding. ``macs`` are multiply-accumulates per sample, summed over the layer's ``calls``.
    ``inputs`` are ids into :attr:`LayerTable.tensors`, one per call. Layers with equal
    ``activation_group`` read a common tensor, directly or through one another, and share their
    activation format. ``folded`` names the BatchNorm that was folded into the weight. ``reads``
    are the layers whose outputs reach it through no other layer; layers of one ``block`` lie
    between two tensors that the whole network passes through.
    """

    name: str
    kind: str
    weight_name: str
    weight_shape: tuple[int, ...]
    channel_axis: int
    output_shape: tuple[int, ...]
    num_weights: int
    num_biases: int
    macs: int
    activation_group: int
    calls: tuple[int, ...]
    inputs: tuple[int, ...]
    folded: str = ""
    pinned: bool = False
    reads: tuple[str, ...] = ()
    block: int = 0

    @property
    def num_params(self) -> int:
        """Weights and biases after folding."""
        return self.num_weights + self.num_biases


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationTensor(Record):
    """A tensor that layers read: one quantizer, seen by every reader.

    ``call`` is the torch call that produced it, -1 for the network's input; ``slot`` the position
    among that call's outputs. ``shape`` is without the batch dimension. ``readers`` are the layers
    that read it; ``also_read_by`` the other calls that see its quantized values.
    """

    id: int
    call: int
    slot: int
    produced_by: str
    shape: tuple[int, ...]
    readers: tuple[str, ...]
    also_read_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped(Record):
    """Something that keeps its float values, and why."""

    name: str
    kind: str
    num_params: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment(Record):
    """A point of the forward pass, and the activation values in memory then, per sample.

    ``elements[i]`` values have the activation bits of group ``groups[i]``, ``unquantized`` values
    have 32. ``at`` names the call.
    """

    at: str
    groups: tuple[int, ...]
    elements: tuple[int, ...]
    unquantized: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic(Record):
    """Work per sample outside the layers.

    Calls that multiply no weights read ``elements[i]`` activation values of group ``groups[i]`` and
    ``unquantized`` of 32 bits. ``products`` are multiply-accumulates of two unquantized tensors.
    ``uncounted`` names calls whose work cannot be told from shapes.
    """

    groups: tuple[int, ...]
    elements: tuple[int, ...]
    unquantized: int
    products: int
    uncounted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTable(Record):
    """The layers of a model in the order in which they are first called.

    ``moments`` are those at which most activation memory can be needed, in the order of the pass.
    """

    model: str
    layers: tuple[Layer, ...]
    tensors: tuple[ActivationTensor, ...]
    skipped: tuple[Skipped, ...]
    params_before_folding: int
    params_after_folding: int
    moments: tuple[Moment, ...] = ()
    arithmetic: Arithmetic | None = None
    schema: int = 3

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers in order."""
        return tuple(layer.name for layer in self.layers)

    @property
    def groups(self) -> dict[int, tuple[str, ...]]:
        """Names of the layers in each activation group."""
        groups: dict[int, tuple[str, ...]] = {}
        for layer in self.layers:
            groups[layer.activation_group] = (*groups.get(layer.activation_group, ()), layer.name)
        return groups
