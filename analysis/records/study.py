"""A model, a calibration set and an evaluation set."""

from dataclasses import dataclass

from analysis.records.base import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySpec(Record):
    """What a person writes down: the content of ``study.toml``.

    ``normalize`` is ``imagenet``, ``none`` or ``MEAN;STD`` with comma-separated channel values for
    images in 0..1. ``input_size`` is the side in pixels the images are brought to, 0 to keep their
    own. ``samples`` and ``evaluation_samples`` limit the sets, 0 for all.
    """

    model: str
    calibration: str
    evaluation: str
    weights: str = ""
    normalize: str = "none"
    input_size: int = 0
    samples: int = 0
    evaluation_samples: int = 0
    seed: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef(Record):
    """A loaded model: where it came from and the SHA-256 of its parameters and buffers."""

    source: str
    digest: str
    input_shape: tuple[int, ...]
    num_classes: int
    num_params: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRef(Record):
    """A loaded set of samples and the SHA-256 of its pixels and labels.

    ``notes`` says what was left out on loading (unreadable images, a limit on the samples).
    """

    source: str
    digest: str
    n: int
    sample_shape: tuple[int, ...]
    labelled: bool
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Study(Record):
    """A model, a calibration set and an evaluation set that were loaded and fit together.

    ``mean`` and ``std`` are applied per channel to pixels in 0..1. ``notes`` holds warnings, the
    overlap of the two sets among them.
    """

    spec: StudySpec
    model: ModelRef
    calibration: DataRef
    evaluation: DataRef
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()
    schema: int = 1
