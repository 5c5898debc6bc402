"""Gradients of quantized activations and of errors, in few passes over memory."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


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


def squared_errors(found: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the summed squared difference of every row, (B,), from (B, ...).

    Args:
        found: Gets a gradient.
        wanted: Gets none.
        weights: How much every element's square counts, (B, ...); None for all the same.
    """
    errors: Tensor = _SquaredErrors.apply(found, wanted, weights)  # type: ignore[no-untyped-call]
    return errors


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int, share: float) -> Tensor:
        steps = x / scale
        codes = steps.round().clamp_(low, high)
        ctx.save_for_backward(steps, codes)
        ctx.share = share
        values = codes * scale
        return values if share == 1.0 else torch.lerp(x, values, share)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        steps, codes = ctx.saved_tensors
        # 1 inside the limits, 0 beyond them; choosing by a mask takes several times as long.
        inside = (codes - steps).abs_().le_(0.5)
        by_scale = torch.addcmul(codes, steps, inside, value=-1.0)
        scale = torch.dot(by_scale.flatten(), gradient.flatten()) * ctx.share
        if ctx.share < 1.0:
            inside.mul_(ctx.share).add_(1.0 - ctx.share)
        return inside.mul_(gradient), scale.reshape(1), None, None, None


class _SquaredErrors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, found: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
        difference = (found - wanted).flatten(1)
        weighted = difference if weights is None else difference * weights.flatten(1)
        ctx.save_for_backward(weighted)
        ctx.shape = found.shape
        errors: Tensor = torch.linalg.vecdot(difference, weighted)
        return errors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weighted,) = ctx.saved_tensors
        return (weighted * (2.0 * gradient.unsqueeze(1))).reshape(ctx.shape), None, None
