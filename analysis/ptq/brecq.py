"""BRECQ: every block's roundings and activation steps are trained towards its float output."""

from dataclasses import dataclass

from analysis.events import Work
from analysis.options import Options, option
from analysis.ptq.reconstruction import reconstruct
from analysis.ptq.task import PTQ_METHODS, TRAINED, PTQTask
from analysis.ptq.unit_samples import Fisher
from analysis.ptq.unit_training import Course
from analysis.quant.configure import Quantization


@dataclass(frozen=True, slots=True)
class BrecqOptions(Options):
    """Options of :func:`brecq`."""

    units: str = option(
        "block",
        choices=("block", "layer"),
        help="What is trained at a time: all between two tensors that the whole network passes "
        "through, or a layer.",
    )
    iterations: int = option(300, low=1, high=1_000_000, help="Batches that each unit sees.")
    batch_size: int = option(32, low=1, high=4096, help="Samples of a batch.")
    weighting: str = option(
        "fisher",
        choices=("fisher", "none"),
        help="How much an error counts: by the squared gradient of the loss, for the labels that "
        "the float network expects; or all errors the same.",
    )
    rounding_rate: float = option(0.1, low=1e-6, high=10, help="Learning rate of the roundings.")
    step_rate: float = option(
        1e-3, low=0, high=1, help="Learning rate of the activations' steps; 0 keeps them."
    )
    activations: str = option(
        "drop",
        choices=("drop", "whole"),
        help="In training a random half of the activations' values is quantized (QDrop), or all.",
    )
    probes: int = option(
        10,
        low=1,
        high=10_000,
        help="Backward passes for the weighting; exact up to so many classes, else labels are "
        "drawn.",
    )
    memory_mib: int = option(
        1024, low=0, high=1_000_000, help="Memory for activations of all samples, in MiB."
    )
    seed: int = option(0, low=0, high=2**31 - 1, help="Seed of the order of the samples.")


@PTQ_METHODS.register(
    "brecq",
    title="BRECQ: block by block, trained roundings and steps",
    answers="How much is won when the layers of a block make up for one another?",
    reference="Li et al. 2021, arXiv:2102.05426; QDrop: Wei et al. 2022, arXiv:2203.05740",
    needs=(TRAINED,),
    options=BrecqOptions,
    cost="a pass and a backward pass of each block over a batch an iteration",
)
def brecq(task: PTQTask, options: BrecqOptions) -> Work[Quantization]:
    """Train roundings and activation steps of one block after the other.

    With `fisher` a squared error counts by the diagonal Fisher information of the float network's
    output there, the expectation over the labels that it predicts itself, where the paper takes the
    gradient of the labelled loss. One unit per layer, no weighting, no step rate and whole
    activations make it AdaRound.
    """
    course = Course(
        units=options.units,
        iterations=options.iterations,
        batch_size=options.batch_size,
        rounding_rate=options.rounding_rate,
        step_rate=options.step_rate,
        drop=options.activations == "drop",
        fisher=Fisher(options.probes, options.seed) if options.weighting == "fisher" else None,
        memory_mib=options.memory_mib,
        seed=options.seed,
    )
    result = yield from reconstruct(task, course)
    return result
