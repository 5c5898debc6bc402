"""Activations of one pass, kept so that later passes over the batch can start in the middle."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from analysis.models.calls import Slot, tensors_in
from analysis.models.dataflow import Trace


@dataclass(frozen=True, slots=True)
class Prefix:
    """Outputs of the calls of one pass over one batch, to start later passes in the middle.

    ``outputs`` holds what some call reads; ``results`` the form of every call's result, so that a
    tensor nobody reads is stood in for by one of its shape that takes no memory. With ``only``,
    outputs of other slots are not kept: passes can start where no other is read.
    """

    outputs: dict[Slot, Tensor] = field(default_factory=dict)
    results: list[Any] = field(default_factory=list)
    only: frozenset[Slot] | None = None

    def keep(self, trace: Trace, index: int, result: Any, mutated: frozenset[Slot]) -> None:
        """Keep one call's result; ``mutated`` slots are copied."""
        for position, value in enumerate(tensors_in(result)):
            slot = (index, position)
            if slot in trace.readers and (self.only is None or slot in self.only):
                # A later in-place call would change what is kept.
                self.outputs[slot] = value.clone() if slot in mutated else value
        self.results.append(map_tensors(_stand_in, result))

    def give(
        self,
        trace: Trace,
        index: int,
        needed: frozenset[Slot],
        mutated: frozenset[Slot],
        arguments: list[Tensor],
    ) -> Any:
        """Return what the call returned, as far as ``needed`` slots read it."""

        def value(position: int, stand_in: Tensor) -> Tensor:
            slot = (index, position)
            if slot not in needed:
                return stand_in.view_as(stand_in)
            kept = self.outputs[slot]
            return kept.clone() if slot in mutated else kept

        if isinstance(self.results[index], Tensor) and not trace.calls[index].in_place:
            return value(0, self.results[index])
        positions = iter(range(len(tensors_in(self.results[index]))))
        result = map_tensors(lambda t: value(next(positions), t), self.results[index])
        if trace.calls[index].in_place:
            # Code that ignores the returned tensor goes on with the argument.
            arguments[0].data = result.data
            return arguments[0]
        return result


def map_tensors(function: Callable[[Tensor], Tensor], result: Any) -> Any:
    """Return a call's result with every tensor in it replaced."""
    if isinstance(result, Tensor):
        return function(result)
    items = [function(item) if isinstance(item, Tensor) else item for item in result]
    # Named results of torch (max, topk) are built from one sequence, like a tuple.
    return type(result)(items)


def _stand_in(value: Tensor) -> Tensor:
    return torch.empty((), dtype=value.dtype, device=value.device).expand(value.shape)
