"""Observed dataflow: which torch call produced each tensor and which calls read it.

One forward pass is enough; nothing is traced symbolically and the model is not changed.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from analysis.errors import DataflowError
from analysis.models.calls import INPUT, NumberedCalls, Slot, call_name, flat_tensors, tensors_in

# Calls whose output holds values of their first tensor argument, moved or repeated at most
# (a padding adds zeros, which every grid represents).
# fmt: off
VALUE_PRESERVING = frozenset([
    "view", "reshape", "flatten", "unflatten", "transpose", "permute", "contiguous", "unsqueeze",
    "squeeze", "movedim", "moveaxis", "swapaxes", "swapdims", "T", "mT", "view_as", "reshape_as",
    "clone", "detach", "alias", "data", "to", "float", "type_as", "ravel",
    "expand", "expand_as", "broadcast_to", "repeat", "tile", "roll", "flip",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
    "chunk", "split", "tensor_split", "unbind", "__getitem__", "narrow", "select",
    "split_with_sizes", "index_select",
    "channel_shuffle", "pixel_shuffle", "pixel_unshuffle",
])
# Calls through which a value, or where it lies in memory, can steer the Python code.
_VALUE_READING = frozenset([
    "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "numpy",
    "__array__", "__contains__", "equal", "allclose", "is_nonzero",
    "is_contiguous", "stride", "data_ptr",
])
# fmt: on


@dataclass(frozen=True, slots=True)
class Call:
    """One numbered torch call.

    ``inputs`` are the slots of its tensor arguments in order, None for tensors made outside the
    observed calls (parameters, buffers, constants) or changed since under another name;
    ``parameters`` maps the position among the tensor arguments to a parameter's dotted name.
    ``input_shapes`` and ``shapes`` (of the outputs) include the batch dimension of the observed
    pass. ``in_place`` says that the result is the first argument, changed.
    """

    index: int
    function: Callable[..., Any]
    name: str
    module: str
    inputs: tuple[Slot | None, ...]
    parameters: dict[int, str]
    input_shapes: tuple[tuple[int, ...], ...]
    shapes: tuple[tuple[int, ...], ...]
    in_place: bool
    zero_padding: bool = False

    @property
    def preserves_values(self) -> bool:
        """Whether the outputs only hold values of the first tensor argument."""
        return self.name in VALUE_PRESERVING or self.zero_padding


@dataclass(frozen=True, slots=True)
class Trace:
    """The calls of one forward pass, and what they read.

    ``readers`` maps a slot to the calls that read it. ``mutated`` holds the slots whose memory a
    later call changes in place. ``reads_values`` is the first call through which a tensor's value
    reached the Python code, or memory was changed under another name, empty if there is none.
    ``parameters`` holds the model's live parameters by name.
    """

    calls: tuple[Call, ...]
    output: Slot
    readers: dict[Slot, tuple[int, ...]]
    mutated: frozenset[Slot]
    example_shape: tuple[int, ...]
    reads_values: str = ""
    parameters: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        """Number of samples of the observed pass."""
        return self.example_shape[0]

    def source(self, slot: Slot) -> Slot:
        """Follow value-preserving calls back to the slot whose values ``slot`` holds."""
        while slot != INPUT and self.calls[slot[0]].preserves_values:
            first = self.calls[slot[0]].inputs[0]
            if first is None:
                break
            slot = first
        return slot

    def describe(self, slot: Slot) -> str:
        """Say in a few words what a slot is."""
        if slot == INPUT:
            return "network input"
        call = self.calls[slot[0]]
        return f"{call.name} in {call.module}" if call.module else call.name


@dataclass
class _Observer(NumberedCalls):
    parameters: dict[int, str]
    calls: list[Call] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    reads_values: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.slots: dict[int, Slot] = {}
        self.alive: list[Tensor] = []
        self.storages: dict[Slot, int] = {}
        self.versions: dict[Slot, int] = {}
        self.changed: set[int] = set()

    def __hash__(self) -> int:
        return id(self)

    def enter(self, name: str, *_: object) -> None:
        self.modules.append(name)

    def leave(self, *_: object) -> None:
        self.modules.pop()

    def know(self, tensor: Tensor, slot: Slot) -> None:
        self.alive.append(tensor)
        self.slots[id(tensor)] = slot
        self.storages[slot] = _storage(tensor)
        self.versions[slot] = _version(tensor)

    def slot_of(self, tensor: Tensor, version: int) -> Slot | None:
        slot = self.slots.get(id(tensor))
        if slot is not None and self.versions[slot] != version:
            # These are no longer the values that the slot's call produced.
            self.note("a tensor changed under another name")
            return None
        return slot

    def note(self, what: str) -> None:
        module = self.modules[-1] if self.modules else ""
        self.reads_values = self.reads_values or f"{what} in {module or 'forward'}"

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        arguments = flat_tensors(args, kwargs)
        versions = [_version(t) for t in arguments]
        result = func(*args, **kwargs)
        name = call_name(func)
        outputs = tensors_in(result)
        if name in _VALUE_READING and not outputs:
            self.note(name)
        if not outputs:
            return result
        inputs = tuple(self.slot_of(t, v) for t, v in zip(arguments, versions, strict=True))
        written = [t for t, v in zip(arguments, versions, strict=True) if _version(t) != v]
        # Functions such as dropout in eval mode hand their argument back unchanged.
        in_place = any(o is arguments[0] for o in outputs) if arguments else False
        in_place = in_place and (_changes(name) or any(t is arguments[0] for t in written))
        for tensor in (*written, *arguments[:1]) if in_place else written:
            self.changed.add(_storage(tensor))
            if not in_place or tensor is not arguments[0] or inputs[0] is None:
                self.note(f"{name} into another tensor than the network's activations")
        index = len(self.calls)
        self.calls.append(
            Call(
                index=index,
                function=func,
                name=name,
                module=self.modules[-1] if self.modules else "",
                inputs=inputs,
                parameters={
                    i: self.parameters[id(t)]
                    for i, t in enumerate(arguments)
                    if id(t) in self.parameters
                },
                input_shapes=tuple(tuple(t.shape) for t in arguments),
                shapes=tuple(tuple(o.shape) for o in outputs),
                in_place=in_place,
                zero_padding=_is_zero_padding(name, args, kwargs),
            )
        )
        for position, output in enumerate(outputs):
            self.know(output, (index, position))
        return result


def observe(module: nn.Module, example: Tensor) -> Trace:
    """Run ``module`` once and return its dataflow.

    Args:
        module: A model in eval mode that maps one batch to one tensor of logits.
        example: A batch (N, ...); the observed shapes carry its N.

    Raises:
        DataflowError: If the output is not one tensor (N, ...) made by an observed torch call.
    """
    names = {id(p): name for name, p in reversed(list(module.named_parameters()))}
    observer = _Observer(parameters=names)
    observer.know(example, INPUT)
    with torch.no_grad(), _module_names(module, observer), observer:
        output = module(example)
    if not isinstance(output, Tensor):
        raise DataflowError(
            f"The model must return one tensor of logits, got {type(output).__name__}. "
            "Wrap it so that `forward` returns the logits."
        )
    slot = observer.slots.get(id(output))
    if slot is None or slot == INPUT:
        raise DataflowError("The model's output is not the result of any observed torch call.")
    observer.slot_of(output, _version(output))
    readers: dict[Slot, list[int]] = {}
    for call in observer.calls:
        for read in call.inputs:
            if read is not None:
                readers.setdefault(read, []).append(call.index)
    return Trace(
        calls=tuple(observer.calls),
        output=slot,
        readers={s: tuple(dict.fromkeys(r)) for s, r in readers.items()},
        mutated=frozenset(s for s, m in observer.storages.items() if m in observer.changed),
        example_shape=tuple(example.shape),
        reads_values=observer.reads_values,
        parameters=dict(module.named_parameters()),
    )


@contextmanager
def _module_names(module: nn.Module, observer: _Observer) -> Iterator[None]:
    handles = []
    for name, child in module.named_modules():
        handles.append(child.register_forward_pre_hook(partial(observer.enter, name)))
        handles.append(child.register_forward_hook(observer.leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _changes(name: str) -> bool:
    if name.startswith("__i") and name.endswith("__"):
        return True
    return name.endswith("_") and not name.endswith("__")


def _is_zero_padding(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if name != "pad":
        return False
    mode = args[2] if len(args) > 2 else kwargs.get("mode", "constant")
    value = args[3] if len(args) > 3 else kwargs.get("value")
    return mode == "constant" and not value


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
