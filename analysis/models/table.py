"""The layer table of an observed model: what can be quantized, what it costs, what reads what."""

from collections.abc import Mapping
from math import prod

from torch import nn

from analysis.models.arithmetic import arithmetic
from analysis.models.calls import INPUT, Slot
from analysis.models.dataflow import Call, Trace
from analysis.models.folding import WEIGHTED_CALLS, Folding, final_activation
from analysis.models.samples import SampleAxis
from analysis.models.schedule import moments, schedule
from analysis.models.structure import blocks, layers_read
from analysis.records import ActivationTensor, Layer, LayerTable, Skipped

_SUFFIXES = (".weight", "_weight")


def layer_table(
    module: nn.Module,
    trace: Trace,
    folding: Folding,
    axes: Mapping[Slot, SampleAxis],
    *,
    digest: str,
) -> LayerTable:
    """Describe the layers of a model in the order of their first call.

    A layer is a parameter that a convolution or linear call reads as its weight; it has the dotted
    name of the module that owns it (``blocks.0.attn.in_proj`` for a packed projection).
    """
    calls = _weighted_calls(trace)
    sources = {
        call.index: trace.source(call.inputs[0])
        for group in calls.values()
        for call in group
        if call.inputs[0] is not None
    }
    readable = {
        name: group
        for name, group in calls.items()
        if all(call.index in sources and (call.index, 0) in axes for call in group)
    }
    tensors = _tensors(trace, readable, sources, axes)
    ids = {slot: i for i, slot in enumerate(tensors)}
    groups = _groups(readable, sources)
    read = layers_read(trace, {name: [c.index for c in group] for name, group in readable.items()})
    numbers = blocks(trace)
    layers = []
    for name, group in readable.items():
        layers.append(
            _layer(
                module,
                trace,
                name,
                group,
                folding,
                axes,
                inputs=tuple(ids[sources[call.index]] for call in group),
                activation_group=groups[name],
                pinned=name in (next(iter(readable)), _last_called(readable)),
                reads=tuple(layer_name(other) for other in read[name]),
                block=numbers[group[0].index],
            )
        )
    removed = sum(
        p.numel()
        for norm in _folded_norms(folding)
        for p in module.get_submodule(norm).parameters(recurse=False)
    )
    added = sum(
        folding.plan.biases[c].numel() for c in folding.folded if 2 not in trace.calls[c].parameters
    )
    before = sum(p.numel() for p in module.parameters())
    quantized = {sources[call.index]: groups[name] for name, g in readable.items() for call in g}
    plan = schedule(trace, folding.plan.skip | final_activation(trace), axes, quantized)
    own_calls = {call.index for group in readable.values() for call in group}
    return LayerTable(
        model=digest,
        layers=tuple(layers),
        tensors=tuple(tensors.values()),
        skipped=_skipped(module, trace, folding, {layer.name: layer for layer in layers}, calls),
        params_before_folding=before,
        params_after_folding=before - removed + added,
        moments=moments(trace, plan),
        arithmetic=arithmetic(trace, plan, axes, own_calls),
    )


def layer_name(weight: str) -> str:
    """Return the layer's name for its weight's dotted parameter name."""
    for suffix in _SUFFIXES:
        if weight.endswith(suffix):
            return weight.removesuffix(suffix)
    return weight


def _weighted_calls(trace: Trace) -> dict[str, list[Call]]:
    """Calls by the dotted name of the parameter they read as their weight."""
    calls: dict[str, list[Call]] = {}
    for call in trace.calls:
        if call.name in WEIGHTED_CALLS and 1 in call.parameters:
            calls.setdefault(call.parameters[1], []).append(call)
    return calls


def _last_called(calls: dict[str, list[Call]]) -> str:
    return max(calls, key=lambda name: calls[name][-1].index) if calls else ""


def _tensors(
    trace: Trace,
    calls: dict[str, list[Call]],
    sources: dict[int, Slot],
    axes: Mapping[Slot, SampleAxis],
) -> dict[Slot, ActivationTensor]:
    readers: dict[Slot, dict[str, None]] = {}
    weighted: dict[Slot, set[int]] = {}
    for name, group in calls.items():
        for call in group:
            slot = sources[call.index]
            readers.setdefault(slot, {})[layer_name(name)] = None
            weighted.setdefault(slot, set()).add(call.index)
    tensors: dict[Slot, ActivationTensor] = {}
    for slot in sorted(readers):
        if slot == INPUT:
            shape = trace.example_shape[1:]
        else:
            whole = trace.calls[slot[0]].shapes[slot[1]]
            shape = axes[slot].without(whole) if slot in axes else whole
        tensors[slot] = ActivationTensor(
            id=len(tensors),
            call=slot[0],
            slot=slot[1],
            produced_by=trace.describe(slot),
            shape=shape,
            readers=tuple(readers[slot]),
            also_read_by=tuple(
                trace.describe((call, 0)) for call in _value_readers(trace, slot) - weighted[slot]
            ),
        )
    return tensors


def _value_readers(trace: Trace, slot: Slot) -> set[int]:
    """Calls that compute with the values of ``slot``, through views as well."""
    found: set[int] = set()
    pending = [slot]
    while pending:
        read = pending.pop()
        for index in trace.readers.get(read, ()):
            call = trace.calls[index]
            if call.preserves_values and call.inputs[0] == read:
                pending.extend((index, i) for i in range(len(call.shapes)))
            elif not call.preserves_values:
                found.add(index)
    return found


def _groups(calls: dict[str, list[Call]], sources: dict[int, Slot]) -> dict[str, int]:
    """Number the sets of layers that are connected by common input tensors."""
    groups: list[tuple[set[Slot], list[str]]] = []
    for name, group in calls.items():
        slots, names = {sources[call.index] for call in group}, [name]
        for other in [g for g in groups if g[0] & slots]:
            slots |= other[0]
            names = other[1] + names
            groups.remove(other)
        groups.append((slots, names))
    order = list(calls)
    groups.sort(key=lambda g: min(order.index(name) for name in g[1]))
    return {name: number for number, (_, names) in enumerate(groups) for name in names}


def _layer(
    module: nn.Module,
    trace: Trace,
    weight_name: str,
    calls: list[Call],
    folding: Folding,
    axes: Mapping[Slot, SampleAxis],
    *,
    inputs: tuple[int, ...],
    activation_group: int,
    pinned: bool,
    reads: tuple[str, ...],
    block: int,
) -> Layer:
    first = calls[0]
    weight = module.get_parameter(weight_name)
    axis = WEIGHTED_CALLS[first.name]
    bias = folding.plan.biases.get(first.index)
    if bias is None and 2 in first.parameters:
        bias = module.get_parameter(first.parameters[2])
    return Layer(
        name=layer_name(weight_name),
        kind=first.name,
        weight_name=weight_name,
        weight_shape=tuple(weight.shape),
        channel_axis=axis,
        output_shape=axes[(first.index, 0)].without(first.shapes[0]),
        num_weights=weight.numel(),
        num_biases=0 if bias is None else bias.numel(),
        macs=sum(_macs(call, tuple(weight.shape), trace) for call in calls),
        activation_group=activation_group,
        calls=tuple(call.index for call in calls),
        inputs=inputs,
        folded=folding.folded.get(first.index, ""),
        pinned=pinned,
        reads=reads,
        block=block,
    )


def _macs(call: Call, weight: tuple[int, ...], trace: Trace) -> int:
    outputs = prod(call.shapes[0]) // trace.batch
    if call.name.startswith("conv_transpose"):
        # Every input element meets every weight of its channel.
        return prod(call.input_shapes[0]) // trace.batch * prod(weight[1:])
    return outputs * prod(weight[1:])


def _skipped(
    module: nn.Module,
    trace: Trace,
    folding: Folding,
    layers: dict[str, Layer],
    calls: dict[str, list[Call]],
) -> tuple[Skipped, ...]:
    handled = {layer.weight_name for layer in layers.values()}
    for layer in layers.values():
        handled |= {
            trace.calls[c].parameters[2] for c in layer.calls if 2 in trace.calls[c].parameters
        }
    folded = _folded_norms(folding)
    readers: dict[str, Call] = {}
    for call in trace.calls:
        for parameter in call.parameters.values():
            readers.setdefault(parameter, call)
    skipped = []
    for owner, child in module.named_modules():
        rest = [
            f"{owner}.{name}" if owner else name
            for name, _ in child.named_parameters(recurse=False)
        ]
        rest = [name for name in rest if name not in handled]
        if owner in folded or not (rest or owner in folding.kept):
            continue
        skipped.append(
            Skipped(
                name=owner or next(iter(rest), "model"),
                kind=type(child).__name__,
                num_params=sum(module.get_parameter(name).numel() for name in rest),
                reason=folding.kept.get(owner) or _reason(rest, readers, calls),
            )
        )
    return tuple(skipped)


def _folded_norms(folding: Folding) -> set[str]:
    return set(folding.folded.values()) - folding.kept.keys()


def _reason(names: list[str], readers: dict[str, Call], calls: dict[str, list[Call]]) -> str:
    name = max(names, key=lambda n: n in readers)
    call = readers.get(name)
    if call is None:
        return "not read by any call of the observed pass"
    if name in calls:
        return (
            "its input is made outside the observed calls or changed in place under another name, "
            "or its output holds no samples"
        )
    if "norm" in call.name:
        return "normalisation, kept in float"
    if call.name == "embedding":
        return "table lookup, kept in float"
    if call.name in ("chunk", "split", "tensor_split", "unbind", "narrow", "select", "__getitem__"):
        return f"read in parts (`{call.name}`), kept in float"
    return f"read by `{call.name}`, which is no convolution or linear call; kept in float"
