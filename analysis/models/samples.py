"""Where the samples of a batch lie in a tensor, found by observation.

Most tensors are (N, ...). Attention and windowed layers move the samples to another axis or merge
them with another one; per-sample quantities need to find them there.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from analysis.errors import DataflowError
from analysis.models.calls import Slot
from analysis.models.dataflow import Trace, observe
from analysis.models.prefix import Prefix
from analysis.models.replay import Plan, run


@dataclass(frozen=True, slots=True)
class SampleAxis:
    """The samples lie along ``axis``, ``count`` entries each.

    A sample's entries follow one another, or, where ``interleaved``, entries of all samples take
    turns.
    """

    axis: int
    count: int
    interleaved: bool

    def first(self, z: Tensor, n: int) -> Tensor:
        """Return a view or copy of ``z`` with one row per sample, (N, ...)."""
        before, after = z.shape[: self.axis], z.shape[self.axis + 1 :]
        if self.interleaved:
            return z.reshape(*before, self.count, n, *after).movedim(self.axis + 1, 0)
        return z.reshape(*before, n, self.count, *after).movedim(self.axis, 0)

    def without(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one sample's part."""
        own = (self.count,) if self.count > 1 else ()
        return shape[: self.axis] + own + shape[self.axis + 1 :]


def sample_axes(
    module: nn.Module, trace: Trace, example: Tensor, slots: Iterable[Slot]
) -> dict[Slot, SampleAxis]:
    """Find the samples in the given slots by a pass over one more sample.

    Where samples are merged with another axis, a pass in which only the first sample differs tells
    their order. Slots without a sample axis are left out.

    Raises:
        DataflowError: If the model makes other calls on another number of samples.
    """
    n = len(example)
    wider = observe(module, torch.cat([example, example[:1]]))
    names = [call.name for call in trace.calls]
    if names != [call.name for call in wider.calls]:
        raise DataflowError(
            f"The model must make the same calls for any number of samples, it made {len(names)} "
            f"for {n} and {len(wider.calls)} for {n + 1}."
        )
    axes: dict[Slot, SampleAxis] = {}
    for slot in slots:
        shape, other = (t.calls[slot[0]].shapes[slot[1]] for t in (trace, wider))
        for place, (size, more) in enumerate(zip(shape, other, strict=True)):
            count = more - size
            if count > 0 and size == count * n:
                axes[slot] = SampleAxis(place, count, interleaved=False)
                break
    merged = {slot: axis for slot, axis in axes.items() if axis.count > 1}
    if merged:
        for slot, changed in _first_sample(module, trace, example, merged).items():
            axis = merged[slot]
            where = changed.nonzero().flatten()
            interleaved = bool(len(where)) and int(where.max()) >= axis.count
            axes[slot] = SampleAxis(axis.axis, axis.count, interleaved)
    return axes


def _first_sample(
    module: nn.Module, trace: Trace, example: Tensor, axes: dict[Slot, SampleAxis]
) -> dict[Slot, Tensor]:
    """Tell which entries along each slot's sample axis change with the first sample."""
    passes = []
    for x in (example, first_replaced(example)):
        caught: dict[Slot, Tensor] = {}
        with torch.no_grad():
            run(module, trace, x, Plan(), record=Prefix(caught))
        passes.append(caught)
    changed = {}
    for slot, axis in axes.items():
        if slot in passes[0]:
            differs = (passes[0][slot] != passes[1][slot]).movedim(axis.axis, 0)
            changed[slot] = differs.reshape(len(differs), -1).any(1)
    return changed


def first_replaced(example: Tensor) -> Tensor:
    """Return the batch with another first sample, one that a model accepts as it does the others.

    That is the sample that differs most from it. Equal samples have no such: the first is mirrored
    then, and moved by a half where that changes nothing either.
    """
    other = example.clone()
    apart = (example - example[:1]).abs().flatten(1).sum(1)
    other[0] = example[int(apart.argmax())]
    if not apart.any():
        mirrored = example[0].flip(-1)
        other[0] = example[0] + 0.5 if torch.equal(mirrored, example[0]) else mirrored
    return other
