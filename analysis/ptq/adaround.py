"""AdaRound: every layer's roundings are trained towards its float output."""

from dataclasses import dataclass

from analysis.events import Work
from analysis.options import Options, option
from analysis.ptq.reconstruction import reconstruct
from analysis.ptq.task import PTQ_METHODS, TRAINED, PTQTask
from analysis.ptq.unit_training import Course
from analysis.quant.configure import Quantization


@dataclass(frozen=True, slots=True)
class AdaroundOptions(Options):
    """Options of :func:`adaround`."""

    iterations: int = option(300, low=1, high=1_000_000, help="Batches that each layer sees.")
    batch_size: int = option(32, low=1, high=4096, help="Samples of a batch.")
    rounding_rate: float = option(0.1, low=1e-6, high=10, help="Learning rate of the roundings.")
    memory_mib: int = option(
        1024, low=0, high=1_000_000, help="Memory for activations of all samples, in MiB."
    )
    seed: int = option(0, low=0, high=2**31 - 1, help="Seed of the order of the samples.")


@PTQ_METHODS.register(
    "adaround",
    title="AdaRound: layer by layer, trained roundings",
    answers="How much of a layer's output error goes away when its roundings are trained together?",
    reference="Nagel et al. 2020, arXiv:2004.10568",
    needs=(TRAINED,),
    options=AdaroundOptions,
    cost="a pass and a backward pass of each layer over a batch an iteration",
)
def adaround(task: PTQTask, options: AdaroundOptions) -> Work[Quantization]:
    """Train the roundings of one layer after the other behind the quantized layers before it.

    The error is that of the layer's output behind the activation function that follows, all
    elements the same. Instead of the paper's regulariser the surest roundings are fixed step by
    step. Scales, biases and activation steps stay those of rounding to nearest.
    """
    course = Course(
        units="layer",
        iterations=options.iterations,
        batch_size=options.batch_size,
        rounding_rate=options.rounding_rate,
        step_rate=0.0,
        drop=False,
        fisher=None,
        memory_mib=options.memory_mib,
        seed=options.seed,
    )
    result = yield from reconstruct(task, course)
    return result
