r"""How alike the outputs of layers are on the same images: linear CKA from Gram matrices.

With features :math:`F_i` (N, D_i), one row per image, and :math:`G_i = F_i F_i^T`,

.. math:: s_{ij} = \frac{\langle A_i, A_j \rangle}{\lVert A_i \rVert_F \lVert A_j \rVert_F}

where A is G itself (``plain``), G with its rows and columns centred (``centred``), or the U-centred
matrix whose inner products are unbiased estimates of HSIC (``debiased``). The plain form equals
:math:`\lVert F_j^T F_i \rVert_F^2 / (\lVert F_i^T F_i \rVert_F \lVert F_j^T F_j \rVert_F)`.
See Kornblith et al. 2019, arXiv:1905.00414; Song et al. 2012, JMLR 13; Ji et al. 2021 (OMPQ),
arXiv:2109.07865.
"""

import numpy as np
import torch
from torch import Tensor

from analysis.errors import UnknownNameError
from analysis.records import BoolArray, FloatArray

CENTRED, PLAIN, DEBIASED = "centred", "plain", "debiased"
VARIANTS = (CENTRED, PLAIN, DEBIASED)
# U-centring divides by N - 2 and its HSIC by N - 3.
MIN_IMAGES = 4

# Columns that are converted to float64 at a time.
_COLUMNS = 1 << 14
# What centring leaves of constant float32 features is below the square of their rounding.
_CONSTANT = 1e-12


def gram(features: Tensor) -> FloatArray:
    """Return the Gram matrix F F^T (N, N) of features (N, D), in float64."""
    total = torch.zeros(len(features), len(features), dtype=torch.float64)
    for block in torch.split(features, _COLUMNS, dim=1):
        columns = block.double().cpu()
        total.addmm_(columns, columns.T)
    return np.asarray(total.numpy())


def similarity(grams: FloatArray, variant: str) -> tuple[FloatArray, BoolArray]:
    """Compare all pairs of layers in one matrix product.

    Args:
        grams: Gram matrices (L, N, N), N >= 4.
        variant: One of :data:`VARIANTS`.

    Returns:
        Similarities (L, L), symmetric with ones on the diagonal; and which layers (L,) have nothing
        to compare, the same features for every image (``plain``: only zeros). Their similarity to
        all others is 0. Values lie in [0, 1]; ``debiased`` ones may be slightly negative.

    Raises:
        UnknownNameError: If there is no such variant.
    """
    prepared = _prepared(grams, variant)
    norms = np.linalg.norm(prepared, axis=(1, 2))
    empty = norms <= (0 if variant == PLAIN else _CONSTANT) * np.linalg.norm(grams, axis=(1, 2))
    vectors = prepared.reshape(len(grams), -1) / np.where(empty, 1.0, norms)[:, None]
    vectors[empty] = 0.0
    found = vectors @ vectors.T
    found = (found + found.T) / 2
    np.fill_diagonal(found, 1.0)
    return found, empty


def chance(grams: FloatArray, variant: str) -> FloatArray:
    r"""Return the mean similarity (L, L) of layers whose images are shuffled against each other.

    Over all orders of the images of one of them,
    :math:`E\langle A, P B P^T \rangle = \mathrm{tr}A\,\mathrm{tr}B/N + (\Sigma A - \mathrm{tr}A)
    (\Sigma B - \mathrm{tr}B)/(N(N-1))`; 0 for ``debiased``. For independent Gaussian features of D
    dimensions this is near D/(D + N): a similarity that means nothing.

    Raises:
        UnknownNameError: If there is no such variant.
    """
    prepared = _prepared(grams, variant)
    n = grams.shape[1]
    traces = np.trace(prepared, axis1=1, axis2=2)
    rest = prepared.sum((1, 2)) - traces
    norms = np.linalg.norm(prepared, axis=(1, 2))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    traces, rest = traces * scale, rest * scale
    return np.asarray(np.outer(traces, traces) / n + np.outer(rest, rest) / (n * (n - 1)))


def _prepared(grams: FloatArray, variant: str) -> FloatArray:
    if variant == PLAIN:
        return grams
    if variant == CENTRED:
        rows = grams.mean(2, keepdims=True)
        return np.asarray(grams - rows - rows.swapaxes(1, 2) + rows.mean(1, keepdims=True))
    if variant == DEBIASED:
        return _u_centred(grams)
    raise UnknownNameError("similarity variant", variant, VARIANTS)


def _u_centred(grams: FloatArray) -> FloatArray:
    """Centre without the diagonal, so that inner products estimate HSIC without bias."""
    n = grams.shape[1]
    diagonal = np.eye(n, dtype=bool)
    # The largest part goes first, or the rounding of a common offset would remain.
    off = np.where(diagonal, 0.0, _prepared(grams, CENTRED))
    rows = off.sum(2, keepdims=True) / (n - 2)
    total = off.sum((1, 2), keepdims=True) / ((n - 1) * (n - 2))
    return np.where(diagonal, 0.0, off - rows - rows.swapaxes(1, 2) + total)
