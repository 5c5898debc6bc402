"""Slow, obvious oracles for gradients and Hessians of the cross-entropy, and tasks to try them on.

Losses are means over samples in nats; a layer's weight is named by its parameter.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from analysis.models.network import Network
from analysis.models.replay import Plan
from analysis.records import FLOAT, Candidate, Layer
from analysis.sensitivity.isolated import IsolatedPlans
from analysis.sensitivity.task import SensitivityTask
from tests.reference.attention import output_of
from tests.reference.sensitivity import demo_task, folded_copy, make_task, quantize_layer


class OneLogit(nn.Module):
    """Two classes, the second logit fixed at 0: H = mean of p (1 - p) x x^T."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.only = nn.Linear(inputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        z = self.only(x)
        return torch.cat([z, torch.zeros_like(z)], 1)


class Spare(nn.Module):
    """``spare`` is called, but nothing reads its output."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.used, self.spare, self.last = nn.Linear(6, 5), nn.Linear(6, 7), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.spare(x)
        return self.last(torch.tanh(self.used(x)))


class Twice(nn.Module):
    """``again`` is called twice and has one weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.again, self.last = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        return self.last(torch.tanh(self.again(torch.tanh(self.again(x)))))


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b, bias=bias), activation()]
    return nn.Sequential(*layers[:-1]).double().eval()


def samples(n: int, *shape: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Normal inputs in float64 and random labels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, classes, (n,), generator=generator)


def labelled_demo(name: str, n: int, *texts: str, **more: object) -> SensitivityTask:
    labels = np.random.default_rng(1).integers(0, 10, n)
    return demo_task(name, n, *texts, labels=labels, **more)


def loss_at(model: nn.Module, x: Tensor, y: Tensor, weights: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(functional_call(model, weights, (x,)), y)


def dense_hessian(model: nn.Module, names: Sequence[str], x: Tensor, y: Tensor) -> Tensor:
    """Hessian (P, P) of the mean loss with respect to some parameters, one after the other."""
    parameters = [model.get_parameter(name).detach() for name in names]

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([p.numel() for p in parameters])
        new = {n: v.view_as(p) for n, v, p in zip(names, parts, parameters, strict=True)}
        return loss_at(model, x, y, new)

    return torch.autograd.functional.hessian(loss, torch.cat([p.flatten() for p in parameters]))


def plain_weight_gradient(model: nn.Module, name: str, x: Tensor, y: Tensor) -> Tensor:
    weight = model.get_parameter(name).detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(loss_at(model, x, y, {name: weight}), weight)
    return found


def one_gradient(network: Network, call: int, sample: Tensor, label: int) -> Tensor:
    """Gradient of one sample's loss with respect to an offset added to a call's output."""
    offset = torch.zeros((), requires_grad=True)

    def moved(z: Tensor) -> Tensor:
        nonlocal offset
        offset = torch.zeros_like(z).requires_grad_()
        return z + offset

    logits = network(sample[None], Plan(outputs={(call, 0): moved}))
    (found,) = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([label])), offset)
    return found


def one_error(
    task: SensitivityTask, layer: Layer, call: int, candidate: Candidate, sample: Tensor
) -> Tensor:
    """Error of one call on one sample's float input, in the layout of the call's own output."""
    plans = IsolatedPlans(task.network, task.candidates, task.statistics, task.settings)
    x = sample[None]
    with torch.no_grad():
        _, prefix = task.network.capture(x)
        changed = task.network.local(x, prefix, call, plans.local(layer, candidate))
        return changed - task.network.local(x, prefix, call)


def gradient_times_error(task: SensitivityTask) -> list[list[list[list[Tensor]]]]:
    """Elementwise gradient x error by sample, layer, candidate and call, each sample alone."""
    labels = task.labels("test")
    return [
        [
            [
                [
                    one_gradient(task.network, call, sample, int(labels[n])).double()
                    * one_error(task, layer, call, candidate, sample).double()
                    for call in layer.calls
                ]
                for candidate in task.candidates
            ]
            for layer in task.network.table.layers
        ]
        for n, sample in enumerate(task.inputs(range(task.n)))
    ]


def error_by_hooks(
    task: SensitivityTask, layer: Layer, candidate: Candidate, sample: Tensor
) -> Tensor:
    """Error of a layer's output on its float input, by module hooks on folded copies."""
    plain, changed = folded_copy(task.network), folded_copy(task.network)
    quantize_layer(changed, task.network, task.statistics, layer, candidate, task.settings)
    seen: list[Tensor] = []
    plain.get_submodule(layer.name).register_forward_pre_hook(
        lambda _m, inputs: seen.append(inputs[0].clone())
    )
    before = output_of(plain, layer.name, sample)
    with torch.no_grad():
        return changed.get_submodule(layer.name)(seen[0])[0] - before


def squared_error(task: SensitivityTask, layer: Layer, candidate: Candidate) -> float:
    """Squared norm of what quantization adds to a layer's folded weight."""
    if candidate.weight == FLOAT:
        return 0.0
    model = folded_copy(task.network)
    before = model.get_parameter(layer.weight_name).detach().clone()
    quantize_layer(model, task.network, task.statistics, layer, candidate, task.settings)
    after = model.get_parameter(layer.weight_name).detach()
    return float((after - before).double().square().sum())


def double_task(
    model: nn.Module, x: Tensor, y: Tensor, *texts: str, **more: object
) -> SensitivityTask:
    """A task in float64, where sums of any order agree to many digits."""
    return make_task(model.double().eval(), x, *texts, labels=y.numpy(), **more)  # type: ignore[arg-type]


def blocks(model: nn.Module, network: Network, x: Tensor, y: Tensor) -> list[np.ndarray]:
    """Each layer's own block of the dense Hessian of the mean loss."""
    return [
        dense_hessian(model, [layer.weight_name], x, y).double().numpy()
        for layer in network.table.layers
    ]


def hooked_gradient(model: nn.Module, name: str, sample: Tensor, label: int) -> Tensor:
    """Gradient of one sample's loss with respect to the output of module ``name``, by a hook."""
    offset = torch.zeros_like(output_of(model, name, sample))[None].requires_grad_()
    handle = model.get_submodule(name).register_forward_hook(lambda _m, _i, z: z + offset)
    loss = F.cross_entropy(model(sample[None]), torch.tensor([label]))
    handle.remove()
    return torch.autograd.grad(loss, offset)[0][0]


def one_input_gradient(network: Network, call: int, sample: Tensor, label: int) -> Tensor:
    """Gradient of one sample's loss with respect to an offset that one call alone reads."""
    offset = torch.zeros((), requires_grad=True)

    def moved(value: Tensor) -> Tensor:
        nonlocal offset
        offset = torch.zeros_like(value).requires_grad_()
        return value + offset

    logits = network(sample[None], Plan(inputs={call: moved}))
    (found,) = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([label])), offset)
    return found
