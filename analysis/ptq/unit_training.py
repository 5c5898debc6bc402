"""The training of one unit: batches, optimizer, and the hardening of roundings."""

from dataclasses import dataclass
from math import ceil, isfinite

import torch
from torch import Tensor

from analysis.errors import out_of_memory
from analysis.events import Note, Progress, Work
from analysis.models.replay import Plan
from analysis.ptq.schedule import Schedule
from analysis.ptq.student import Seen, SoftStep, Student, dropping
from analysis.ptq.unit_samples import Fisher, UnitSamples
from analysis.ptq.wording import sample_count

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

    That is before the last one where the loss was no longer finite; that step is not taken. Where
    memory does not suffice for a batch it is computed in halves, which is noted.

    Args:
        student: What is trained, of this unit alone; changed in place.
        samples: What it is trained towards.
        around: What else is quantized.
        course: How to train.
        number: The unit's place among all.
        total: How many units there are.
        count: The first so many samples are trained on.

    Raises:
        MemoryError: If memory does not suffice for one sample.
    """
    optimizer, rates = _optimizer(student, course)
    schedule = Schedule(course.iterations)
    part = min(course.batch_size, count)
    for step in range(course.iterations):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * schedule.rate(step)
        rows = rows_of(course.seed, number, step, count, course.batch_size)
        loss = None
        while loss is None:
            seen = seen_at(course, number, step)
            optimizer.zero_grad()
            try:
                loss = add_gradients(student, samples, around, rows, part, seen)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if part == 1:
                    raise MemoryError(
                        f"A training step of {samples.unit.name} needs more memory for one sample."
                    ) from error
                part = ceil(part / 2)
                yield Note(
                    f"Memory did not suffice: batches of {samples.unit.name} are computed "
                    f"{sample_count(part)} at a time."
                )
        if not isfinite(loss):
            return step
        optimizer.step()
        student.fix(schedule.fixed(step))
        if step % _SAY_EVERY == 0:
            done = number * course.iterations + step
            message = f"{samples.unit.name}: error {loss:.3g}"
            yield Progress(done, total * course.iterations, message)
    return course.iterations


def add_gradients(
    student: Student, samples: UnitSamples, around: Plan, rows: Tensor, part: int, seen: Seen
) -> float:
    """Add the gradients of a batch's mean error, ``part`` samples at a time; return that error.

    Where it is not finite it is returned at once, and gradients are left as they happen to be.

    Args:
        student: What is trained, of the unit alone.
        samples: What it is trained towards.
        around: What else is quantized.
        rows: Numbers of the batch's samples, (B,).
        part: How many go through the unit at a time.
        seen: What the student sees of activations.
    """
    total = 0.0
    for some in torch.split(rows, part):
        with torch.enable_grad():
            errors = samples.errors(some, around.then(student.plan(seen)))
            loss = errors.mean() * (len(some) / len(rows))
        total += loss.item()
        if not isfinite(total):
            break
        torch.autograd.backward(loss)
    return total


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
