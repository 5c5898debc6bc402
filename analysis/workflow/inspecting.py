"""From an allocation to what it does to single samples."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch

from analysis.attribution.inputs import METHODS, attribute, drift
from analysis.catalog import study_key_inputs
from analysis.commands import changed_options, changed_settings, command_line
from analysis.errors import DataError, UnknownNameError
from analysis.evaluation.accuracy import logits
from analysis.events import Progress, Work
from analysis.models.network import NOTHING
from analysis.options import Options, as_dict
from analysis.ptq import PTQ_METHODS
from analysis.quant.configure import plan_of
from analysis.records import Allocation, Attributions, FloatArray, Inspection, QuantSettings, Study
from analysis.sensitivity.outputs import kl_divergence
from analysis.sensitivity.task import CALIBRATION
from analysis.steps import Step, StoredParts
from analysis.workflow.measuring import quantized
from analysis.workflow.opening import BATCH
from analysis.workspace import Workspace, calibration_inputs, evaluation_inputs

_AT_ONCE = 8


def inspect(
    workspace: Workspace,
    study: Study,
    allocation: Allocation,
    method: str = "nearest",
    *,
    options: Options | None = None,
    settings: QuantSettings | None = None,
    data: str = CALIBRATION,
    file: str = "allocation.json",
) -> Step[Inspection]:
    """Predict every sample of a set with the float and with the quantized network.

    Args:
        workspace: Where to work.
        study: The study.
        allocation: Format of every layer.
        method: A registered post-training method.
        options: The method's options; None for its defaults.
        settings: How formats become quantizers.
        data: ``calibration`` or ``evaluation``.
        file: Allocation file that the equal command line names.

    Raises:
        UnknownNameError: If there is no such method.
    """
    made = _made_by(method, options, settings)

    def work(parts: StoredParts) -> Work[Inspection]:
        del parts
        begin = perf_counter()
        loaded = workspace.live(study)
        own = calibration_inputs(loaded) if data == CALIBRATION else evaluation_inputs(loaded)
        n = study.calibration.n if data == CALIBRATION else study.evaluation.n
        plain = yield from logits(loaded.network, own, n, batch_size=BATCH, message="float network")
        quantization = yield from quantized(
            workspace, study, allocation, method, options=made.options, settings=made.settings
        )
        plan = plan_of(loaded.network, quantization, made.settings)
        changed = yield from logits(
            loaded.network, own, n, plan=plan, batch_size=BATCH, message="quantized network"
        )
        classes = plain.argmax(1)
        return Inspection(
            allocation=allocation,
            method=method,
            settings=made.settings,
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
        version=PTQ_METHODS[method].version,
        title="Predictions of single samples",
        command=command_line("inspect", study.spec, made.flags | {"allocation": file, "set": data}),
        record=Inspection,
        inputs=study_key_inputs(study),
        options=made.key | {"allocation": _texts(allocation), "data": data},
        work=work,
    )


def attributions(
    workspace: Workspace,
    study: Study,
    allocation: Allocation,
    samples: Sequence[int],
    attribution: str = METHODS[0],
    *,
    steps: int = 32,
    method: str = "nearest",
    options: Options | None = None,
    settings: QuantSettings | None = None,
    data: str = CALIBRATION,
    file: str = "allocation.json",
) -> Step[Attributions]:
    """Attribute the float network's classes to pixels, in the float and the quantized network.

    Args:
        workspace: Where to work.
        study: The study.
        allocation: Format of every layer.
        samples: Numbers of the samples.
        attribution: ``integrated_gradients``, ``saliency`` or ``grad_cam``.
        steps: Steps of the path, for integrated gradients.
        method: A registered post-training method.
        options: The method's options; None for its defaults.
        settings: How formats become quantizers.
        data: ``calibration`` or ``evaluation``.
        file: Allocation file that the equal command line names.

    Raises:
        UnknownNameError: If there is no such attribution or method.
        DataError: If a sample is not in the set.
    """
    made = _made_by(method, options, settings)
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
        quantization = yield from quantized(
            workspace, study, allocation, method, options=made.options, settings=made.settings
        )
        plan = plan_of(loaded.network, quantization, made.settings)
        targets: list[int] = []
        maps: tuple[list[FloatArray], list[FloatArray]] = ([], [])
        for first in range(0, len(samples), _AT_ONCE):
            chosen = samples[first : first + _AT_ONCE]
            x = torch.cat([own(range(sample, sample + 1)) for sample in chosen])
            with torch.no_grad():
                target = loaded.network(x).argmax(1)
            targets += target.tolist()
            for found, used in zip(maps, (NOTHING, plan), strict=True):
                found.append(attribute(loaded.network, used, x, target, attribution, steps))
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

    wanted = {"attribution": attribution, "numbers": ",".join(map(str, samples)), "set": data}
    return Step(
        name="attributions",
        version=PTQ_METHODS[method].version,
        title="What the networks look at",
        command=command_line(
            "inspect", study.spec, made.flags | wanted | {"allocation": file, "path-steps": steps}
        ),
        record=Attributions,
        inputs=study_key_inputs(study),
        options=made.key
        | {
            "allocation": _texts(allocation),
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


@dataclass(frozen=True, slots=True)
class _MadeBy:
    """How a network is quantized, defaults filled in: live, as part of a key, as flags."""

    options: Options
    settings: QuantSettings
    key: dict[str, Any]
    flags: dict[str, Any]


def _made_by(method: str, options: Options | None, settings: QuantSettings | None) -> _MadeBy:
    options = PTQ_METHODS[method].options() if options is None else options
    settings = settings or QuantSettings()
    return _MadeBy(
        options,
        settings,
        {"method": method, "options": as_dict(options), "settings": asdict(settings)},
        {"method": method} | changed_options(method=options) | changed_settings(settings),
    )


def _texts(allocation: Allocation) -> dict[str, str]:
    return {name: candidate.text for name, candidate in allocation.as_dict().items()}
