r"""The diagonal Fisher information of layer outputs: how much an error of every element counts.

With the network's own class probabilities :math:`p` in place of a label,

.. math:: F_i = \mathbb{E}_{c \sim p} \left(\frac{\partial (-\log p_c)}{\partial z_i}\right)^2
    = \sum_c p_c \left((p - e_c)^T \frac{\partial f}{\partial z_i}\right)^2,

the diagonal of :math:`J^T (\mathrm{diag}(p) - p p^T) J`. No label is asked for. BRECQ,
arXiv:2102.05426, weights errors by the squared gradient of the labelled loss instead.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from analysis.curvature.jacobian import linearise
from analysis.models.network import Network


def fisher_elements(
    network: Network,
    calls: Sequence[int],
    x: Tensor,
    *,
    probes: int,
    samples: Sequence[int],
    seed: int,
) -> tuple[Tensor, ...]:
    """Return the diagonal Fisher information of K calls' outputs, (B, ...) each.

    Exact with one backward pass per class while there are no more classes than ``probes``; else
    the mean over ``probes`` labels drawn from the network's probabilities.

    Args:
        network: The float network.
        calls: Calls whose first output is asked for, of layers or others.
        x: Batch (B, ...).
        probes: Backward passes at most.
        samples: Numbers of the samples, which with the seed decide what is drawn.
        seed: Seed of the labels.
    """
    graph = linearise(network, calls, x)
    p = torch.softmax(graph.logits.detach().double(), 1)
    classes = p.shape[1]
    exact = classes <= probes
    drawn = _every_label(p) if exact else _labels(p, samples, probes, seed)
    last = (classes if exact else probes) - 1
    found = [torch.zeros_like(z) for z in graph.outputs]
    for k, (label, weight) in enumerate(drawn):
        gradient = (p - torch.nn.functional.one_hot(label, classes)) * weight.sqrt()[:, None]
        pulled = graph.pull_back(gradient.to(graph.logits), keep=k < last)
        for total, own in zip(found, pulled, strict=True):
            total.addcmul_(own, own)
    return tuple(
        network.per_sample(call, total.detach(), len(x))
        for call, total in zip(calls, found, strict=True)
    )


def _every_label(p: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every label (B,) with its probabilities (B,)."""
    for c in range(p.shape[1]):
        yield torch.full((len(p),), c, device=p.device), p[:, c]


def _labels(
    p: Tensor, samples: Sequence[int], count: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield labels (B,) drawn from p (B, C), each with an even weight (B,)."""
    drawn = []
    for row, number in zip(p.cpu(), samples, strict=True):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        drawn.append(torch.multinomial(row, count, replacement=True, generator=generator))
    for label in torch.stack(drawn, dim=1).to(p.device):
        yield label, torch.full((len(p),), 1.0 / count, dtype=p.dtype, device=p.device)
