"""The training of one unit: batches, optimizer, and the hardening of roundings."""

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.events import Progress, Work
from analysis.models.replay import Plan
from analysis.ptq.schedule import Schedule
from analysis.ptq.student import Seen, SoftStep, Student, dropping
from analysis.ptq.unit_samples import Fisher, UnitSamples

_SAY_EVERY = 20


@dataclass(frozen=True, slots=True)
class Course:
    """How units are trained.

    Args:
        units: ``layer`` or ``block``.
        iterations: Steps of every unit.
        batch_size: Samples of a step.
        rounding_rate: Learning rate of the roundings.
        step_rate: Learning rate of the activations' steps; 0 leaves them as they are.
        drop: Whether a random half of the activations' values is quantized in training.
        fisher: How errors are weighted; None for all the same.
        memory_mib: Memory for activations of all samples, in MiB.
        seed: Of the order of the samples and of what is dropped.
    """

    units: str
    iterations: int
    batch_size: int
    rounding_rate: float
    step_rate: float
    drop: bool
    fisher: Fisher | None
    memory_mib: float
    seed: int


def train_unit(
    student: Student,
    samples: UnitSamples,
    around: Plan,
    course: Course,
    number: int,
    total: int,
    count: int,
) -> Work[int]:
    """Train a unit until its roundings are decided; return after how many steps it ended.

    That is before the last one where the loss was no longer finite; that step is not taken.

    Args:
        student: What is trained, of this unit alone; changed in place.
        samples: What it is trained towards.
        around: What else is quantized.
        course: How to train.
        number: The unit's place among all.
        total: How many units there are.
        count: The first so many samples are trained on.
    """
    optimizer, rates = _optimizer(student, course)
    schedule = Schedule(course.iterations)
    for step in range(course.iterations):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * schedule.rate(step)
        rows = rows_of(course.seed, number, step, count, course.batch_size)
        with torch.enable_grad():
            plan = around.then(student.plan(seen_at(course, number, step)))
            loss = samples.errors(rows, plan).mean()
        if not bool(loss.isfinite()):
            return step
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        student.fix(schedule.fixed(step))
        if step % _SAY_EVERY == 0:
            done = number * course.iterations + step
            message = f"{samples.unit.name}: error {loss.item():.3g}"
            yield Progress(done, total * course.iterations, message)
    return course.iterations


def _optimizer(student: Student, course: Course) -> tuple[torch.optim.Optimizer, list[float]]:
    """Return Adam over what is trained, with the rate of every group; the rest is held fast."""
    trained = [([own.logits for own in student.weights.values()], course.rounding_rate)]
    if course.step_rate > 0 and student.steps:
        trained.append(([own.growth for own in student.steps.values()], course.step_rate))
    held = [own.growth for own in student.weights.values()] + list(student.biases.values())
    if course.step_rate == 0:
        held += [own.growth for own in student.steps.values()]
    for value in held:
        value.requires_grad_(False)
    groups = [{"params": values, "lr": rate} for values, rate in trained]
    return torch.optim.Adam(groups, fused=True), [rate for _, rate in trained]


def rows_of(seed: int, unit: int, step: int, count: int, batch_size: int) -> Tensor:
    """Return the samples of a step; they depend on the seed, the unit and the step alone.

    Every sample comes once before any comes again.
    """
    size = min(batch_size, count)
    epoch, place = divmod(step, count // size)
    generator = torch.Generator().manual_seed((seed * 10_007 + unit) * 100_003 + epoch)
    return torch.randperm(count, generator=generator)[place * size : (place + 1) * size]


def seen_at(course: Course, unit: int, step: int) -> Seen:
    """Return what a step sees of activations: their quantized values, or those of a random half.

    What is dropped depends on the seed, the unit and the step alone. See QDrop, arXiv:2203.05740.
    """
    if not course.drop:
        return SoftStep.__call__
    return dropping((course.seed * 10_007 + unit) * 7_368_787 + step)
