"""Training a student towards its teacher, so that it can be interrupted and goes on the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from analysis.events import Note, Progress, Work
from analysis.ptq.schedule import Schedule
from analysis.ptq.student import Mixing, Student
from analysis.ptq.teacher import Teacher, Watched
from analysis.ptq.trained import from_arrays, to_arrays
from analysis.quant.configure import Quantization, plan_of
from analysis.records import FloatArray

# Columns of the log, one row per look.
LOGGED = ("step", "loss", "logits_kl", "undecided", "fixed", "held_out_kl", "held_out_agreement")
_LOOKS = 40
_BATCH = 64


class Parts(Protocol):
    """Finished parts of a computation, kept so that an interrupted one resumes."""

    def load(self, name: str) -> Mapping[str, FloatArray] | None:
        """Return a part's arrays by name, None if it was not computed yet."""

    def save(self, name: str, arrays: Mapping[str, FloatArray]) -> None:
        """Keep a part's arrays."""


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
        logits: Weight of the KL divergence from the teacher's logits, in nats, in the loss.
    """

    schedule: Schedule
    rates: Rates
    batch_size: int
    seed: int
    optimizer: str = "adam"
    activations: str = "gradual"
    logits: float = 0.0


@dataclass(slots=True)
class _State:
    """Where a training stands; ``best`` is the hardened network that diverged least, as arrays."""

    done: int = 0
    log: list[list[float]] = field(default_factory=list)
    best: dict[str, NDArray[Any]] = field(default_factory=dict)
    least: float = inf


def train(
    student: Student,
    start: Quantization,
    teacher: Teacher,
    importance: Tensor,
    course: Course,
    held_out: int,
    parts: Parts | None = None,
) -> Work[Quantization]:
    r"""Train a student on all samples but the last ``held_out``; return the best one seen there.

    The loss of a batch is :math:`\sum_l \overline{w_{nl} \lVert \hat z_{nl} - z_{nl} \rVert^2}`
    over the layers' outputs before activation functions, relative to its mean weight. Now and then
    the student is hardened and looked at on the held-out samples (on all, where none is held out);
    the hardened student that diverged least from the teacher is returned, with the log. A loss that
    is no longer finite ends the training there, with a note that names the first such layer.

    Args:
        student: Changed in place.
        start: What it began with.
        teacher: The float network on all samples.
        importance: Weight w of every sample and layer, (N, L).
        course: How to train.
        held_out: Samples that are looked at and not trained on.
        parts: Where to keep the state, so that an interrupted training goes on the same.
    """
    trainer = _Trainer(student, start, teacher, importance, course, held_out)
    state = trainer.resume(parts)
    steps = course.schedule.steps
    every = max(1, steps // _LOOKS)
    if state.done:
        yield Note(f"Goes on after {state.done:,} of {steps:,} steps.")
    while state.done < steps:
        loss, kl, broken = trainer.step(state.done)
        if broken:
            yield Note(
                f"Training stopped after {state.done:,} of {steps:,} steps: {broken} was no longer "
                "finite. Lower the learning rates."
            )
            break
        student.fix(course.schedule.fixed(state.done))
        state.done += 1
        if state.done % every == 0 or state.done == steps:
            seen, agreement = trainer.look(state)
            fixed = course.schedule.fixed(state.done - 1)
            open_ = student.undecided
            state.log.append([state.done, loss, kl, open_, fixed, seen, agreement])
            if parts is not None:
                parts.save("training", trainer.arrays(state))
            yield Progress(
                state.done,
                steps,
                f"loss {loss:.3g}, {open_:.0%} undecided, held out: {agreement:.1%} agree",
            )
        elif state.done % 10 == 0:
            yield Progress(state.done, steps, f"loss {loss:.3g}")
    found = from_arrays(student.network, start, state.best) if state.best else start
    return replace(found, log=np.array(state.log).reshape(-1, len(LOGGED)))


def divergence(
    student: Student, quantization: Quantization, teacher: Teacher, samples: Tensor
) -> tuple[float, float]:
    """Return mean KL from the teacher's logits in nats, and the share of samples that agree."""
    plan = plan_of(student.network, quantization, student.settings)
    kl, same = 0.0, 0
    for rows in torch.split(samples, _BATCH):
        with torch.no_grad():
            logits = student.network(teacher.x[rows], plan)
        _, wanted = teacher.outputs(rows)
        kl += float(_kl(logits.double(), wanted.double()).sum())
        same += int((logits.argmax(1) == wanted.argmax(1)).sum())
    return kl / len(samples), same / len(samples)


def _kl(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the KL divergence of every sample (B,) from the wanted logits (B, C)."""
    return kl_div(
        log_softmax(logits, 1), log_softmax(wanted, 1), log_target=True, reduction="none"
    ).sum(1)


class _Trainer:
    """The moving parts of a training."""

    def __init__(
        self,
        student: Student,
        start: Quantization,
        teacher: Teacher,
        importance: Tensor,
        course: Course,
        held_out: int,
    ) -> None:
        self.student, self.start, self.teacher, self.course = student, start, teacher, course
        self.count = teacher.n - held_out
        self.looked_at = torch.arange(self.count if held_out else 0, teacher.n)
        self.importance = importance / importance.sum(1).mean()
        self.watched = Watched(student.network, teacher.calls)
        rates = course.rates
        groups = {
            "rounding": ([own.logits for own in student.weights.values()], rates.rounding),
            "scale": ([own.growth for own in student.weights.values()], rates.scale),
            "bias": (list(student.biases.values()), rates.bias),
            "step": ([own.growth for own in student.steps.values()], rates.step),
        }
        self.groups = {name: pair for name, pair in groups.items() if pair[1] > 0 and pair[0]}
        kinds = {"adam": torch.optim.Adam, "radam": torch.optim.RAdam}
        self.optimizer = kinds[course.optimizer](
            [{"params": own, "lr": rate} for own, rate in self.groups.values()]
        )

    def step(self, at: int) -> tuple[float, float, str]:
        """Take one step; return the loss and the divergence of the logits on its batch.

        Where the loss is not finite no step is taken, and what is to blame is returned.
        """
        rows = self._rows(at)
        for group, (_, rate) in zip(self.optimizer.param_groups, self.groups.values(), strict=True):
            group["lr"] = rate * self.course.schedule.rate(at)
        wanted, wanted_logits = self.teacher.outputs(rows)
        with torch.enable_grad():
            plan = self.watched.plan.then(self.student.plan(self._mixing(at)))
            logits = self.student.network(self.teacher.x[rows], plan)
            found = self.watched.outputs(len(rows))
            errors = torch.stack(
                [
                    (own - other).flatten(1).square().sum(1)
                    for own, other in zip(found, wanted, strict=True)
                ],
                dim=1,
            )
            kl = _kl(logits, wanted_logits).mean()
            loss = (errors * self.importance[rows]).sum(1).mean() + self.course.logits * kl
        if not bool(loss.isfinite()):
            return loss.item(), kl.item(), self._first_broken(errors)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.item(), kl.item(), ""

    def look(self, state: _State) -> tuple[float, float]:
        """Return KL and agreement of the hardened student, and remember it if it is the best."""
        hard = self.student.hardened(self.start)
        kl, agreement = divergence(self.student, hard, self.teacher, self.looked_at)
        if kl < state.least:
            state.least, state.best = kl, to_arrays(self.student.network, hard)
        return kl, agreement

    def arrays(self, state: _State) -> dict[str, FloatArray]:
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
        counts = {"done": float(state.done), "least": state.least}
        return arrays | {n: np.array(v) for n, v in counts.items()} | {"log": np.array(state.log)}

    def resume(self, parts: Parts | None) -> _State:
        """Take over a state that was kept, if there is one."""
        kept = None if parts is None else parts.load("training")
        if kept is None:
            return _State()
        arrays = {name: np.array(array) for name, array in kept.items()}  # theirs are read-only
        for name, own in self.student.weights.items():
            own.fixed = torch.as_tensor(arrays[f"fixed.{name}"]).to(own.fixed)
            own.up = torch.as_tensor(arrays[f"up.{name}"]).to(own.up)
        for name, (values, _) in self.groups.items():
            for i, value in enumerate(values):
                start = f"{name}.{i}"
                with torch.no_grad():
                    value.copy_(torch.as_tensor(arrays[start]))
                self.optimizer.state[value] = {
                    key.removeprefix(f"{start}."): _like(torch.as_tensor(memory), value)
                    for key, memory in arrays.items()
                    if key.startswith(f"{start}.")
                }
        best = {n.removeprefix("best."): a for n, a in arrays.items() if n.startswith("best.")}
        return _State(int(arrays["done"]), arrays["log"].tolist(), best, float(arrays["least"]))

    def _rows(self, at: int) -> Tensor:
        """Return the samples of a step; they depend on the step and the seed alone."""
        size = min(self.course.batch_size, self.count)
        each = self.count // size
        epoch, place = divmod(at, each)
        generator = torch.Generator().manual_seed(self.course.seed * 1_000_003 + epoch)
        return torch.randperm(self.count, generator=generator)[place * size : (place + 1) * size]

    def _mixing(self, at: int) -> Mixing | None:
        if self.course.activations == "gradual":
            share = self.course.schedule.quantized(at)
            return None if share == 1.0 else lambda x, q: x + share * (q - x)
        if self.course.activations == "drop":
            generator = torch.Generator().manual_seed(self.course.seed * 7_368_787 + at)

            def drop(x: Tensor, q: Tensor) -> Tensor:
                kept = torch.rand(x.shape, generator=generator) < 0.5
                return torch.where(kept.to(x.device), q, x)

            return drop
        return None

    def _first_broken(self, errors: Tensor) -> str:
        calls = self.student.network.table.layers
        broken = (~errors.detach().isfinite()).any(0).nonzero().flatten().tolist()
        if not broken:
            return "the logits"
        call = self.teacher.calls[broken[0]]
        return next((f"`{layer.name}`" for layer in calls if call in layer.calls), f"call {call}")


def _like(kept: Tensor, value: Tensor) -> Tensor:
    """Return an optimizer's memory in the dtype and place that it had; counts stay on the CPU."""
    return kept.float() if kept.dim() == 0 else kept.to(value)
