"""A study: a model, a calibration set and an evaluation set that were loaded and fit together."""

import json
import os
import tomllib
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import get_type_hints

import numpy as np
import torch
from torch import Tensor, nn

from analysis.data.dataset import Dataset, Preprocessing, overlap
from analysis.data.sources import PATH_KINDS, load_data, locate
from analysis.errors import DataError, StudyError, UnknownNameError
from analysis.models.demo import DEMO_NORMALIZE
from analysis.models.sources import HUB, RANDOM, LoadedModel, load_model
from analysis.records import DataRef, ModelRef, Study, StudySpec

IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_CHECKED_SAMPLES = 2


@dataclass(frozen=True, slots=True)
class LiveStudy:
    """A study with its live objects; ``module`` is in evaluation mode."""

    study: Study
    module: nn.Module
    calibration: Dataset
    evaluation: Dataset

    @property
    def preprocessing(self) -> Preprocessing:
        """What is applied to pixels in 0..1 before the model reads them."""
        return Preprocessing(self.study.mean, self.study.std)


def demo_spec(name: str = "digits-resnet") -> StudySpec:
    """Return the embedded study of one of the demo networks."""
    return StudySpec(
        name=f"Demo: {name}",
        model=f"demo:{name}",
        calibration="demo:digits",
        evaluation="demo:digits",
        normalize=DEMO_NORMALIZE,
    )


def read_spec(path: Path | str) -> StudySpec:
    """Read a study file: TOML with the fields of :class:`StudySpec` as keys.

    Raises:
        StudyError: If the file is missing or no TOML, or a field is missing or of another type.
        UnknownNameError: If it has a key that is no field.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(
            f"The study file must be readable, got `{path}`: {error.strerror}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"The study file `{path.name}` must be TOML, got: {error}.") from error
    types = get_type_hints(StudySpec)
    for key, value in content.items():
        if key not in types:
            raise UnknownNameError(f"setting of a study (in `{path.name}`)", key, types)
        if type(value) is not types[key]:
            kind = {str: "a text in quotes", int: "a whole number"}[types[key]]
            raise StudyError(f"`{key}` in `{path.name}` must be {kind}, got {value!r}.")
    missing = [f.name for f in fields(StudySpec) if f.default is MISSING and f.name not in content]
    if missing:
        raise StudyError(
            f"The study file `{path.name}` must name {', '.join(missing)}, got "
            f'{", ".join(content) or "nothing"}. Add a line like `{missing[0]} = "..."`.'
        )
    return StudySpec(**content)


def study_toml(spec: StudySpec) -> str:
    """Return the text of a study file; fields at their defaults are left out."""
    return "".join(
        f"{f.name} = {_toml(getattr(spec, f.name))}\n"
        for f in fields(spec)
        if f.default is MISSING or getattr(spec, f.name) != f.default
    )


def write_spec(spec: StudySpec, path: Path | str) -> None:
    """Write a study file, see :func:`study_toml`.

    Raises:
        StudyError: If the file cannot be written.
    """
    try:
        Path(path).write_text(study_toml(spec), encoding="utf-8")
    except OSError as error:
        raise StudyError(
            f"The study file must be writable, got `{path}`: {error.strerror}."
        ) from error


def absolute_spec(spec: StudySpec, base: Path | None) -> StudySpec:
    """Return a spec whose paths are absolute, so that it means the same from any folder.

    Args:
        spec: The study.
        base: Folder of the study file, where relative paths are looked up first.
    """
    weights = spec.weights
    if weights not in ("", HUB, RANDOM):
        weights = os.path.abspath(locate(weights, base))
    return replace(
        spec,
        weights=weights,
        calibration=_absolute_data(spec.calibration, base),
        evaluation=_absolute_data(spec.evaluation, base),
    )


def open_study(
    spec: StudySpec, *, allow_factory: bool, base: Path | None = None, check_forward: bool = True
) -> LiveStudy:
    """Load what a study names and check that the parts fit together.

    Args:
        spec: The study.
        allow_factory: Whether the spec comes from a study file or the command line.
        base: Folder of the study file, where relative paths are looked up first.
        check_forward: Whether to run two samples through the model; without it the number of
            classes is unknown (0) and labels are not checked against it.

    Raises:
        AnalysisError: If a part cannot be loaded, the model does not take the images or does not
            return finite (N, classes) scores, labels exceed the classes, the sets differ in shape,
            or all evaluation images are calibration images too.
    """
    weights = spec.weights
    if weights not in ("", HUB, RANDOM):
        weights = str(locate(weights, base))
    model = load_model(spec.model, weights, allow_factory=allow_factory)
    calibration = load_data(
        spec.calibration,
        role="calibration",
        input_size=spec.input_size,
        limit=spec.samples,
        seed=spec.seed,
        base=base,
    )
    evaluation = load_data(
        spec.evaluation,
        role="evaluation",
        input_size=spec.input_size,
        limit=spec.evaluation_samples,
        seed=spec.seed,
        base=base,
    )
    _check_shapes(calibration, evaluation)
    preprocessing = read_normalize(spec.normalize, calibration.sample_shape[0])
    num_classes = _run(model, calibration, preprocessing) if check_forward else 0
    if check_forward:
        _check_labels(calibration, num_classes, "calibration")
        _check_labels(evaluation, num_classes, "evaluation")
    study = Study(
        spec=spec,
        model=ModelRef(
            source=model.source,
            digest=model.digest,
            input_shape=calibration.sample_shape,
            num_classes=num_classes,
            num_params=model.num_params,
        ),
        calibration=_reference(calibration),
        evaluation=_reference(evaluation),
        mean=preprocessing.mean,
        std=preprocessing.std,
        notes=(*model.notes, *_warnings(calibration, evaluation, num_classes)),
    )
    return LiveStudy(study, model.module, calibration, evaluation)


def read_normalize(text: str, channels: int) -> Preprocessing:
    """Read ``imagenet``, ``none`` or ``MEAN;STD``, where one value stands for every channel.

    Raises:
        StudyError: If it is none of these, a std is not positive, or it does not fit ``channels``.
    """
    if text == "none":
        return Preprocessing((0.0,) * channels, (1.0,) * channels)
    if text == "imagenet":
        found = IMAGENET
    else:
        mean, _, std = text.partition(";")
        try:
            found = Preprocessing(_numbers(mean), _numbers(std))
        except ValueError as error:
            raise StudyError(
                "`normalize` must be `imagenet`, `none` or `MEAN;STD` with comma-separated numbers "
                f"(`0.5,0.5,0.5;0.2,0.2,0.2`), got `{text}`."
            ) from error
    if not (np.isfinite([*found.mean, *found.std]).all() and min(found.std) > 0):
        raise StudyError(f"`normalize` must have finite means and positive stds, got `{text}`.")
    if {len(found.mean), len(found.std)} - {1, channels}:
        raise StudyError(
            f"`normalize` must have one mean and one std for each of {channels} channel(s), or one "
            f"for all, got `{text}` with {len(found.mean)} and {len(found.std)}."
        )
    return Preprocessing(_spread(found.mean, channels), _spread(found.std, channels))


def _run(model: LoadedModel, data: Dataset, preprocessing: Preprocessing) -> int:
    """Run a few samples through the model and return the number of classes."""
    x = data.to_tensor(slice(0, _CHECKED_SAMPLES), preprocessing.mean, preprocessing.std)
    try:
        with torch.no_grad():
            output = model.module(x)
    except Exception as error:  # a model may raise anything on input of another shape
        raise StudyError(_refusal(model, data, error)) from error
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(x):
        got = (
            f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        )
        raise StudyError(
            f"`{model.source}` must return class scores of shape (N, classes), got {got} for "
            f"N = {len(x)}. Only image classification can be studied."
        )
    if not output.is_floating_point() or not bool(torch.isfinite(output).all()):
        raise StudyError(
            f"`{model.source}` must return finite scores, got NaN, infinity or whole numbers for "
            "the first calibration samples. Check the weights and `normalize`."
        )
    return int(output.shape[1])


def _refusal(model: LoadedModel, data: Dataset, error: Exception) -> str:
    channels, height, width = data.sample_shape
    for name, module in model.module.named_modules():
        if isinstance(module, nn.Conv2d):
            if module.in_channels != channels:
                return (
                    f"`{model.source}` must get images of {module.in_channels} channel(s) (its "
                    f"`{name}` reads as many), got {channels} from `{data.source}`. "
                    "Choose data, or a model, with the same number of channels."
                )
            break
    return (
        f"`{model.source}` must take images of shape {channels} x {height} x {width}, got "
        f"{type(error).__name__}: {error}. Set the input size that the model was made for."
    )


def _check_shapes(calibration: Dataset, evaluation: Dataset) -> None:
    if calibration.sample_shape != evaluation.sample_shape:
        same_channels = calibration.sample_shape[0] == evaluation.sample_shape[0]
        remedy = "Set the input size." if same_channels else "Choose sets of one kind."
        raise DataError(
            "Calibration and evaluation images must have one shape (channels, height, width), got "
            f"{calibration.sample_shape} from `{calibration.source}` and "
            f"{evaluation.sample_shape} from `{evaluation.source}`. {remedy}"
        )


def _check_labels(data: Dataset, num_classes: int, role: str) -> None:
    if data.labels is not None and int(data.labels.max()) >= num_classes:
        raise DataError(
            f"Labels of the {role} set must be below the model's {num_classes} classes, got "
            f"{int(data.labels.max())} in `{data.source}`. Choose the weights or the data of the "
            "same task."
        )


def _warnings(calibration: Dataset, evaluation: Dataset, num_classes: int) -> list[str]:
    notes = []
    shared = overlap(calibration, evaluation)
    if shared == len(evaluation):
        raise DataError(
            f"Evaluation images must not all be calibration images, got {shared} of {shared} that "
            f"are. Evaluate on other data than `{calibration.source}`."
        )
    if shared:
        notes.append(
            f"{shared} of {len(evaluation)} evaluation images are also calibration images: "
            "measured accuracies look better than they are."
        )
    if evaluation.labels is None:
        notes.append("The evaluation set has no labels: accuracy cannot be measured.")
    for data in (calibration, evaluation):
        if num_classes and data.class_names and len(data.class_names) != num_classes:
            notes.append(
                f"The model tells {num_classes} classes apart, `{data.source}` names "
                f"{len(data.class_names)}: check that class indices mean the same."
            )
    return list(dict.fromkeys(notes))


def _reference(data: Dataset) -> DataRef:
    return DataRef(
        source=data.source,
        digest=data.digest,
        n=len(data),
        sample_shape=data.sample_shape,
        labelled=data.labels is not None,
        class_names=data.class_names,
        notes=data.notes,
    )


def _absolute_data(text: str, base: Path | None) -> str:
    kind, _, path = text.partition(":")
    if kind not in PATH_KINDS or not path:
        return text
    return f"{kind}:{os.path.abspath(locate(path, base))}"


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _spread(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values * channels if len(values) == 1 else values


def _toml(value: str | int) -> str:
    # A JSON string is a TOML string but for this one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
