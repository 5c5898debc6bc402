"""From a quantized network to what its method changed, layer by layer."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from analysis.commands import command_line
from analysis.errors import OptionError
from analysis.events import Progress, Work
from analysis.models.network import NOTHING, Network
from analysis.models.replay import Plan
from analysis.ptq import PTQ_METHODS
from analysis.ptq.moved import moved_shares
from analysis.ptq.teacher import Watched
from analysis.records import FloatArray, Recovery, Study
from analysis.steps import Step, StoredParts
from analysis.workflow.opening import model_inputs
from analysis.workflow.recipe import Recipe, quantized
from analysis.workflow.within import within
from analysis.workspace import Workspace, calibration_inputs

NEAREST = "nearest"
SAMPLES = 256
_BATCH = 32
# Square of what rounding changes in an output when other samples stand beside it in the batch.
_ROUNDING = 1e-12


def recovery(workspace: Workspace, study: Study, recipe: Recipe) -> Step[Recovery]:
    """Compare a quantized network with what rounding to nearest makes of the same formats.

    A method that trains is read from its stored training, any other one runs again.

    Args:
        workspace: Where to work.
        study: The study.
        recipe: The allocation and how it is realised.

    Raises:
        OptionError: If the recipe itself rounds to nearest.
    """
    if recipe.method == NEAREST:
        raise OptionError(
            "What a method recovers must be compared with rounding to nearest, which this recipe "
            "itself does: choose another method."
        )

    def work(parts: StoredParts) -> Work[Recovery]:
        del parts
        begin = perf_counter()
        plain = replace(recipe, method=NEAREST, options=None)
        start = quantized(workspace, study, plain)
        before = yield from within(start, 0, 3, NEAREST, notes=False)
        made = quantized(workspace, study, recipe)
        # What it notes is in the configuration that was measured.
        after = yield from within(made, 1, 3, recipe.method, notes=False)
        network = after.network
        numbers = spread(study.calibration.n)
        inputs = calibration_inputs(workspace.live(study))
        measured = output_errors(network, (before.plan, after.plan), inputs, numbers)
        errors = yield from within(measured, 2, 3, "layer outputs")
        layers = network.table.layers
        moved = moved_shares(network, before.quantization, after.quantization)
        return Recovery(
            method=recipe.method,
            layers=network.table.names,
            weights=np.array([network.weight(layer).numel() for layer in layers], dtype=np.int64),
            moved=np.array([moved.get(name, np.nan) for name in network.table.names]),
            split=tuple(n for n in network.table.names if n in after.quantization.splits),
            before=errors[0],
            after=errors[1],
            n=len(numbers),
            calibration=study.calibration.digest,
            seconds=perf_counter() - begin,
        )

    return Step(
        name="recovery",
        version=2,
        title=f"What {PTQ_METHODS[recipe.method].title} changed in every layer",
        command=command_line("quantize", study.spec, recipe.flags | {"recovery": True}),
        record=Recovery,
        inputs=model_inputs(study) | {"calibration": study.calibration.digest},
        options=recipe.key | {"method_version": recipe.version, "samples": SAMPLES},
        work=work,
    )


def spread(n: int) -> range:
    """Return the numbers of at most :data:`SAMPLES` of n samples, evenly over all of them."""
    return range(0, n, max(1, ceil(n / SAMPLES)))


def output_errors(
    network: Network,
    plans: Sequence[Plan],
    inputs: Callable[[range], Tensor],
    numbers: range,
) -> Work[FloatArray]:
    """Return the errors of every layer's output under each plan, relative to its variance, (P, L).

    Args:
        network: The network.
        plans: What quantizes it.
        inputs: Returns the samples with the given numbers, (B, ...).
        numbers: The samples.
    """
    layers = network.table.layers
    owners = [place for place, layer in enumerate(layers) for _ in layer.calls]
    watched = Watched(network, [call for layer in layers for call in layer.calls])
    errors = np.zeros((len(plans), len(layers)))
    squares = np.zeros(len(layers))
    sums: list[Tensor | float] = [0.0] * len(owners)
    for start in range(0, len(numbers), _BATCH):
        batch = numbers[start : start + _BATCH]
        x = inputs(batch)
        plain = _outputs(watched, x, NOTHING)
        for at, (place, z) in enumerate(zip(owners, plain, strict=True)):
            exact = z.double()
            squares[place] += exact.square().sum().item()
            sums[at] = sums[at] + exact.sum(0)
        for which, plan in enumerate(plans):
            for place, z, own in zip(owners, plain, _outputs(watched, x, plan), strict=True):
                errors[which, place] += (own - z).square().sum(dtype=torch.float64).item()
        yield Progress(start + len(batch), len(numbers), f"{len(numbers)} calibration samples")
    varied = squares.copy()
    for place, total in zip(owners, sums, strict=True):
        varied[place] -= float(torch.as_tensor(total).square().sum()) / len(numbers)
    varied[varied <= _ROUNDING * squares] = np.nan
    return np.asarray(errors / varied)


def _outputs(watched: Watched, x: Tensor, plan: Plan) -> list[Tensor]:
    with torch.no_grad():
        watched.network(x, watched.plan.then(plan))
    return watched.outputs(len(x))
