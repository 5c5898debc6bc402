"""A quantized network whose roundings, scales, biases and steps can be trained."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analysis.curvature.jacobian import kept_inputs
from analysis.models.channels import channel_axis
from analysis.models.network import Network
from analysis.models.replay import Plan, Transform, changed_in_place
from analysis.quant.configure import Quantization, activation_plan
from analysis.quant.quantizer import Quantizer
from analysis.quant.soft_rounding import logits_of, rounded_up, stretched, undecided
from analysis.quant.straight_through import soft_values, straight_through
from analysis.records import Layer, QuantSettings

# What a student sees of an activation: its quantized value, or that in part.
Seen = Callable[["SoftStep", Tensor], Tensor]


def dropping(seed: int) -> Seen:
    """Return what sees a random half of the values quantized, as QDrop does, arXiv:2203.05740.

    What is dropped depends on the seed and on the order of the calls alone.
    """
    generator = torch.Generator().manual_seed(seed)

    def dropped(step: SoftStep, x: Tensor) -> Tensor:
        # One bit of every random byte: a uniform number each, and a choice by it, takes longer than
        # the quantization.
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(generator=generator)
        kept = (words.view(torch.uint8)[: x.numel()] & 1).reshape(x.shape).to(x)
        return torch.lerp(x, step(x), kept)

    return dropped


class SoftWeight:
    """A layer's weight between two levels of its grid each, and a factor on every scale.

    ``logits`` say how far up each weight goes (see :mod:`analysis.quant.soft_rounding`); they begin
    where the soft weight is the float one, as far as the grid reaches. ``growth`` is the logarithm
    of the factor on every scale, so that no scale becomes negative. A weight that is ``fixed`` has
    its rounding ``up``, whatever its logit says.
    """

    def __init__(self, weight: Tensor, quantizer: Quantizer) -> None:
        self.quantizer = quantizer
        self.scale, self.zero_point = quantizer.shaped(weight)
        codes = weight / self.scale + self.zero_point
        codes = codes.clamp(quantizer.qmin, quantizer.qmax)
        # The topmost level has none above it.
        self.floor = torch.floor(codes).clamp_max(quantizer.qmax - 1)
        self.base = self.floor - self.zero_point
        self.nearest = (quantizer.codes(weight) > self.floor).to(weight)
        self.logits = logits_of(codes - self.floor).requires_grad_()
        self.growth = torch.zeros_like(self.scale).requires_grad_()
        self.fixed = torch.zeros_like(weight, dtype=torch.bool)
        self.up = torch.zeros_like(weight)

    def rounding(self) -> Tensor:
        """Return how far up each weight goes, in [0, 1]."""
        return torch.where(self.fixed, self.up, rounded_up(self.logits))

    def value(self) -> Tensor:
        """Return the weight that the student computes with."""
        return soft_values(stretched(self.logits), self.base, self.fixed, self.up, self.scales())

    def codes(self) -> Tensor:
        """Return the codes once every rounding is decided by its nearer end."""
        return self.floor + (self.rounding().detach() >= 0.5).to(self.floor)

    def hardened(self) -> Quantizer:
        """Return the quantizer with the trained scales."""
        return replace(self.quantizer, scale=self.scales().detach().flatten())

    def fix(self, share: float) -> None:
        """Fix the roundings that are nearest to an end, until this share of the weights is fixed.

        What is fixed once stays so; the rest can still make up for what rounding moved.
        """
        missing = int(share * self.fixed.numel()) - int(self.fixed.sum())
        if missing <= 0:
            return
        up = rounded_up(self.logits.detach())
        sure = torch.where(self.fixed, -1.0, (up - 0.5).abs()).flatten()
        fresh = torch.zeros_like(self.fixed.flatten())
        fresh[torch.topk(sure, missing, sorted=False).indices] = True
        fresh = fresh.view_as(self.fixed)
        self.up = torch.where(fresh, (up >= 0.5).to(up), self.up)
        self.fixed = self.fixed | fresh

    def scales(self) -> Tensor:
        """Return the trained scales, in the weight's dimensions."""
        return self.scale * torch.exp(self.growth)


class SoftStep:
    """An activation's quantizer with a factor on its step; gradients pass straight through.

    The gradient of the step is that of LSQ, arXiv:1902.08153.
    """

    def __init__(self, quantizer: Quantizer) -> None:
        self.quantizer = quantizer
        self.growth = torch.zeros_like(quantizer.scale).requires_grad_()

    def __call__(self, x: Tensor, share: float = 1.0) -> Tensor:
        """Return the activation moved by this share of the way to its quantized value."""
        own = self.quantizer
        zero_point = int(own.zero_point)
        return straight_through(
            x, self.scales().to(x), (own.qmin - zero_point, own.qmax - zero_point), share
        )

    def hardened(self) -> Quantizer:
        """Return the quantizer with the trained step."""
        return replace(self.quantizer, scale=self.scales().detach())

    def scales(self) -> Tensor:
        """Return the trained step, (1,)."""
        return self.quantizer.scale * torch.exp(self.growth)


@dataclass(frozen=True, slots=True)
class Student:
    """What is trained of a quantized network, by layer name and tensor id."""

    network: Network
    settings: QuantSettings
    weights: Mapping[str, SoftWeight]
    biases: Mapping[str, Tensor]
    steps: Mapping[int, SoftStep]

    @classmethod
    def of(cls, network: Network, start: Quantization, settings: QuantSettings) -> "Student":
        """Begin with a quantization; only what it quantizes is trained."""
        layers = [layer for layer in network.table.layers if layer.name in start.weights]
        return cls(
            network=network,
            settings=settings,
            weights={
                layer.name: SoftWeight(network.weight(layer), start.weights[layer.name])
                for layer in layers
            },
            biases={
                layer.name: _bias(network, layer, start).clone().requires_grad_()
                for layer in layers
            },
            steps={tensor: SoftStep(own) for tensor, own in start.activations.items()},
        )

    def plan(self, seen: Seen = SoftStep.__call__) -> Plan:
        """Return the plan under which the network is the student.

        Args:
            seen: What it sees of an activation; by default its quantized value.
        """
        calls = {layer.name: layer.calls for layer in self.network.table.layers}
        weights = {c: own.value() for name, own in self.weights.items() for c in calls[name]}
        biases = {c: own for name, own in self.biases.items() for c in calls[name]}
        # A backward pass needs what a step or a layer read, not what came of it in place.
        changed = changed_in_place(self.network.trace, self.network.plan)
        unsafe = {t.id for t in self.network.table.tensors if (t.call, t.slot) in changed}
        steps: dict[int, Transform] = {
            tensor: _transform(own, seen, copied=tensor in unsafe)
            for tensor, own in self.steps.items()
        }
        activations = activation_plan(self.network, steps, self.settings.scope)
        return kept_inputs(self.network).then(Plan(weights=weights, biases=biases) | activations)

    def hardened(self, start: Quantization) -> Quantization:
        """Return the quantization with every rounding decided, and what was trained.

        Args:
            start: What the student began with; its ranges stay what they are.
        """
        weights = {name: own.hardened() for name, own in self.weights.items()}
        return Quantization(
            weights=weights,
            activations={tensor: own.hardened() for tensor, own in self.steps.items()},
            weight_values={
                name: weights[name].values(own.codes()) for name, own in self.weights.items()
            },
            biases={**start.biases, **{n: b.detach().clone() for n, b in self.biases.items()}},
            ranges=start.ranges,
        )

    def fix(self, share: float) -> None:
        """Fix this share of the roundings of every layer."""
        for own in self.weights.values():
            own.fix(share)

    @property
    def broken(self) -> str:
        """The first scale that is not positive and finite any more, in words; empty if none."""
        scales = [(f"the scale of `{name}`", own.scales()) for name, own in self.weights.items()]
        makers = {tensor.id: tensor.produced_by for tensor in self.network.table.tensors}
        scales += [(f"the step of `{makers[i]}`", own.scales()) for i, own in self.steps.items()]
        fine = [bool(((scale > 0) & scale.isfinite()).all()) for _, scale in scales]
        return "" if all(fine) else scales[fine.index(False)][0]

    @property
    def undecided(self) -> float:
        """Share of roundings that are neither fixed nor nearly at an end."""
        return _share(undecided(own.rounding().detach()) for own in self.weights.values())

    @property
    def moved(self) -> dict[str, float]:
        """Share of every layer's weights that would not be rounded to the nearest level."""
        return {
            name: _share([own.codes() != own.floor + own.nearest])
            for name, own in self.weights.items()
        }


def _bias(network: Network, layer: Layer, start: Quantization) -> Tensor:
    """Return a layer's bias (O,), zeros where it has none."""
    if layer.name in start.biases:
        return start.biases[layer.name]
    bias = network.bias(layer)
    if bias is not None:
        return bias
    call = network.trace.calls[layer.calls[0]]
    return network.weight(layer).new_zeros(call.shapes[0][channel_axis(call)])


def _transform(step: SoftStep, seen: Seen, *, copied: bool) -> Transform:
    def transform(x: Tensor) -> Tensor:
        return seen(step, x.clone() if copied else x)

    return transform


def _share(marks: Iterable[Tensor]) -> float:
    found = [(int(each.sum()), each.numel()) for each in marks]
    total = sum(n for _, n in found)
    return sum(hit for hit, _ in found) / total if total else 0.0
