"""GPFQ: a layer's columns are rounded in turn so that its outputs follow the float network's."""

import torch
from torch import Tensor

from analysis.events import Work
from analysis.ptq.gptq import in_turn
from analysis.ptq.layer_products import Products
from analysis.ptq.layerwise import LayerwiseOptions, Rounding, layer_by_layer
from analysis.ptq.task import PTQ_METHODS, PTQTask
from analysis.quant.configure import Quantization


@PTQ_METHODS.register(
    "gpfq",
    title="GPFQ: columns in turn, along the float path",
    answers="How near do a layer's outputs stay to the float network's, its inputs' errors "
    "included?",
    reference="Zhang, Zhou, Saab 2022, arXiv:2201.11113",
    options=LayerwiseOptions,
    cost="two passes over the samples, and the products of every layer's inputs",
)
def gpfq(task: PTQTask, options: LayerwiseOptions) -> Work[Quantization]:
    r"""Round every layer along the path of its float outputs.

    With columns X_t of the layer's inputs in the float network and Y_t of those behind the
    quantized layers before it, every output channel keeps the residual
    :math:`u_t = u_{t-1} + w_t X_t - q_t Y_t`, where :math:`q_t` is the rounding of
    :math:`\langle Y_t, u_{t-1} + w_t X_t \rangle / \lVert Y_t \rVert^2`. Scales stay those of
    rounding to nearest. Weights whose Y_t is zero are rounded to nearest.
    """
    result = yield from layer_by_layer(
        task,
        gpfq_weight,
        options,
        float_inputs=True,
    )
    return result


def gpfq_weight(weight: Tensor, products: Products, rounded: Rounding) -> Tensor:
    r"""Return a weight (G, R, D) on the grid, its columns rounded in turn.

    The residual only enters by its products with later columns, so it is never formed:
    :math:`\langle Y_t, u_{t-1} + w_t X_t \rangle = \sum_{s \le t} \langle Y_t, X_s \rangle w_s
    - \sum_{s < t} \langle Y_t, Y_s \rangle q_s`.

    Args:
        weight: Float weight in float64, one matrix per group.
        products: Of the layer's inputs.
        rounded: Rounds one column (G, R).
    """
    norms = products.quantized_quantized.diagonal(dim1=-2, dim2=-1)[:, None]  # (G, 1, D)
    alive = norms > 0
    divisors = torch.where(alive, norms, 1.0)
    targets = weight @ products.quantized_float.tril().mT / divisors
    shares = -products.quantized_quantized / divisors
    return in_turn(torch.where(alive, targets, weight), shares, rounded, values=True)
