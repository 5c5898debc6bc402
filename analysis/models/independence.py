"""Samples must not see each other: scores per sample and batch sizes mean nothing otherwise."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from analysis.errors import DataflowError
from analysis.models.calls import Slot
from analysis.models.dataflow import Trace
from analysis.models.prefix import Prefix
from analysis.models.replay import Plan, run
from analysis.models.samples import SampleAxis, first_replaced

# Relative to the largest value: a batched product may round a row by what stands beside it.
_TOLERANCE = 1e-4


def check_independent(
    module: nn.Module, trace: Trace, axes: Mapping[Slot, SampleAxis], example: Tensor
) -> None:
    """Check that changing one sample of a batch leaves the logits of the others alone.

    Another sample of the batch takes the place of the first, because a model need not accept values
    that no sample has: indices into a table end somewhere.

    Args:
        module: The model, in eval mode.
        trace: Its dataflow.
        axes: Where the samples are in every slot.
        example: A batch of at least two samples; fewer cannot be checked.

    Raises:
        DataflowError: Naming the first call that mixes samples, or if the model fails on the
            changed batch.
    """
    n = len(example)
    if n < 2:
        return
    other = first_replaced(example)
    passes = []
    for x in (example, other):
        kept = Prefix()
        with torch.no_grad():
            passes.append((run(module, trace, x, Plan(), record=kept)[1:], kept.outputs))
    (first, before), (second, after) = passes
    if not _differs(first, second):
        return
    for slot in sorted(before):
        axis = axes.get(slot)
        if axis is None or not before[slot].is_floating_point():
            continue
        if _differs(axis.first(before[slot], n)[1:], axis.first(after[slot], n)[1:]):
            call = trace.calls[slot[0]]
            where = f" in `{call.module}`" if call.module else ""
            raise DataflowError(
                "Samples of a batch must not influence each other, in eval mode changing one "
                f"changes the others from call `{call.name}`{where} on. Is it a BatchNorm without "
                "running statistics, or a mean over the batch?"
            )
    raise DataflowError(
        "Samples of a batch must not influence each other, in eval mode changing one changes the "
        "logits of the others. Make the model treat samples apart."
    )


def _differs(first: Tensor, second: Tensor) -> bool:
    largest = max(float(first.abs().max()), 1e-12)
    return float((first - second).abs().max()) > _TOLERANCE * largest
