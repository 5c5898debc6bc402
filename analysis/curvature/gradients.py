r"""Gradients of the cross-entropy with labels: per sample at layer outputs, summed at weights.

With :math:`L_n = -\log p_{y_n}(x_n)` in nats, the gradient with respect to the logits is
:math:`p - e_{y_n}`, so one product with the Jacobians of the logits gives every sample's own
gradient at every layer. A weight that is read by several calls has one gradient, their sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.curvature.jacobian import kept_inputs, linearise
from analysis.models.network import Network
from analysis.models.replay import Plan, Transform
from analysis.records import Layer


def output_gradients(
    network: Network, calls: Sequence[int], x: Tensor, labels: Tensor
) -> tuple[Tensor, ...]:
    r"""Return the gradients :math:`\partial L_n / \partial z` of K calls' outputs, (B, ...) each.

    Every row belongs to its own sample's loss: nothing is divided by the size of the batch.

    Args:
        network: The folded network.
        calls: Calls of layers.
        x: Batch (B, ...).
        labels: Class indices (B,).
    """
    graph = linearise(network, calls, x)
    found = graph.pull_back(logit_gradients(graph.logits.detach(), labels), keep=False)
    return tuple(network.per_sample(call, g, len(x)) for call, g in zip(calls, found, strict=True))


def logit_gradients(logits: Tensor, labels: Tensor) -> Tensor:
    """Return softmax(logits) minus the one-hot labels, (B, C), computed in float64."""
    p = torch.softmax(logits.double(), dim=1)
    return (p - F.one_hot(labels, logits.shape[1])).to(logits.dtype)


@dataclass(frozen=True, slots=True)
class LossGraph:
    """The summed cross-entropy of a batch, with the graph that leads back to what layers read.

    ``loss`` is a float64 scalar in nats. ``weights`` holds one folded weight per layer, ``inputs``
    the activation that each of their calls reads, by call; other readers of the same tensor have no
    part in its gradient.
    """

    loss: Tensor
    weights: tuple[Tensor, ...]
    inputs: dict[int, Tensor]

    def gradients(
        self, tensors: Sequence[Tensor], *, differentiable: bool = False
    ) -> tuple[Tensor, ...]:
        """Return the gradients of the summed loss, zero where it does not depend on a tensor.

        Args:
            tensors: Members of ``weights`` or ``inputs``.
            differentiable: Whether the gradients shall have a graph of their own.
        """
        return torch.autograd.grad(
            self.loss,
            tuple(tensors),
            create_graph=differentiable,
            allow_unused=True,
            materialize_grads=True,
        )


def loss_graph(
    network: Network, layers: Sequence[Layer], x: Tensor, labels: Tensor, *, inputs: bool = False
) -> LossGraph:
    """Run a batch (B, ...) with labels (B,) and remember how its loss depends on some layers.

    Args:
        network: The folded network; its module is left as it is.
        layers: Layers whose weights are variables.
        x: Batch (B, ...).
        labels: Class indices (B,).
        inputs: Whether the activations that these layers read are variables as well.
    """
    weights = tuple(network.weight(layer).detach().requires_grad_() for layer in layers)
    variable = {c: w for layer, w in zip(layers, weights, strict=True) for c in layer.calls}
    kept = kept_inputs(network)
    caught: dict[int, Tensor] = {}

    def catch(call: int) -> Transform:
        own = kept.inputs.get(call, _alias)

        def transform(value: Tensor) -> Tensor:
            value = own(value)
            caught[call] = value if value.requires_grad else value.requires_grad_()
            return value

        return transform

    plan = kept | Plan(weights=variable, inputs={c: catch(c) for c in variable if inputs})
    with torch.enable_grad():
        logits = network(x.detach(), plan)
        loss = F.cross_entropy(logits.double(), labels, reduction="sum")
    return LossGraph(loss, weights, caught)


def _alias(value: Tensor) -> Tensor:
    """Return the same values under a new name, so that other readers keep theirs."""
    return value.view_as(value)


def weight_gradients(
    network: Network, layers: Sequence[Layer], x: Tensor, labels: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients of the loss summed over a batch, in the shapes of the weights."""
    graph = loss_graph(network, layers, x, labels)
    return graph.gradients(graph.weights)
