"""Training a student towards its teacher, so that it can be interrupted and goes on the same."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from analysis.errors import out_of_memory
from analysis.events import Note, Progress, Work
from analysis.parts import Parts
from analysis.ptq.importance import Importance
from analysis.ptq.student import Student
from analysis.ptq.teacher import Teacher
from analysis.ptq.trained import from_arrays, to_arrays
from analysis.ptq.trainer import Course, State, Trainer, divergences
from analysis.ptq.wording import sample_count
from analysis.quant.configure import Quantization, plan_of

# Columns of the log, one row per look.
LOGGED = (
    "step",
    "loss",
    "reconstruction",
    "indecision",
    "logits_kl",
    "undecided",
    "fixed",
    "held_out_kl",
    "held_out_agreement",
)
_LOOKS = 40
_BATCH = 64


def train(
    student: Student,
    start: Quantization,
    teacher: Teacher,
    importance: Importance,
    course: Course,
    held_out: int,
    parts: Parts | None = None,
) -> Work[Quantization]:
    r"""Train a student on all samples but the last ``held_out``; return the best one seen there.

    The loss of a batch is :math:`\sum_l \overline{w_{nl} \lVert \hat z_{nl} - z_{nl} \rVert^2}`
    over the layers' outputs before activation functions. Now and then the student is hardened and
    looked at on the held-out samples (on all, where none is held out); the hardened student that
    diverged least from the teacher is returned, with the log. A loss that is no longer finite ends
    the training there, with a note that names the first such layer. Where memory does not suffice
    for a batch it is computed in halves, which is noted.

    Args:
        student: Changed in place.
        start: What it began with.
        teacher: The float network on all samples.
        importance: How much errors count, w.
        course: How to train.
        held_out: Samples that are looked at and not trained on.
        parts: Where to keep the state, so that an interrupted training goes on the same.
    """
    count = teacher.n - held_out
    trainer = Trainer(student, teacher, importance, course, count)
    looked_at = torch.arange(count if held_out else 0, teacher.n)
    kept = None if parts is None else parts.load("training")
    state = State() if kept is None else trainer.resume(kept)
    steps = course.schedule.steps
    every = max(1, steps // _LOOKS)
    if state.done:
        yield Note(f"Goes on after {state.done:,} of {steps:,} steps.")
    while state.done < steps:
        try:
            taken = trainer.step(state.done)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if not trainer.smaller():
                raise MemoryError("A training step needs more memory for one sample.") from error
            taken = None
        if taken is None:
            part = sample_count(trainer.part)
            yield Note(f"Memory did not suffice: batches are computed {part} at a time.")
            continue
        broken, before = taken.broken, state.done
        if not broken:
            student.fix(course.schedule.fixed(state.done))
            state.done += 1
        look = state.done % every == 0 or state.done == steps
        if look and not broken:
            broken = student.broken
        if broken:
            yield Note(stopped(f"after {before:,} of {steps:,} steps", broken, before))
            break
        if look:
            fixed = course.schedule.fixed(state.done - 1)
            kl, agreement = _look(student, start, teacher, looked_at, state)
            losses = [taken.loss, taken.reconstruction, taken.indecision, taken.logits_kl]
            state.log.append([state.done, *losses, student.undecided, fixed, kl, agreement])
            if parts is not None:
                parts.save("training", trainer.arrays(state))
            yield Progress(
                state.done,
                steps,
                f"loss {taken.loss:.3g}, {student.undecided:.0%} undecided, held out: "
                f"{agreement:.1%} agree",
            )
        elif state.done % 10 == 0:
            yield Progress(state.done, steps, f"loss {taken.loss:.3g}")
    found = from_arrays(student.network, start, state.best) if state.best else start
    log = np.array(state.log).reshape(-1, len(LOGGED))
    return replace(found, log=log, logged=LOGGED)


def stopped(where: str, broken: str, done: int) -> str:
    """Say that a training ended early, why, and what to do.

    Args:
        where: Where it ended, to stand behind "Training stopped".
        broken: What is not finite.
        done: Steps before; without any, training is not the reason.
    """
    if done:
        return f"Training stopped {where}: {broken} was no longer finite. Lower the learning rates."
    return (
        f"Training stopped {where}: {broken} or its squared error was not finite from the start. "
        "Look for very large values in weights or data, or quantize the layers before it less."
    )


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
        kl += float(divergences(logits.double(), wanted.double()).sum())
        same += int((logits.argmax(1) == wanted.argmax(1)).sum())
    return kl / len(samples), same / len(samples)


def _look(
    student: Student,
    start: Quantization,
    teacher: Teacher,
    samples: Tensor,
    state: State,
) -> tuple[float, float]:
    """Harden the student, and remember it if it is the best; return its KL and agreement."""
    hard = student.hardened(start)
    kl, agreement = divergence(student, hard, teacher, samples)
    if kl < state.least:
        state.least, state.best = kl, to_arrays(student.network, hard)
    return kl, agreement
