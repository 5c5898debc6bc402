r"""Second derivatives of the cross-entropy with respect to folded weights, by products.

.. math:: H v = \frac{\partial}{\partial w} \Big\langle \frac{\partial L}{\partial w}, v \Big\rangle

costs one more backward pass through the graph of the gradient, and that pass has no graph of its
own. A network of convolutions, linear layers and ReLUs is piecewise linear in every single weight
tensor: its second derivatives vanish almost everywhere, each layer's block is
:math:`J^T (\operatorname{diag} p - p p^T) J`, independent of the labels and without negative
eigenvalues. Softmax attention, GELU and layers that are called twice have no such guarantee.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.curvature.gradients import loss_graph
from analysis.errors import DataflowError
from analysis.models.network import Network
from analysis.records import FloatArray, Layer

# Up to this size a matrix costs no more products than one sweep of Lanczos.
_DENSE = 20


@dataclass(frozen=True, slots=True)
class GradientGraph:
    """Gradients of a batch's summed loss at L weights, with the graph that leads back to them."""

    weights: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]

    def product(
        self, places: Sequence[int], vectors: Sequence[Tensor], *, keep: bool
    ) -> tuple[Tensor, ...]:
        """Return the product of a vector with the part of the Hessian that some weights span.

        One weight gives its diagonal block; several give the blocks between them as well. The
        Hessian is that of the summed loss.

        Args:
            places: Places among ``weights``; the backward pass goes no further than these.
            vectors: The vector's parts, in the shapes of these weights.
            keep: Whether the graph is needed again.

        Raises:
            DataflowError: If an operation of the model cannot be differentiated twice.
        """
        weights = [self.weights[i] for i in places]
        pairs = [
            (self.gradients[i], v)
            for i, v in zip(places, vectors, strict=True)
            if self.gradients[i].requires_grad
        ]
        if not pairs:
            return tuple(torch.zeros_like(w) for w in weights)
        try:
            return torch.autograd.grad(
                [g for g, _ in pairs],
                weights,
                grad_outputs=[v for _, v in pairs],
                retain_graph=keep,
                allow_unused=True,
                materialize_grads=True,
            )
        except RuntimeError as failure:
            if "not implemented" not in str(failure):
                raise
            raise DataflowError(
                f"Every operation of the model must have a second derivative: {failure}. Choose a "
                "metric of first derivatives, such as `fisher_output`."
            ) from failure


def gradient_graph(
    network: Network, layers: Sequence[Layer], x: Tensor, labels: Tensor
) -> GradientGraph:
    """Differentiate the summed loss of a batch (B, ...) once, ready for products.

    The memory is that of a forward and a backward pass with everything kept.
    """
    # The fused attention kernels have no second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        graph = loss_graph(network, layers, x, labels)
    return GradientGraph(graph.weights, graph.gradients(graph.weights, differentiable=True))


def signs(shape: Sequence[int], seed: Sequence[int]) -> FloatArray:
    """Return independent random signs of a shape, in float64."""
    bits = np.random.default_rng(list(seed)).integers(0, 2, tuple(shape))
    return bits.astype(np.float64) * 2 - 1


def quadratic_forms(
    graph: GradientGraph, places: Sequence[int], vectors: Sequence[FloatArray]
) -> FloatArray:
    r"""Return :math:`v_l^T (H v)_l` for some weights l, from one product; the graph is kept.

    Over random signs the mean is the trace of the weight's own block and the variance
    :math:`2 (\lVert H_{ll} \rVert_F^2 - \sum_i H_{ll,ii}^2) + \sum_{m \ne l} \lVert H_{lm}
    \rVert_F^2`: the other weights of the same product add nothing but noise. Summed in float64.

    Args:
        graph: Of a batch.
        places: Places of L weights.
        vectors: The vector's parts, in the shapes of these weights.

    Returns:
        Array (L,) for the summed loss of the batch.
    """
    parts = [torch.from_numpy(v).to(graph.weights[i]) for i, v in zip(places, vectors, strict=True)]
    found = graph.product(places, parts, keep=True)
    sums = [(v.double() * h.double()).sum() for v, h in zip(parts, found, strict=True)]
    return torch.stack(sums).cpu().numpy()


def top_eigenvalue(
    product: Callable[[FloatArray], FloatArray],
    size: int,
    *,
    tolerance: float,
    restarts: int,
    seed: Sequence[int],
) -> float | None:
    """Return the largest eigenvalue, sign kept, of a symmetric matrix given by its products.

    Lanczos with restarts and deflation (ARPACK); small matrices are built and solved directly.

    Args:
        product: Maps a float64 vector (size,) to its product with the matrix.
        size: Number of rows.
        tolerance: Relative accuracy of the eigenvalue.
        restarts: Sweeps of at most 20 products that are allowed.
        seed: Of the start vector.

    Returns:
        The eigenvalue, NaN if a product is not finite, None if it was not reached.
    """
    rng = np.random.default_rng(list(seed))
    if size <= _DENSE:
        matrix = np.stack([product(row) for row in np.eye(size)])
        if not np.isfinite(matrix).all():
            return float("nan")
        return float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1])
    start = rng.standard_normal(size)
    first = product(start)
    if not np.isfinite(first).all():
        return float("nan")
    if not first.any():
        return 0.0
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    try:
        found = eigsh(
            operator,
            k=1,
            which="LA",
            v0=start,
            tol=tolerance,
            maxiter=restarts,
            return_eigenvectors=False,
            rng=rng,
        )
    except ArpackNoConvergence:
        return None
    return float(found[0])
