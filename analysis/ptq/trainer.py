"""One step of a training after the other: batches, losses, optimizer, and all their state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import ceil, inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from analysis.ptq.importance import Importance
from analysis.ptq.schedule import Schedule
from analysis.ptq.student import Seen, SoftStep, Student, dropping
from analysis.ptq.teacher import Teacher, Watched
from analysis.quant.soft_rounding import indecision, rounded_up
from analysis.records import FloatArray

_LOGITS = "the output of the network"
# Adam's own 1e-8 would be as large as the gradients of single roundings.
_EPS = 1e-16
_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True, eps=_EPS),
    "radam": partial(torch.optim.RAdam, eps=_EPS),
}


@dataclass(frozen=True, slots=True)
class Rates:
    """Learning rates; 0 leaves the thing as it is."""

    rounding: float
    scale: float
    bias: float
    step: float


@dataclass(frozen=True, slots=True)
class Course:
    """How a student is trained.

    Args:
        schedule: What happens when.
        rates: Learning rates.
        batch_size: Samples of a step.
        seed: Of the order of the samples and of what is dropped.
        optimizer: ``adam`` or ``radam``.
        activations: ``gradual``: values turn into quantized ones over the first half; ``drop``:
            each is quantized half of the time (QDrop, arXiv:2203.05740); ``whole``: always.
        reconstruction: Weight of the layers' errors in the loss.
        logits: Weight of the KL divergence from the teacher's logits, in nats, in the loss.
        regularizer: Weight of the mean indecision of the roundings in the loss (AdaRound,
            arXiv:2004.10568).
    """

    schedule: Schedule
    rates: Rates
    batch_size: int
    seed: int
    optimizer: str = "adam"
    activations: str = "gradual"
    reconstruction: float = 1.0
    logits: float = 0.0
    regularizer: float = 0.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What a step found on its batch: the parts of its loss, unweighted but by importance.

    ``broken`` names what was no longer finite; then no step was taken.
    """

    loss: float = 0.0
    reconstruction: float = 0.0
    indecision: float = 0.0
    logits_kl: float = 0.0
    broken: str = ""


@dataclass(slots=True)
class State:
    """Where a training stands; ``best`` is the hardened network that diverged least, as arrays."""

    done: int = 0
    log: list[list[float]] = field(default_factory=list)
    best: dict[str, NDArray[Any]] = field(default_factory=dict)
    least: float = inf


class Trainer:
    """A student, its teacher, and an optimizer between them.

    Args:
        student: Changed in place.
        teacher: The float network on all samples.
        importance: How much errors count.
        course: How to train.
        count: The first so many samples are trained on.
    """

    def __init__(
        self, student: Student, teacher: Teacher, importance: Importance, course: Course, count: int
    ) -> None:
        self.student, self.teacher, self.course, self.count = student, teacher, course, count
        self.importance = importance
        self.watched = Watched(student.network, teacher.calls)
        self.part = min(course.batch_size, count)
        rates = course.rates
        groups = {
            "rounding": ([own.logits for own in student.weights.values()], rates.rounding),
            "scale": ([own.growth for own in student.weights.values()], rates.scale),
            "bias": (list(student.biases.values()), rates.bias),
            "step": ([own.growth for own in student.steps.values()], rates.step),
        }
        self.groups = {name: pair for name, pair in groups.items() if pair[1] > 0 and pair[0]}
        self.optimizer = _OPTIMIZERS[course.optimizer](
            [{"params": own, "lr": rate} for own, rate in self.groups.values()]
        )

    def step(self, at: int) -> Taken:
        """Take one step, or none where the loss is not finite.

        The batch goes through the network in parts of ``part`` samples, whose gradients are added.
        """
        rows = self._rows(at)
        for group, (_, rate) in zip(self.optimizer.param_groups, self.groups.values(), strict=True):
            group["lr"] = rate * self.course.schedule.rate(at)
        self.optimizer.zero_grad()
        seen = self._seen(at)
        found = [
            self._part(part, seen, len(part) / len(rows)) for part in torch.split(rows, self.part)
        ]
        broken = next((each.broken for each in found if each.broken), "")
        undecided = 0.0
        if self.course.regularizer and not broken:
            undecided = self._indecision(at)
        if not broken:
            self.optimizer.step()
        reconstruction = sum(each.reconstruction for each in found)
        kl = sum(each.logits_kl for each in found)
        course = self.course
        loss = (
            course.reconstruction * reconstruction
            + course.logits * kl
            + course.regularizer * undecided
        )
        return Taken(loss, reconstruction, undecided, kl, broken)

    def smaller(self) -> bool:
        """Halve the parts of a batch that are computed at a time; False if they cannot be."""
        if self.part == 1:
            return False
        self.part = ceil(self.part / 2)
        return True

    def arrays(self, state: State) -> dict[str, FloatArray]:
        """Return everything that a resumed training needs."""
        found: dict[str, Tensor] = {}
        for name, own in self.student.weights.items():
            found |= {f"fixed.{name}": own.fixed, f"up.{name}": own.up}
        for name, (values, _) in self.groups.items():
            for i, value in enumerate(values):
                found[f"{name}.{i}"] = value
                memory = self.optimizer.state.get(value, {})
                found |= {f"{name}.{i}.{key}": kept for key, kept in memory.items()}
        arrays = {name: value.detach().double().cpu().numpy() for name, value in found.items()}
        arrays |= {f"best.{name}": array.astype(float) for name, array in state.best.items()}
        counts = {"done": float(state.done), "least": state.least, "part": float(self.part)}
        return arrays | {n: np.array(v) for n, v in counts.items()} | {"log": np.array(state.log)}

    def resume(self, kept: Mapping[str, FloatArray]) -> State:
        """Take over a state that was kept."""
        arrays = {name: np.array(array) for name, array in kept.items()}  # theirs are read-only
        for name, own in self.student.weights.items():
            own.fixed = torch.as_tensor(arrays[f"fixed.{name}"]).to(own.fixed)
            own.up = torch.as_tensor(arrays[f"up.{name}"]).to(own.up)
        memories: dict[int, dict[str, Tensor]] = {}
        for name, (values, _) in self.groups.items():
            for i, value in enumerate(values):
                start = f"{name}.{i}"
                with torch.no_grad():
                    value.copy_(torch.as_tensor(arrays[start]))
                memories[len(memories)] = {
                    key.removeprefix(f"{start}."): torch.as_tensor(memory).float()
                    for key, memory in arrays.items()
                    if key.startswith(f"{start}.")
                }
        # The optimizer knows where it keeps its counts, which is not always beside the values.
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": memories})
        self.part = int(arrays["part"])
        best = {n.removeprefix("best."): a for n, a in arrays.items() if n.startswith("best.")}
        return State(int(arrays["done"]), arrays["log"].tolist(), best, float(arrays["least"]))

    def _part(self, rows: Tensor, seen: Seen, share: float) -> Taken:
        """Add the gradients of some of a batch's samples, which are this share of it."""
        wanted, wanted_logits = self.teacher.outputs(rows)
        with torch.enable_grad():
            plan = self.watched.plan.then(self.student.plan(seen))
            logits = self.student.network(self.teacher.x[rows], plan)
            found = self.watched.outputs(len(rows))
            errors = self.importance.errors(found, wanted, rows)
            kl = share * divergences(logits, wanted_logits).mean()
            reconstruction = share * errors.sum(1).mean()
            loss = self.course.reconstruction * reconstruction + self.course.logits * kl
        if not bool(loss.isfinite()):
            plain = [(z - float_z).square() for z, float_z in zip(found, wanted, strict=True)]
            sums = torch.stack([each.flatten(1).sum(1) for each in plain], dim=1)
            return Taken(broken=self._first_broken(sums) or self._first_broken(errors) or _LOGITS)
        torch.autograd.backward(loss)
        return Taken(reconstruction=reconstruction.item(), logits_kl=kl.item())

    def _indecision(self, at: int) -> float:
        """Add the gradients of the regulariser; return the mean indecision of all roundings."""
        exponent = self.course.schedule.exponent(at)
        count = sum(own.fixed.numel() for own in self.student.weights.values())
        with torch.enable_grad():
            total = torch.stack(
                [
                    torch.where(own.fixed, 0.0, indecision(rounded_up(own.logits), exponent)).sum()
                    for own in self.student.weights.values()
                ]
            ).sum()
            mean = total / count
        torch.autograd.backward(self.course.regularizer * mean)
        return mean.item()

    def _rows(self, at: int) -> Tensor:
        """Return the samples of a step; they depend on the step and the seed alone."""
        size = min(self.course.batch_size, self.count)
        each = self.count // size
        epoch, place = divmod(at, each)
        generator = torch.Generator().manual_seed(self.course.seed * 1_000_003 + epoch)
        return torch.randperm(self.count, generator=generator)[place * size : (place + 1) * size]

    def _seen(self, at: int) -> Seen:
        if self.course.activations == "gradual":
            share = self.course.schedule.quantized(at)
            return lambda step, x: step(x, share)
        if self.course.activations == "drop":
            return dropping(self.course.seed * 7_368_787 + at)
        return SoftStep.__call__

    def _first_broken(self, errors: Tensor) -> str:
        """Name the first layer with errors (B, L) that are not finite; empty if all are."""
        layers = self.student.network.table.layers
        broken = (~errors.detach().isfinite()).any(0).nonzero().flatten().tolist()
        if not broken:
            return ""
        call = self.teacher.calls[broken[0]]
        return next((f"`{layer.name}`" for layer in layers if call in layer.calls), f"call {call}")


def divergences(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the KL divergence of every sample (B,), in nats, from the wanted logits (B, C)."""
    return kl_div(
        log_softmax(logits, 1), log_softmax(wanted, 1), log_target=True, reduction="none"
    ).sum(1)
