r"""Squared Jacobian norms of the logits with respect to layer outputs, per sample and call.

.. math:: S_{nl} = \lVert \partial f(x_n) / \partial z_l(x_n) \rVert_F^2 .

Samples do not interact in eval mode, so one backward pass of a batch gives the product of every
sample's Jacobian with that sample's own probe, and asking for all layers at once makes one
backward pass serve all of them. See EPTQ, arXiv:2309.11531.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.models.network import NOTHING, Network
from analysis.models.replay import Plan, Transform, changed_in_place


@dataclass(frozen=True, slots=True)
class Linearisation:
    """Logits (B, C) of a batch with the graph that leads back to K calls' outputs (B, ...)."""

    logits: Tensor
    outputs: tuple[Tensor, ...]

    def pull_back(self, probes: Tensor, *, keep: bool) -> tuple[Tensor, ...]:
        """Return the products of every sample's Jacobian with its probe, for all calls at once.

        Args:
            probes: One vector per sample, (B, C).
            keep: Whether the graph is needed again.
        """
        gradients = torch.autograd.grad(
            self.logits, self.outputs, grad_outputs=probes, retain_graph=keep, allow_unused=True
        )
        return tuple(
            torch.zeros_like(z) if g is None else g
            for z, g in zip(self.outputs, gradients, strict=True)
        )


def linearise(
    network: Network, calls: Sequence[int], x: Tensor, plan: Plan = NOTHING
) -> Linearisation:
    """Run a batch (B, ...) under a plan and remember how the logits depend on ``calls``' outputs.

    The graph starts at these outputs, before the plan changes them: no gradient of a weight or of
    the input is ever formed.
    """
    caught: dict[int, Tensor] = {}
    changed = changed_in_place(network.trace, network.plan)
    changed_later = {call for call, position in changed if position == 0}

    def catch(call: int) -> Transform:
        def transform(z: Tensor) -> Tensor:
            z = z if z.requires_grad else z.detach().requires_grad_()
            caught[call] = z
            z = z.clone() if call in changed_later else z
            after = plan.outputs.get((call, 0))
            return z if after is None else after(z)

        return transform

    with torch.enable_grad():
        caught_too = (
            kept_inputs(network) | plan | Plan(outputs={(call, 0): catch(call) for call in calls})
        )
        logits = network(x.detach(), caught_too)
    return Linearisation(logits, tuple(caught[call] for call in calls))


def kept_inputs(network: Network) -> Plan:
    """Return the plan in which layers read copies of activations that are later changed in place.

    A backward pass needs the values that a layer read, not what became of them.
    """
    changed = changed_in_place(network.trace, network.plan)
    calls = [call for layer in network.table.layers for call in layer.calls]
    return Plan(
        inputs={c: torch.clone for c in calls if network.trace.calls[c].inputs[0] in changed}
    )


def squared_norms(
    network: Network, calls: Sequence[int], x: Tensor, probes: Sequence[Tensor]
) -> Iterator[Tensor]:
    """Yield, for each probe (B, C), the squared norms (B, K) of its products with the Jacobians.

    Over one-hot probes their sum is the exact squared Frobenius norm; over random signs their mean
    is an unbiased estimate of it.
    """
    for found in gradients(network, calls, x, probes):
        yield torch.stack([squares_per_sample(g) for g in found], dim=1)


def gradients(
    network: Network, calls: Sequence[int], x: Tensor, probes: Sequence[Tensor]
) -> Iterator[tuple[Tensor, ...]]:
    """Yield, for each probe (B, C), its products (B, ...) with the Jacobians of K calls' outputs.

    The first axis counts samples, whatever the layout of the layer's own output.
    """
    graph = linearise(network, calls, x)
    for k, probe in enumerate(probes):
        found = graph.pull_back(probe, keep=k < len(probes) - 1)
        yield tuple(
            network.per_sample(call, g, len(x)) for call, g in zip(calls, found, strict=True)
        )


def squares_per_sample(z: Tensor) -> Tensor:
    """Return the sum of squares per sample (B,) of (B, ...), in float64."""
    flat = z.flatten(1)
    # A batched dot product reads the values once and forms no squared copy.
    return torch.bmm(flat[:, None, :], flat[:, :, None]).flatten().double()


def one_hot_probes(batch: int, classes: int) -> Iterable[Tensor]:
    """Yield the C one-hot probes (B, C), the same for every sample."""
    for c in range(classes):
        probe = torch.zeros(batch, classes)
        probe[:, c] = 1.0
        yield probe


def sign_probes(samples: range, classes: int, count: int, seed: int) -> Tensor:
    """Return independent random signs (count, B, C) for the samples with these numbers.

    A sample's signs depend on its number and the seed alone, not on its batch.
    """
    signs = []
    for n in samples:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + n)
        signs.append(torch.randint(0, 2, (count, classes), generator=generator))
    return torch.stack(signs, dim=1).float() * 2 - 1
