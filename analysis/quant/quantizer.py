"""Scale, zero point and rounding: fake quantization of one tensor."""

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.errors import QuantizationError
from analysis.quant.straight_through import nearest_levels, straight_through

# A tensor that is zero everywhere still needs a step; any value keeps zero exact.
EPS_RANGE = 1e-12


@dataclass(frozen=True, slots=True)
class Quantizer:
    """Maps real values to codes and back: ``x ~ scale * (q - zero_point)``.

    ``scale`` and ``zero_point`` have shape (K,): K = 1 per tensor, else one per index of ``axis``.
    ``qmin`` and ``qmax`` are inclusive.
    """

    scale: Tensor
    zero_point: Tensor
    qmin: int
    qmax: int
    axis: int | None = None

    def __post_init__(self) -> None:
        """Check that every step is positive."""
        if not bool((self.scale > 0).all()):
            raise QuantizationError(
                f"Every scale must be positive, got {self.scale.min().item():.3g}."
            )

    def codes(self, x: Tensor) -> Tensor:
        """Return the integer codes of ``x`` in its dtype; ties round to even."""
        scale, zero_point = self.shaped(x)
        return torch.clamp(torch.round(x / scale) + zero_point, self.qmin, self.qmax)

    def clipped(self, x: Tensor) -> Tensor:
        """Return which values lie more than half a step beyond the outermost levels."""
        scale, zero_point = self.shaped(x)
        codes = torch.round(x / scale) + zero_point
        return (codes < self.qmin) | (codes > self.qmax)

    def values(self, codes: Tensor) -> Tensor:
        """Return the real values of codes."""
        scale, zero_point = self.shaped(codes)
        return (codes - zero_point) * scale

    def __call__(self, x: Tensor) -> Tensor:
        """Round ``x`` to the nearest representable value, staying in floating point.

        NaN stays NaN. Where a gradient is asked for, a per-tensor quantizer passes it straight
        through inside the range; torch's operator for that multiplies by 1/scale and may differ
        from ``values(codes(x))`` by one step at exact ties. See Jacob et al. (2018),
        arXiv:1712.05877.
        """
        if self.axis is not None or x.dtype != torch.float32:
            return self.values(self.codes(x))
        scale, zero_point = float(self.scale), int(self.zero_point)
        # Shifted limits need no zero point; whole numbers this small are exact.
        limits = self.qmin - zero_point, self.qmax - zero_point
        if not (torch.is_grad_enabled() and x.requires_grad):
            return nearest_levels(x, scale, *limits)
        if bool(x.detach().sum().isnan()):
            return straight_through(x, self.scale.to(x), limits, 1.0)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, self.qmin, self.qmax)

    def shaped(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and zero point so that they apply along ``axis`` of ``x``, in its dtype."""
        scale, zero_point = self.scale.to(x), self.zero_point.to(x)
        if self.axis is None:
            return scale, zero_point
        shape = [1] * x.dim()
        shape[self.axis] = -1
        return scale.reshape(shape), zero_point.reshape(shape)


def symmetric_quantizer(limit: Tensor, grid: tuple[int, int], axis: int | None = None) -> Quantizer:
    """Return the quantizer whose largest code represents ``limit`` (K,), with zero point 0."""
    qmin, qmax = grid
    scale = (limit.clamp_min(EPS_RANGE) / qmax).float()
    return Quantizer(scale, torch.zeros_like(scale), qmin, qmax, axis)


def affine_quantizer(low: Tensor, high: Tensor, grid: tuple[int, int]) -> Quantizer:
    """Return the quantizer of the range [low, high] (K,), widened to hold zero exactly.

    Where ``low`` is 0 the zero point is ``qmin``: an unsigned grid.
    """
    qmin, qmax = grid
    low, high = low.clamp_max(0.0), high.clamp_min(0.0)
    scale = ((high - low).clamp_min(EPS_RANGE) / (qmax - qmin)).float()
    zero_point = torch.clamp(qmin - torch.round(low / scale), qmin, qmax).float()
    return Quantizer(scale, zero_point, qmin, qmax)
