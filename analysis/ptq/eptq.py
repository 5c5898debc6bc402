"""EPTQ: the whole quantized network is trained towards the float one, weighted by attention."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from analysis.errors import OptionError
from analysis.events import Note, Work, held_at
from analysis.models.network import Network
from analysis.options import Options, option
from analysis.ptq.importance import WEIGHTINGS, importance
from analysis.ptq.moved import moved_shares
from analysis.ptq.nearest import nearest
from analysis.ptq.schedule import Schedule
from analysis.ptq.student import Student
from analysis.ptq.task import PTQ_METHODS, TRAINED, PTQTask
from analysis.ptq.teacher import Teacher
from analysis.ptq.trainer import Course, Rates
from analysis.ptq.training import divergence, train
from analysis.ptq.wording import few, mebibytes, percent, sample_count
from analysis.quant.configure import Quantization

_SCHEDULES: dict[str, Callable[[int], Schedule]] = {
    "progressive": Schedule,
    "last": partial(Schedule, begin=1.0, end=1.0),
}


@dataclass(frozen=True, slots=True)
class EptqOptions(Options):
    """Options of :func:`eptq`."""

    steps: int = option(2000, low=1, high=1_000_000, help="Length of the training, in batches.")
    batch_size: int = option(32, low=1, high=4096, help="Samples of a step.")
    weighting: str = option(
        "balanced",
        choices=WEIGHTINGS,
        help="How much an error counts: by the attention of its sample and layer; balanced, so "
        "that all layers count the same for what their outputs vary; averaged over the samples; "
        "by the Fisher information of every element; or by what the layer's output varies alone.",
    )
    rounding_rate: float = option(3e-2, low=0, high=10, help="Learning rate of the roundings.")
    scale_rate: float = option(1e-3, low=0, high=1, help="Learning rate of the weights' scales.")
    bias_rate: float = option(1e-3, low=0, high=1, help="Learning rate of the biases.")
    step_rate: float = option(1e-3, low=0, high=1, help="Learning rate of the activations' steps.")
    optimizer: str = option("adam", choices=("adam", "radam"), help="Which optimizer.")
    activations: str = option(
        "gradual",
        choices=("gradual", "drop", "whole"),
        help="Activations turn into quantized ones over the first half, or a random half of the "
        "values is quantized (QDrop), or all of them from the start.",
    )
    reconstruction: float = option(
        1.0, low=0, high=1e6, help="Weight of the layers' errors in the loss."
    )
    logits: float = option(
        0.0, low=0, high=1e6, help="Weight of the KL divergence of the logits, in the loss."
    )
    hardening: str = option(
        "progressive",
        choices=("progressive", "last"),
        help="Roundings are fixed one after the other, the surest first, or all after the last "
        "step.",
    )
    regularizer: float = option(
        0.0,
        low=0,
        high=1e6,
        help="Weight in the loss of how undecided the roundings are, with an exponent that falls "
        "from 20 to 2 (AdaRound).",
    )
    probes: int = option(
        100,
        low=1,
        high=10_000,
        help="Backward passes for what an error counts; exact up to so many classes.",
    )
    memory_mib: int = option(
        1024,
        low=0,
        high=1_000_000,
        help="Memory for the float network's outputs, in MiB, and as much for Fisher weights.",
    )
    seed: int = option(0, low=0, high=2**31 - 1, help="Seed of the order of the samples.")

    def check(self) -> None:
        """Refuse a training of nothing, or towards nothing."""
        if not any((self.rounding_rate, self.scale_rate, self.bias_rate, self.step_rate)):
            raise OptionError("At least one learning rate must be above 0, all are 0: set one.")
        if not self.reconstruction and not self.logits:
            raise OptionError(
                "The loss must hold the layers' errors or the logits' divergence, both weights are "
                "0: set `reconstruction` or `logits`."
            )


@PTQ_METHODS.register(
    "eptq",
    title="EPTQ: network-wise, by attention",
    answers="What does the network measure when all its roundings are trained together?",
    reference="Gordon et al. 2023 (EPTQ), arXiv:2309.11531",
    needs=(TRAINED,),
    options=EptqOptions,
    cost="a pass and a backward pass over a batch a step",
)
def eptq(task: PTQTask, options: EptqOptions) -> Work[Quantization]:
    """Train roundings, scales, biases and activation steps of the whole network.

    It begins with what rounding to nearest gives. Roundings are fixed one after the other, the
    surest first, while the rest makes up for them, so that the network that is trained towards is
    the one that is returned. An eighth of the samples, at most 128, is held out; where the trained
    network diverges more from the float one there than rounding to nearest, that is returned.
    """
    start = yield from held_at(nearest(task, Options()), 0, options.steps)
    if not start.weights:
        yield Note("No weight is quantized: nothing is trained.")
        return start
    student = Student.of(task.network, start, task.settings)
    calls = [layer.calls[0] for layer in task.network.table.layers if layer.name in student.weights]
    teacher = Teacher(task.network, calls, task.inputs, task.n, options.memory_mib)
    yield from held_at(teacher.work(), 0, options.steps)
    if not teacher.kept:
        yield Note(
            f"The float outputs take {mebibytes(teacher.mib)}, more than "
            f"{mebibytes(options.memory_mib)}: they are computed again for every batch."
        )
    held_out = min(128, task.n // 8)
    yield from few(task.n - held_out, "trained on")
    course = Course(
        schedule=_SCHEDULES[options.hardening](options.steps),
        rates=Rates(
            options.rounding_rate, options.scale_rate, options.bias_rate, options.step_rate
        ),
        batch_size=options.batch_size,
        seed=options.seed,
        optimizer=options.optimizer,
        activations=options.activations,
        reconstruction=options.reconstruction,
        logits=options.logits,
        regularizer=options.regularizer,
    )
    weighing = importance(
        teacher,
        options.weighting,
        probes=options.probes,
        seed=options.seed,
        memory_mib=options.memory_mib,
    )
    weights = yield from held_at(weighing, 0, options.steps)
    found = yield from train(student, start, teacher, weights, course, held_out, task.parts)
    rows = torch.arange(task.n - held_out if held_out else 0, task.n)
    before, _ = divergence(student, start, teacher, rows)
    after, agreement = divergence(student, found, teacher, rows)
    looked_at = sample_count(len(rows), "held-out" if held_out else "training")
    said = (
        f"on {looked_at} the KL from the float network is {after:.3g} nats after training, "
        f"{before:.3g} rounded to nearest"
    )
    if not found.weight_values or not after <= before:
        yield Note(f"Rounding to nearest is kept: {said}.")
        return replace(start, log=found.log, logged=found.logged)
    yield Note(f"{said[0].upper()}{said[1:]}; {agreement:.1%} keep its prediction.")
    yield Note(_moved(task.network, start, found))
    return found


def _moved(network: Network, start: Quantization, found: Quantization) -> str:
    """Say how many weights are rounded differently from nearest."""
    shares = moved_shares(network, start, found)
    sizes = {name: network.weight(network.layer(name)).numel() for name in shares}
    if not any(shares.values()):
        return "Every weight is rounded to the nearest level."
    most = max(shares, key=lambda name: shares[name])
    whole = sum(share * sizes[name] for name, share in shares.items()) / sum(sizes.values())
    return (
        f"{percent(whole)} of the weights are not rounded to the nearest level, most in `{most}` "
        f"({percent(shares[most])})."
    )
