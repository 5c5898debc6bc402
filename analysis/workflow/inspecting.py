"""From an allocation to what it does to single samples."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch

from analysis.attribution.inputs import METHODS, attribute, drift
from analysis.catalog import study_key_inputs
from analysis.commands import command_line
from analysis.errors import DataError, UnknownNameError
from analysis.evaluation.accuracy import logits
from analysis.events import Progress, Work
from analysis.models.network import NOTHING
from analysis.records import Attributions, FloatArray, Inspection, Study
from analysis.sensitivity.outputs import kl_divergence
from analysis.sensitivity.task import CALIBRATION
from analysis.steps import Step, StoredParts
from analysis.workflow.opening import BATCH
from analysis.workflow.recipe import Recipe, quantized
from analysis.workspace import Workspace, calibration_inputs, evaluation_inputs

_AT_ONCE = 8


def inspect(
    workspace: Workspace,
    study: Study,
    recipe: Recipe,
    *,
    data: str = CALIBRATION,
) -> Step[Inspection]:
    """Predict every sample of a set with the float and with the quantized network.

    Args:
        workspace: Where to work.
        study: The study.
        recipe: How the network is quantized.
        data: ``calibration`` or ``evaluation``.
    """

    def work(parts: StoredParts) -> Work[Inspection]:
        del parts
        begin = perf_counter()
        loaded = workspace.live(study)
        own = calibration_inputs(loaded) if data == CALIBRATION else evaluation_inputs(loaded)
        n = study.calibration.n if data == CALIBRATION else study.evaluation.n
        plain = yield from logits(loaded.network, own, n, batch_size=BATCH, message="float network")
        made = yield from quantized(workspace, study, recipe)
        changed = yield from logits(
            made.network, own, n, plan=made.plan, batch_size=BATCH, message="quantized network"
        )
        classes = plain.argmax(1)
        return Inspection(
            allocation=recipe.allocation,
            method=recipe.method,
            settings=recipe.settings,
            data=data,
            n=n,
            float_class=classes,
            quantized_class=changed.argmax(1),
            float_margin=margins(plain, classes),
            quantized_margin=margins(changed, classes),
            divergence=kl_divergence(torch.tensor(plain), torch.tensor(changed)).numpy(),
            seconds=perf_counter() - begin,
        )

    return Step(
        name="inspect",
        version=recipe.version,
        title="Predictions of single samples",
        command=command_line("inspect", study.spec, recipe.flags | {"set": data}),
        record=Inspection,
        inputs=study_key_inputs(study),
        options=recipe.key | {"data": data},
        work=work,
    )


def attributions(
    workspace: Workspace,
    study: Study,
    recipe: Recipe,
    samples: Sequence[int],
    attribution: str = METHODS[0],
    *,
    steps: int = 32,
    data: str = CALIBRATION,
) -> Step[Attributions]:
    """Attribute the float network's classes to pixels, in the float and the quantized network.

    Args:
        workspace: Where to work.
        study: The study.
        recipe: How the network is quantized.
        samples: Numbers of the samples.
        attribution: ``integrated_gradients``, ``saliency`` or ``grad_cam``.
        steps: Steps of the path, for integrated gradients.
        data: ``calibration`` or ``evaluation``.

    Raises:
        UnknownNameError: If there is no such attribution.
        DataError: If a sample is not in the set.
    """
    if attribution not in METHODS:
        raise UnknownNameError("attribution", attribution, METHODS)
    n = study.calibration.n if data == CALIBRATION else study.evaluation.n
    beyond = [sample for sample in samples if not 0 <= sample < n]
    if beyond or not samples:
        raise DataError(
            f"Samples must be numbers from 0 to {n - 1} of the {data} set, got "
            f"{', '.join(map(str, beyond[:3])) or 'none'}. Choose others."
        )

    def work(parts: StoredParts) -> Work[Attributions]:
        del parts
        begin = perf_counter()
        loaded = workspace.live(study)
        own = calibration_inputs(loaded) if data == CALIBRATION else evaluation_inputs(loaded)
        made = yield from quantized(workspace, study, recipe)
        targets: list[int] = []
        maps: tuple[list[FloatArray], list[FloatArray]] = ([], [])
        for first in range(0, len(samples), _AT_ONCE):
            chosen = samples[first : first + _AT_ONCE]
            x = torch.cat([own(range(sample, sample + 1)) for sample in chosen])
            with torch.no_grad():
                target = loaded.network(x).argmax(1)
            targets += target.tolist()
            both = ((loaded.network, NOTHING), (made.network, made.plan))
            for found, (network, plan) in zip(maps, both, strict=True):
                found.append(attribute(network, plan, x, target, attribution, steps))
            done = min(first + _AT_ONCE, len(samples))
            yield Progress(done, len(samples), f"{done} of {len(samples)} samples")
        plain, changed = (np.concatenate(found) for found in maps)
        return Attributions(
            method=attribution,
            steps=steps,
            data=data,
            samples=np.array(samples),
            targets=np.array(targets),
            float_maps=plain,
            quantized_maps=changed,
            drift=drift(plain, changed),
            seconds=perf_counter() - begin,
        )

    wanted = {
        "attribution": attribution,
        "numbers": ",".join(map(str, samples)),
        "set": data,
        "path-steps": steps,
    }
    return Step(
        name="attributions",
        version=recipe.version,
        title="What the networks look at",
        command=command_line("inspect", study.spec, recipe.flags | wanted),
        record=Attributions,
        inputs=study_key_inputs(study),
        options=recipe.key
        | {
            "data": data,
            "samples": list(samples),
            "attribution": attribution,
            "steps": steps,
        },
        work=work,
    )


def margins(outputs: FloatArray, classes: np.ndarray[Any, np.dtype[np.int64]]) -> FloatArray:
    """Return the logit of each sample's class minus its largest other logit, (N,)."""
    rows = np.arange(len(outputs))
    others = outputs.copy()
    others[rows, classes] = -np.inf
    return np.asarray(outputs[rows, classes] - others.max(1))
