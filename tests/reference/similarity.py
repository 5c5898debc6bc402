"""Slow, obvious similarity of features: written from the definitions, over features and tuples."""

from itertools import permutations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.models.network import Network
from tests.reference.attention import output_of


def feature_form(a: Tensor, b: Tensor, *, centre: bool) -> float:
    """||B^T A||_F^2 / (||A^T A||_F ||B^T B||_F) of features (N, D), columns centred or not."""
    a, b = a.double(), b.double()
    if centre:
        a, b = a - a.mean(0), b - b.mean(0)
    return float((b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm()))


def kernel_form(a: Tensor, b: Tensor, *, centre: bool) -> float:
    """The same for wide features: image by image instead of feature by feature."""
    a, b = a.double(), b.double()
    if centre:
        a, b = a - a.mean(0), b - b.mean(0)
    product = square_a = square_b = 0.0
    for n in range(len(a)):
        for m in range(len(a)):
            s, t = float(a[n] @ a[m]), float(b[n] @ b[m])
            product, square_a, square_b = product + s * t, square_a + s * s, square_b + t * t
    return product / (square_a * square_b) ** 0.5


def unbiased_hsic(K: np.ndarray, L: np.ndarray) -> float:
    """The U-statistic over all ordered quadruples of different images (Song et al. 2012)."""
    terms = [
        K[i, j] * (L[i, j] + L[q, r] - 2 * L[i, q]) for i, j, q, r in permutations(range(len(K)), 4)
    ]
    return float(np.mean(terms))


def debiased(a: Tensor, b: Tensor) -> float:
    K, L = ((f.double() @ f.double().T).numpy() for f in (a, b))
    return unbiased_hsic(K, L) / (unbiased_hsic(K, K) * unbiased_hsic(L, L)) ** 0.5


def mean_over_orders(a: Tensor, b: Tensor, *, centre: bool) -> float:
    """Mean similarity over every order of the images of b."""
    orders = permutations(range(len(b)))
    return float(np.mean([feature_form(a, b[list(o)], centre=centre) for o in orders]))


def layer_features(network: Network, x: Tensor) -> list[Tensor]:
    """Folded outputs (N, D) of layers that are called once, one sample at a time.

    Packed attention is computed from what the attention module reads.
    """
    model, found = network.module, []
    for layer in network.table.layers:
        if layer.name.endswith(".in_proj"):
            attention = model.get_submodule(layer.name.removesuffix(".in_proj"))
            norm = layer.name.replace("attention.in_proj", "norm1")
            rows = [
                F.linear(
                    output_of(model, norm, s), attention.in_proj_weight, attention.in_proj_bias
                )
                for s in x
            ]
        elif layer.name.endswith(".out_proj"):
            rows = [_first_output(network, layer.name.removesuffix(".out_proj"), s) for s in x]
        else:
            rows = [output_of(model, layer.folded or layer.name, s) for s in x]
        found.append(torch.stack([row.detach().flatten() for row in rows]))
    return found


def _first_output(network: Network, name: str, sample: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = network.module.get_submodule(name).register_forward_hook(
        lambda _m, _i, output: seen.append(output[0].clone())
    )
    with torch.no_grad():
        network.module(sample[None])
    handle.remove()
    return seen[0]
