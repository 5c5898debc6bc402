"""Replaying observed calls with some of them changed: the one mechanism that runs a network.

A :class:`Plan` says which weights a call reads instead of its own, which tensors are transformed
the moment they are produced, and which calls are passed over. Folding, quantization, probing and
the reuse of prefix activations are all plans; the model itself is never changed.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from torch import Tensor

from analysis.errors import DataflowError
from analysis.models.calls import (
    INPUT,
    NumberedCalls,
    Slot,
    argument,
    call_name,
    flat_tensors,
    same_call,
    tensors_in,
    with_argument,
)
from analysis.models.dataflow import Call, Trace
from analysis.models.prefix import Prefix, map_tensors

Transform = Callable[[Tensor], Tensor]
Place = TypeVar("Place", int, Slot)


@dataclass(frozen=True, slots=True)
class Plan:
    """What differs from a plain forward pass, by call number or slot.

    Attributes:
        weights: Call -> weight it reads.
        biases: Call -> bias it reads.
        skip: Calls that return their first argument.
        inputs: Call -> transform of the activation that this call alone reads.
        outputs: Slot -> transform of the tensor, seen by every later reader.
    """

    weights: Mapping[int, Tensor] = field(default_factory=dict)
    biases: Mapping[int, Tensor] = field(default_factory=dict)
    skip: frozenset[int] = frozenset()
    inputs: Mapping[int, Transform] = field(default_factory=dict)
    outputs: Mapping[Slot, Transform] = field(default_factory=dict)

    def __or__(self, other: "Plan") -> "Plan":
        """Return both plans in one; where both speak of a place, ``other`` wins."""
        return Plan(
            weights={**self.weights, **other.weights},
            biases={**self.biases, **other.biases},
            skip=self.skip | other.skip,
            inputs={**self.inputs, **other.inputs},
            outputs={**self.outputs, **other.outputs},
        )

    def then(self, other: "Plan") -> "Plan":
        """Return both plans in one, ``other`` applied to a network that runs under this one.

        As with ``|`` the weights and biases of ``other`` win; transforms of one tensor follow each
        other, this plan's first.
        """
        both = self | other
        return replace(
            both,
            inputs={**both.inputs, **_composed(self.inputs, other.inputs)},
            outputs={**both.outputs, **_composed(self.outputs, other.outputs)},
        )

    @property
    def first_call(self) -> int:
        """The first call whose inputs or result the plan changes, -1 for the network's input.

        A plan that changes nothing starts after every call.
        """
        places = [*self.weights, *self.biases, *self.skip, *self.inputs]
        places += [call for call, _ in self.outputs]
        return min(places, default=1 << 60)


def _composed(
    first: Mapping[Place, Transform], second: Mapping[Place, Transform]
) -> dict[Place, Transform]:
    """Return the transforms of the places that both speak of."""

    def compose(before: Transform, after: Transform) -> Transform:
        return lambda value: after(before(value))

    return {place: compose(first[place], second[place]) for place in first if place in second}


def run(
    module: Callable[[Tensor], Tensor],
    trace: Trace,
    x: Tensor,
    plan: Plan,
    *,
    start: int = 0,
    stop: int | None = None,
    prefix: Prefix | None = None,
    record: Prefix | None = None,
) -> Tensor:
    """Run the model on a batch under a plan.

    Args:
        module: The model that was observed, in eval mode, or its ``forward``.
        trace: Its dataflow.
        x: Batch (N, ...) of the observed sample shape.
        plan: What to change.
        start: First call to execute; the outputs of earlier ones come from ``prefix``.
        stop: Last call to execute; its result is returned instead of the model's.
        prefix: Outputs of an earlier pass over the same batch, needed when ``start`` > 0.
        record: Filled with the outputs of this pass.

    Raises:
        DataflowError: If the batch has another sample shape, or the model makes other calls than
            the observed ones.
    """
    if x.shape[1:] != trace.example_shape[1:]:
        raise DataflowError(
            f"Samples must have the observed shape {tuple(trace.example_shape[1:])}, got a batch "
            f"of shape {tuple(x.shape)}."
        )
    replay = _Replay(trace, plan, start, prefix, record)
    if INPUT in plan.outputs:
        x = plan.outputs[INPUT](x)
    replay.stop = stop
    outer, _thread.replaying = running(), True
    try:
        with replay:
            output = module(x)
    except _Stopped as reached:
        return reached.result
    finally:
        _thread.replaying = outer
    if replay.index != len(trace.calls):
        raise DataflowError(
            f"The model made {replay.index} calls where {len(trace.calls)} were observed: "
            "its control flow depends on the data."
        )
    assert isinstance(output, Tensor)
    return output


_thread = threading.local()


def running() -> bool:
    """Tell whether this thread is inside :func:`run`."""
    return bool(getattr(_thread, "replaying", False))


class _Stopped(BaseException):
    """Leaves the model's code behind; no handler in it may take this for an error."""

    def __init__(self, result: Tensor) -> None:
        self.result = result


class _Replay(NumberedCalls):
    def __init__(
        self, trace: Trace, plan: Plan, start: int, prefix: Prefix | None, record: Prefix | None
    ) -> None:
        super().__init__()
        self.trace, self.plan, self.start = trace, plan, start
        self.stop: int | None = None
        self.prefix, self.record = prefix, record
        self.touched = {call for call, _ in plan.outputs}
        self.mutated = changed_in_place(trace, plan)
        self.needed: frozenset[Slot] = frozenset()
        if start > 0:
            self.needed = frozenset(
                slot for slot, calls in trace.readers.items() if calls[-1] >= start
            )

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        index = self.index
        expected = self.trace.calls[index] if index < len(self.trace.calls) else None
        matches = expected is not None and same_call(func, expected.function)
        if matches and index < self.start:
            self.index += 1
            assert self.prefix is not None
            in_place = self.trace.calls[index].in_place
            arguments = flat_tensors(args, kwargs) if in_place else []
            return self.prefix.give(self.trace, index, self.needed, self.mutated, arguments)
        if matches and index in self.plan.skip:
            result = argument(args, kwargs, 0, "input")
        else:
            if expected is not None and matches:
                if self.trace.reads_values:
                    self._check_parameters(expected, flat_tensors(args, kwargs))
                args, kwargs = self._arguments(index, args, kwargs)
            result = func(*args, **kwargs)
            if not tensors_in(result):
                return result
        if not matches:
            raise DataflowError(
                f"Call {index} is `{call_name(func)}` where "
                f"`{expected.name if expected else 'the end'}`"
                f"{f' in `{expected.module}`' if expected and expected.module else ''} was "
                "observed: the model's control flow depends on the data."
            )
        self.index += 1
        if index in self.touched:
            result = self._transformed(index, result)
        if self.record is not None:
            self.record.keep(self.trace, index, result, self.mutated)
        if index == self.stop:
            raise _Stopped(result)
        return result

    def _check_parameters(self, expected: Call, arguments: list[Tensor]) -> None:
        for position, name in expected.parameters.items():
            if position >= len(arguments) or arguments[position] is not self.trace.parameters[name]:
                raise DataflowError(
                    f"Call {expected.index}, `{expected.name}`, does not read `{name}` as it did "
                    "when it was observed: the model's control flow depends on the data."
                )

    def _arguments(
        self, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        plan = self.plan
        if index in plan.inputs:
            value = plan.inputs[index](argument(args, kwargs, 0, "input"))
            args, kwargs = with_argument(args, kwargs, 0, "input", value)
        if index in plan.weights:
            args, kwargs = with_argument(args, kwargs, 1, "weight", plan.weights[index])
        if index in plan.biases:
            args, kwargs = with_argument(args, kwargs, 2, "bias", plan.biases[index])
        return args, kwargs

    def _transformed(self, index: int, result: Any) -> Any:
        in_place = self.trace.calls[index].in_place
        positions = iter(range(len(tensors_in(result))))

        def transformed(value: Tensor) -> Tensor:
            transform = self.plan.outputs.get((index, next(positions)))
            if transform is None:
                return value
            changed = transform(value)
            # Whoever holds the changed tensor by another name must see the new values too.
            return value.copy_(changed) if in_place and changed is not value else changed

        return map_tensors(transformed, result)


def changed_in_place(trace: Trace, plan: Plan) -> frozenset[Slot]:
    """Return the slots whose memory later calls change, also through a call that is skipped."""
    mutated = set(trace.mutated)
    for index in sorted(plan.skip, reverse=True):
        read = trace.calls[index].inputs[0]
        if (index, 0) in mutated and read is not None:
            mutated.add(read)
    return frozenset(mutated)
