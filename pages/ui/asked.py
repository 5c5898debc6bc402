"""From what a browser asked for to a study's spec: everything is checked again here.

The only models that can come out of this are those of :data:`SOURCES`: a factory runs code, and no
spec that begins with one can be built.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from analysis.errors import OptionError, StudyError, UnknownNameError
from analysis.records import StudySpec

SOURCES = {"demo": "Embedded demo", "torchvision": "torchvision", "timm": "timm"}
RANDOM, HUB, SHIPPED, FILE = "random", "hub", "shipped", "upload"
WEIGHTS = {
    "demo": (SHIPPED, FILE, RANDOM),
    "torchvision": (FILE, HUB, RANDOM),
    "timm": (FILE, HUB, RANDOM),
}
DIGITS = "demo:digits"
MAX_SIDE, MAX_SAMPLES, MAX_SEED = 1024, 10_000_000, 2**31 - 1
_MAX_NAME = 80
_ARCHITECTURE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the form holds.

    ``weights`` is one of :data:`WEIGHTS`; ``weights_file``, ``calibration`` and ``evaluation`` come
    from the server's own code, not from the browser, and are empty while nothing was chosen.
    """

    source: str
    architecture: str
    weights: str
    weights_file: str
    calibration: str
    evaluation: str
    normalize: str
    input_size: int
    samples: int
    evaluation_samples: int
    seed: int
    name: str


@lru_cache(maxsize=4)
def architectures(source: str) -> tuple[str, ...]:
    """Return the names of a source's models; imports torchvision or timm on first use.

    Raises:
        UnknownNameError: If there is no such source.
    """
    if source not in SOURCES:
        raise UnknownNameError("source of models", source, SOURCES)
    if source == "demo":
        from analysis.demo_studies import DEMOS

        return tuple(demo.spec.model.partition(":")[2] for demo in DEMOS)
    from analysis.models.vision_ops import import_timm, import_torchvision

    if source == "timm":
        return tuple(sorted(import_timm().list_models()))
    models = import_torchvision().models
    return tuple(models.list_models(module=models))


def check_architecture(source: str, architecture: str) -> str:
    """Return the name of a model that there is; timm's may end in a tag (``.a1_in1k``).

    Raises:
        StudyError: If it is no name at all.
        UnknownNameError: If there is no such source or model; with the nearest names.
    """
    known = architectures(source)
    if not _ARCHITECTURE.fullmatch(architecture):
        raise StudyError(
            "The name of a model must be letters, digits, dots, dashes and underscores, got "
            f"`{architecture[:_MAX_NAME]}`. Choose one from the list."
        )
    stem = architecture.partition(".")[0] if source == "timm" else architecture
    if stem not in known:
        raise UnknownNameError(f"{source} model", architecture, known)
    return architecture


def build(asked: Asked) -> StudySpec:
    """Return the spec of what was asked for.

    Raises:
        AnalysisError: If a part is missing, unknown or outside its range.
    """
    architecture = check_architecture(asked.source, asked.architecture)
    if asked.weights not in WEIGHTS[asked.source]:
        raise UnknownNameError("kind of weights", asked.weights, WEIGHTS[asked.source])
    if asked.weights == FILE and not asked.weights_file:
        raise StudyError("The weights must be uploaded first: choose a file, or other weights.")
    for role, spec in (("calibration", asked.calibration), ("evaluation", asked.evaluation)):
        if not spec:
            raise StudyError(f"The {role} set must be chosen first: upload a file or pick a set.")
    _check_range("The input size", asked.input_size, MAX_SIDE)
    _check_range("The number of calibration samples", asked.samples, MAX_SAMPLES)
    _check_range("The number of evaluation samples", asked.evaluation_samples, MAX_SAMPLES)
    _check_range("The seed", asked.seed, MAX_SEED)
    name = " ".join(asked.name.split())
    if not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise StudyError(f"A study must have a name of 1 to {_MAX_NAME} characters, got {name!r}.")
    weights = {RANDOM: "none", HUB: "hub", SHIPPED: "", FILE: asked.weights_file}[asked.weights]
    return StudySpec(
        model=f"{asked.source}:{architecture}",
        weights=weights,
        calibration=asked.calibration,
        evaluation=asked.evaluation,
        normalize=_normalize(asked.normalize),
        input_size=asked.input_size,
        samples=asked.samples,
        evaluation_samples=asked.evaluation_samples,
        seed=asked.seed,
        name=name,
    )


def _normalize(text: str) -> str:
    from analysis.study import read_normalize

    if text in ("none", "imagenet"):
        return text
    read_normalize(text, 1 + max(part.count(",") for part in text.split(";")))
    return text


def _check_range(what: str, value: int, high: int) -> None:
    if not 0 <= value <= high:
        raise OptionError(f"{what} must be in 0..{high:,}, got {value:,}.")
