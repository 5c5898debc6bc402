"""Quantized activations, soft weights and errors with gradients, in few passes over memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from analysis.quant import one_pass


def straight_through(x: Tensor, scale: Tensor, limits: tuple[int, int], share: float) -> Tensor:
    """Return x moved by a share of the way to the nearest of the levels ``scale * code``.

    Rounding counts as the identity between the limits, clipping as what it is: the gradient of x is
    0 beyond them, that of the scale is LSQ's, arXiv:1902.08153.

    Args:
        x: Values of any shape.
        scale: Step between levels, (1,).
        limits: Smallest and largest code, inclusive, zero being at code 0.
        share: How far, in [0, 1].
    """
    moved: Tensor = _StraightThrough.apply(  # type: ignore[no-untyped-call]
        x, scale, *limits, share
    )
    return moved


def nearest_levels(x: Tensor, scale: float, low: int, high: int, share: float = 1.0) -> Tensor:
    """Return what :func:`straight_through` does of values that need no gradient."""
    if _is_compiled_for(x):
        x = x.contiguous()
        levels = torch.empty_like(x)
        one_pass.move(_flat(x), _flat(levels), *_scalars(x, scale, low, high, share))
        return levels
    levels = torch.div(x, scale).round_().clamp_(low, high).mul_(scale)
    return levels if share == 1.0 else torch.lerp(x, levels, share)


def squared_errors(found: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the summed squared difference of every row, (B,), from (B, ...).

    Args:
        found: Gets a gradient.
        wanted: Gets none.
        weights: How much every element's square counts, (B, ...); None for all the same.
    """
    errors: Tensor = _SquaredErrors.apply(found, wanted, weights)  # type: ignore[no-untyped-call]
    return errors


def soft_values(
    rounding: Tensor, base: Tensor, fixed: Tensor, up: Tensor, scales: Tensor
) -> Tensor:
    """Return weights between two levels each: ``(base + how far up) * scales``.

    Args:
        rounding: How far up each weight goes, held to [0, 1] here; gets a gradient.
        base: The levels below, zero being at 0.
        fixed: Which weights go as far as ``up`` says instead.
        up: How far those go.
        scales: Of the levels, of one value or one for every place of the weight's first axis, in
            the weight's dimensions; gets a gradient.
    """
    channels = len(rounding) if scales.dim() == rounding.dim() else 0
    if _is_compiled_for(rounding) and scales.numel() == channels == scales.shape[0]:
        soft: Tensor = _SoftValues.apply(  # type: ignore[no-untyped-call]
            rounding, base, fixed, up, scales
        )
        return soft
    return (base + torch.where(fixed, up, rounding.clamp(0.0, 1.0))) * scales


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int, share: float) -> Tensor:
        ctx.limits, ctx.share = (low, high), share
        if _is_compiled_for(x):
            x = x.contiguous()
            ctx.save_for_backward(x, scale)
            return nearest_levels(x, scale.item(), low, high, share)
        steps = x / scale
        codes = steps.round().clamp_(low, high)
        ctx.save_for_backward(steps, codes)
        values = codes * scale
        return values if share == 1.0 else torch.lerp(x, values, share)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        first, second = ctx.saved_tensors
        if _is_compiled_for(first):
            found, gradient = torch.empty_like(first), gradient.contiguous()
            numbers = _scalars(first, second.item(), *ctx.limits, ctx.share)
            by_scale = one_pass.move_back(_flat(first), _flat(gradient), _flat(found), *numbers)
            return found, second.new_tensor([float(by_scale)]), None, None, None
        steps, codes = first, second
        # 1 inside the limits, 0 beyond them; choosing by a mask takes several times as long.
        inside = (codes - steps).abs_().le_(0.5)
        by_step = torch.addcmul(codes, steps, inside, value=-1.0)
        total = torch.dot(by_step.flatten(), gradient.flatten()) * ctx.share
        if ctx.share < 1.0:
            inside.mul_(ctx.share).add_(1.0 - ctx.share)
        return inside.mul_(gradient), total.reshape(1), None, None, None


class _SquaredErrors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, found: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
        ctx.compiled = _is_compiled_for(found) and found.dtype == wanted.dtype
        if ctx.compiled:
            found = found.contiguous()
            wanted = _as_wide(wanted, found)
            counts = found if weights is None else _as_wide(weights.to(found), found)
            ctx.save_for_backward(found, wanted, counts)
            ctx.weighted = weights is not None
            sums = found.new_empty(len(found))
            arrays = _rows(found), _rows(wanted), _rows(counts)
            one_pass.square(*arrays, ctx.weighted, _flat(sums))
            return sums
        difference = (found - wanted).flatten(1)
        weighted = difference if weights is None else difference * weights.flatten(1)
        ctx.save_for_backward(weighted)
        ctx.shape = found.shape
        errors: Tensor = torch.linalg.vecdot(difference, weighted)
        return errors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if ctx.compiled:
            found, wanted, counts = ctx.saved_tensors
            back = torch.empty_like(found)
            arrays = _rows(found), _rows(wanted), _rows(counts)
            one_pass.square_back(*arrays, ctx.weighted, _flat(gradient.contiguous()), _rows(back))
            return back, None, None
        (weighted,) = ctx.saved_tensors
        return (weighted * (2.0 * gradient.unsqueeze(1))).reshape(ctx.shape), None, None


class _SoftValues(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rounding: Tensor, base: Tensor, fixed: Tensor, up: Tensor, scales: Tensor
    ) -> Tensor:
        weights = (_as_wide(each, rounding) for each in (rounding, base, fixed, up))
        arguments = (*weights, scales.contiguous())
        ctx.save_for_backward(*arguments)
        soft = torch.empty_like(arguments[0])
        one_pass.soften(_rows(soft), *_arrays(arguments))
        return soft

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rounding, *_, scales = ctx.saved_tensors
        found, by_scale = torch.empty_like(rounding), torch.empty_like(scales)
        written = _rows(gradient.contiguous()), _rows(found), _flat(by_scale)
        one_pass.soften_back(*written, *_arrays(ctx.saved_tensors))
        return found, None, None, None, by_scale


def _is_compiled_for(x: Tensor) -> bool:
    """Say whether there is a compiled loop over such values; torch's own operations do for others.

    It takes values on the processor in single or double precision.
    """
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


def _as_wide(x: Tensor, other: Tensor) -> Tensor:
    """Return values in the shape of others, in one piece: loops do not check where they read."""
    return x.expand_as(other).contiguous()


def _flat(x: Tensor) -> NDArray[Any]:
    """Return the values of a contiguous tensor in one row, sharing its memory."""
    return np.asarray(x.detach().view(-1).numpy())


def _rows(x: Tensor) -> NDArray[Any]:
    """Return the values of a contiguous tensor as (B, N), sharing its memory."""
    return np.asarray(x.detach().view(len(x), -1).numpy())


def _scalars(x: Tensor, *numbers: float) -> tuple[np.floating[Any], ...]:
    """Return numbers in the precision of a tensor's values."""
    kind = np.float32 if x.dtype == torch.float32 else np.float64
    return tuple(kind(number) for number in numbers)


def _arrays(tensors: Sequence[Tensor]) -> tuple[Any, ...]:
    """Return all but the last of contiguous tensors as (B, N), the last one in one row."""
    *first, last = tensors
    return *map(_rows, first), _flat(last)
