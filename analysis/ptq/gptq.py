"""GPTQ: a layer's columns are rounded one after the other, later ones make up for earlier ones."""

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.errors import QuantizationError
from analysis.events import Work
from analysis.options import option
from analysis.ptq.layer_products import Products
from analysis.ptq.layerwise import LayerwiseOptions, Rounding, layer_by_layer
from analysis.ptq.task import PTQ_METHODS, PTQTask
from analysis.quant.configure import Quantization

# Feedback to columns further away than this is summed up and given in one product.
_BLOCK = 128


@dataclass(frozen=True, slots=True)
class GptqOptions(LayerwiseOptions):
    """Options of :func:`gptq`."""

    damping: float = option(
        0.01,
        low=1e-4,
        high=100.0,
        help="Added to the diagonal of the Hessian, as a share of its mean.",
    )
    act_order: bool = option(
        False, help="Columns with the largest diagonal of the Hessian first, not as they come."
    )


@PTQ_METHODS.register(
    "gptq",
    title="GPTQ: columns in turn, by the inputs' Hessian",
    answers="How much of a layer's rounding error can its weights that are rounded later take up?",
    reference="Frantar et al. 2022, arXiv:2210.17323",
    options=GptqOptions,
    cost="a pass over the samples, and the products of every layer's inputs",
)
def gptq(task: PTQTask, options: GptqOptions) -> Work[Quantization]:
    r"""Round every layer by the Hessian :math:`H = 2 X^T X` of its squared output error.

    X are the layer's inputs behind the quantized layers before it, on all calibration samples; a
    convolution has one H per group. With the upper Cholesky factor U of the inverse of H, damped,
    column j is rounded, and :math:`U_{jk} / U_{jj}` of its rounding error is taken off every later
    column k. Scales stay those of rounding to nearest. Weights that only meet zeros are rounded to
    nearest.
    """

    def solve(weight: Tensor, products: Products, rounded: Rounding) -> Tensor:
        hessian = 2 * products.quantized_quantized
        return gptq_weight(
            weight, hessian, rounded, damping=options.damping, act_order=options.act_order
        )

    result = yield from layer_by_layer(
        task,
        solve,
        options,
        float_inputs=False,
    )
    return result


def gptq_weight(
    weight: Tensor, hessian: Tensor, rounded: Rounding, *, damping: float, act_order: bool
) -> Tensor:
    """Return a weight (G, R, D) on the grid, its columns rounded in turn.

    Args:
        weight: Float weight in float64, one matrix per group.
        hessian: Hessian (G, D, D) that all rows of a group share; its scale does not matter.
        rounded: Rounds one column (G, R).
        damping: Share of the mean of the diagonal that is added to it.
        act_order: Whether columns with a large diagonal come first.

    Raises:
        QuantizationError: If the damped Hessian is not positive definite.
    """
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    # A column that meets zeros alone has no say: any value on the diagonal keeps it to itself.
    alive = diagonal > 0
    mean = diagonal.sum(-1, keepdim=True) / alive.sum(-1, keepdim=True).clamp_min(1)
    added = torch.where(alive, damping * mean, 1.0)
    order = torch.arange(weight.shape[-1], device=weight.device).expand_as(diagonal)
    if act_order:
        order = diagonal.argsort(dim=-1, descending=True, stable=True)
    damped = hessian + torch.diag_embed(added)
    damped = damped.take_along_dim(order[:, :, None], 1).take_along_dim(order[:, None], 2)
    factor = inverse_factor(damped)
    shares = -factor / factor.diagonal(dim1=-2, dim2=-1)[..., None]
    found = in_turn(weight.take_along_dim(order[:, None], 2), shares, rounded)
    return found.take_along_dim(order.argsort(-1)[:, None], 2)


def inverse_factor(matrix: Tensor) -> Tensor:
    r"""Return the upper triangular U (..., D, D) with :math:`U^T U` the inverse of a matrix.

    From :math:`A = R R^T` with R upper triangular follows :math:`U = R^{-1}`; R is the Cholesky
    factor of A with rows and columns reversed.

    Raises:
        QuantizationError: If the matrix is not positive definite.
    """
    lower, failed = torch.linalg.cholesky_ex(matrix.flip(-1, -2))
    if bool((failed > 0).any()) or not bool(lower.isfinite().all()):
        raise QuantizationError(
            "The damped Hessian of a layer's inputs must be positive definite, it is not. Raise "
            "the damping or use more calibration samples."
        )
    one = torch.eye(matrix.shape[-1]).to(matrix).expand_as(matrix)
    factor: Tensor = torch.linalg.solve_triangular(lower.flip(-1, -2), one, upper=True)
    return factor


def in_turn(targets: Tensor, shares: Tensor, rounded: Rounding, *, values: bool = False) -> Tensor:
    r"""Round columns one after the other, each fed to the later ones, (G, R, D).

    :math:`q_j = Q(v_j),\; v_j = t_j + \sum_{i<j} F_{ij} (v_i - q_i)`, all rows at once.

    Args:
        targets: t, (G, R, D).
        shares: F, (G, D, D), of which the part above the diagonal is read.
        rounded: Q of one column (G, R).
        values: Feed back :math:`q_i` in place of :math:`v_i - q_i`.
    """
    targets, found = targets.clone(), torch.empty_like(targets)
    columns = targets.shape[-1]
    for start in range(0, columns, _BLOCK):
        stop = min(start + _BLOCK, columns)
        fed = torch.empty_like(targets[..., start:stop])
        for j in range(start, stop):
            found[..., j] = rounded(targets[..., j])
            own = found[..., j] if values else targets[..., j] - found[..., j]
            targets[..., j + 1 : stop] += own[..., None] * shares[:, j, None, j + 1 : stop]
            fed[..., j - start] = own
        targets[..., stop:] += fed @ shares[:, start:stop, stop:]
    return found
