"""What an allocation becomes in the file of a backend, and how to say it."""

from collections.abc import Sequence

from analysis.errors import QuantizationError
from analysis.models.cost import BITS_PER_MIB, other_bits, size_bits
from analysis.quant.backends import BACKENDS, Kept
from analysis.quant.formats import FLOAT_BITS, bits_of
from analysis.records import Allocation, Candidate, Layer, LayerTable, Storage, Stored, StoredLayer
from analysis.records.storage import SAME, WIDER


def stored_as(table: LayerTable, allocation: Allocation, backend: str) -> Storage:
    """Say of every layer how a backend keeps its weight and the activation that it reads.

    Args:
        table: The layers.
        allocation: A candidate for each of them.
        backend: Name of a backend in :data:`BACKENDS`.

    Raises:
        UnknownNameError: If there is no such backend.
        QuantizationError: If the allocation does not name every layer of the table once.
    """
    method, chosen = BACKENDS[backend], allocation.as_dict()
    if sorted(allocation.layers) != sorted(table.names):
        raise QuantizationError(
            f"An allocation must name every layer of `{table.model}` once, got "
            f"{len(allocation.layers)} names for {len(table.names)} layers. Was it made for "
            "another model?"
        )
    layers = tuple(
        _layer(layer, chosen[layer.name], method.function(layer, chosen[layer.name]))
        for layer in table.layers
    )
    weight_bits = [bits_of(chosen[layer.name].weight) for layer in table.layers]
    return Storage(
        backend=method.name,
        title=method.title,
        layers=layers,
        asked_mib=size_bits(table, weight_bits) / BITS_PER_MIB,
        stored_mib=(other_bits(table) + sum(s.stored_bits for s in layers)) / BITS_PER_MIB,
    )


def sentences(storage: Storage) -> tuple[str, ...]:
    """Say what is not kept as asked, one sentence for each way, and the size if it changes."""
    said = [_weights(storage, group) for group in _groups(storage, "weight")]
    said += [_activations(storage, group) for group in _groups(storage, "activation")]
    if not said:
        said.append(f"{storage.title} keeps every format of this allocation as it is.")
    if storage.stored_mib != storage.asked_mib:
        said.append(
            f"All parameters take {storage.stored_mib:.3g} MiB there instead of "
            f"{storage.asked_mib:.3g}, scales not counted."
        )
    return tuple(said)


def _layer(layer: Layer, candidate: Candidate, kept: Kept) -> StoredLayer:
    bits, rows = kept.weight.bits, layer.weight_shape[0]
    if kept.row and bits < FLOAT_BITS:
        stored = rows * _whole(layer.num_weights // rows * bits, kept.row)
    else:
        stored = _whole(layer.num_weights * bits, 8)
    return StoredLayer(
        layer=layer.name,
        weight=kept.weight,
        activation=kept.activation,
        asked_bits=layer.num_weights * bits_of(candidate.weight),
        stored_bits=stored,
    )


def _whole(bits: int, unit: int) -> int:
    return -(-bits // unit) * unit


def _groups(storage: Storage, role: str) -> list[list[StoredLayer]]:
    """Return the layers whose weight or activation is changed, those of one way together."""
    found: dict[tuple[str, str, str], list[StoredLayer]] = {}
    for layer in storage.layers:
        kept: Stored = getattr(layer, role)
        if kept.how != SAME:
            why = "" if role == "weight" and kept.how == WIDER else kept.reason
            found.setdefault((kept.how, kept.stored, why), []).append(layer)
    return list(found.values())


def _weights(storage: Storage, group: Sequence[StoredLayer]) -> str:
    kept = group[0].weight
    asked = _formats([layer.weight.asked for layer in group])
    stored_mib = sum(layer.stored_bits for layer in group) / BITS_PER_MIB
    asked_mib = sum(layer.asked_bits for layer in group) / BITS_PER_MIB
    size = f"{stored_mib:.3g} MiB of weights instead of {asked_mib:.3g}"
    if kept.how == WIDER:
        each = "each " if len(group) > 1 else ""
        verb = "take" if len(group) > 1 else "takes"
        return (
            f"{_count(group)} of {asked} {verb} {kept.bits} bits {each}in {storage.title}: {size}."
        )
    verb = "keep" if len(group) > 1 else "keeps"
    return (
        f"{_count(group)} of {asked} {verb} float weights in {storage.title} ({kept.reason}): "
        f"{size}."
    )


def _activations(storage: Storage, group: Sequence[StoredLayer]) -> str:
    kept = group[0].activation
    asked = _formats([layer.activation.asked for layer in group])
    reads = "read" if len(group) > 1 else "reads"
    becomes = "stay float" if kept.bits == FLOAT_BITS else f"become {kept.stored}"
    return (
        f"{_count(group)} {reads} activations of {asked}, which {becomes} in {storage.title}: "
        f"{kept.reason}."
    )


def _count(group: Sequence[StoredLayer]) -> str:
    return "1 layer" if len(group) == 1 else f"{len(group)} layers"


def _formats(names: Sequence[str]) -> str:
    widths = sorted({bits_of(name) for name in names})
    if len(widths) == 1:
        return f"{widths[0]} bits"
    return f"{widths[0]} to {widths[-1]} bits"
