"""Everything that is stored, plotted or exported: frozen records with read-only arrays.

Symbols in shapes: N samples, L layers, C candidates. No module and no tensor is ever inside a
record. ``schema`` is raised when the fields of a record change meaning.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from analysis.errors import QuantizationError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

FLOAT = "float"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Base of every record: arrays are copied and made read-only on construction."""

    def __post_init__(self) -> None:
        """Replace every array by a read-only copy."""
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                copy = np.array(value, order="C", copy=True)
                copy.flags.writeable = False
                object.__setattr__(self, f.name, copy)


# --- study ---------------------------------------------------------------------------------------


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


# --- layers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer(Record):
    """A weight that a convolution or linear call reads, under the user's own dotted name.

    Shapes are without the batch dimension. ``num_weights`` and ``num_biases`` count after BatchNorm
    folding. ``macs`` are multiply-accumulates per sample, summed over the layer's ``calls``.
    ``inputs`` are ids into :attr:`LayerTable.tensors`, one per call. Layers with equal
    ``activation_group`` read a common tensor, directly or through one another, and share their
    activation format. ``folded`` names the BatchNorm that was folded into the weight.
    """

    name: str
    kind: str
    weight_name: str
    weight_shape: tuple[int, ...]
    channel_axis: int
    output_shape: tuple[int, ...]
    num_weights: int
    num_biases: int
    macs: int
    activation_group: int
    calls: tuple[int, ...]
    inputs: tuple[int, ...]
    folded: str = ""
    pinned: bool = False

    @property
    def num_params(self) -> int:
        """Weights and biases after folding."""
        return self.num_weights + self.num_biases


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationTensor(Record):
    """A tensor that layers read: one quantizer, seen by every reader.

    ``call`` is the torch call that produced it, -1 for the network's input; ``slot`` the position
    among that call's outputs. ``shape`` is without the batch dimension. ``readers`` are the layers
    that read it; ``also_read_by`` the other calls that see its quantized values.
    """

    id: int
    call: int
    slot: int
    produced_by: str
    shape: tuple[int, ...]
    readers: tuple[str, ...]
    also_read_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped(Record):
    """Something that keeps its float values, and why."""

    name: str
    kind: str
    num_params: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTable(Record):
    """The layers of a model in the order in which they are first called."""

    model: str
    layers: tuple[Layer, ...]
    tensors: tuple[ActivationTensor, ...]
    skipped: tuple[Skipped, ...]
    params_before_folding: int
    params_after_folding: int
    schema: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers in order."""
        return tuple(layer.name for layer in self.layers)

    @property
    def groups(self) -> dict[int, tuple[str, ...]]:
        """Names of the layers in each activation group."""
        groups: dict[int, tuple[str, ...]] = {}
        for layer in self.layers:
            groups[layer.activation_group] = (*groups.get(layer.activation_group, ()), layer.name)
        return groups


# --- candidates and scores -----------------------------------------------------------------------

_CANDIDATE = re.compile(
    r"^w(?P<weight>float|[a-z]*[A-Za-z]*\d+\w*?)a(?P<activation>float|[a-z]*[A-Za-z]*\d+\w*)$"
)


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """One way to quantize a layer: the format of its weight and of the activation it reads.

    Formats are names of :mod:`analysis.quant.formats` ("int4"), or ``float`` for untouched.
    """

    weight: str
    activation: str

    @classmethod
    def parse(cls, text: str) -> "Candidate":
        """Read the short text form: ``w4a8``, ``wfloata8``, ``float``.

        Raises:
            QuantizationError: If the text has another form.
        """
        if text == FLOAT:
            return cls(FLOAT, FLOAT)
        match = _CANDIDATE.match(text)
        if match is None:
            raise QuantizationError(
                f"A candidate must look like `w4a8` (weight format, activation format) or `float`, "
                f"got `{text}`."
            )
        return cls(*(f"int{part}" if part.isdigit() else part for part in match.groups()))

    @property
    def text(self) -> str:
        """The short text form."""
        if self.weight == self.activation == FLOAT:
            return FLOAT
        weight, activation = (
            name.removeprefix("int") if name.startswith("int") else name
            for name in (self.weight, self.activation)
        )
        return f"w{weight}a{activation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantSettings(Record):
    """How formats become quantizers, the same for every layer.

    ``scope`` is ``tensor`` (every reader of a quantized tensor sees the quantized values) or
    ``layer_input`` (only the layer that reads it does). Range estimators are names of
    :mod:`analysis.quant.ranges`, ``percentile`` is the percentage used where it is chosen.
    ``pin_first_last`` holds the first and the last layer at 8 bits.
    """

    scope: str = "tensor"
    weight_range: str = "mse"
    activation_range: str = "mse"
    percentile: float = 99.9
    per_channel: bool = True
    pin_first_last: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable(Record):
    """Sensitivity of layers: finite, larger is worse, additive over layers, may be negative.

    ``values`` has shape (L,), or (L, C) when the metric scores candidates; ``stderr``, of the same
    shape, is the standard error of the mean over the ``n`` samples. ``per_sample`` has shape (N, L)
    and its own unit; ``per_sample_stderr`` is the error of the estimator (None where ``exact``),
    not of the sampling. ``protocol`` is ``isolated`` (only this layer is quantized) or
    ``accumulated``.
    """

    metric: str
    title: str
    unit: str
    layers: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    values: FloatArray
    stderr: FloatArray | None = None
    per_sample: FloatArray | None = None
    per_sample_unit: str = ""
    per_sample_stderr: FloatArray | None = None
    exact: bool
    protocol: str
    n: int
    seed: int
    forward_passes: int
    backward_passes: int
    seconds: float
    options: Mapping[str, bool | int | float | str]
    settings: QuantSettings
    calibration: str
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    schema: int = 1


# --- allocation ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(Record):
    """A resource and its limit.

    ``size`` and ``bops`` are ratios to the same network with every layer at w8a8, ``size_mib`` is
    in MiB (2^20 bytes), ``avg_bits`` in bits per quantizable weight.
    """

    resource: str
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse(Record):
    """What an allocation uses of a budget, in the budget's own unit."""

    resource: str
    limit: float
    used: float

    @property
    def slack(self) -> float:
        """What is left of the budget."""
        return self.limit - self.used


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation(Record):
    """A candidate for each layer, in the order of the layer table."""

    layers: tuple[str, ...]
    candidates: tuple[Candidate, ...]

    def as_dict(self) -> dict[str, Candidate]:
        """Candidates by layer name."""
        return dict(zip(self.layers, self.candidates, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs(Record):
    """What an allocation costs. ``size_mib`` counts every parameter of the model.

    Weights count their format's bits, everything else (biases, skipped modules) 32.
    ``bops`` = sum over layers of MACs x weight bits x activation bits, float counting 32.
    ``size_ratio`` and ``bops_ratio`` are relative to every layer at w8a8.
    """

    size_mib: float
    size_ratio: float
    compression: float
    bops: float
    bops_ratio: float
    avg_weight_bits: float
    avg_activation_bits: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution(Record):
    """An allocation with what is known about it.

    ``objective`` and ``lower_bound`` are in the unit of the score table; ``gap`` is
    (objective - lower_bound) relative to the objective. ``status`` is ``optimal`` (certified),
    ``feasible`` (no certificate) or ``timeout`` (best found, bound honest).
    """

    allocation: Allocation
    metric: str
    unit: str
    solver: str
    objective: float
    lower_bound: float | None
    gap: float | None
    status: str
    budgets: tuple[BudgetUse, ...]
    costs: Costs
    seconds: float
    notes: tuple[str, ...] = ()
    schema: int = 1


# --- measurement ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired(Record):
    """Two configurations on the same samples: top-1 difference with its 95 % interval.

    Differences are in 0..1, positive when the first is better. ``agreement`` is the share of equal
    predictions, ``p_value`` that of the exact McNemar test (1.0 when no sample differs, NaN without
    labels).
    """

    difference: float
    low: float
    high: float
    agreement: float
    p_value: float
    only_first: int
    only_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Record):
    """Measured behaviour on the evaluation set.

    ``top1``, ``low``, ``high`` are in 0..1 with the 95 % Wilson interval over ``n`` samples, NaN
    without labels; ``loss`` is the mean cross-entropy in nats, NaN without labels. ``predictions``
    and ``correct`` have shape (N,); ``kl`` is the mean KL divergence from the float outputs, nats.
    """

    n: int
    labelled: bool
    top1: float
    low: float
    high: float
    loss: float
    kl: float
    predictions: IntArray
    correct: BoolArray
    versus_float: Paired | None
    evaluation: str
    seconds: float
    schema: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatOutputs(Record):
    """Logits (N, C) of the folded float network on the evaluation set, and their accuracy."""

    logits: FloatArray
    measured: Evaluation
    schema: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRange(Record):
    """The quantizer of one tensor: format, scale and zero point per channel, clipped share."""

    name: str
    role: str
    format: str
    scale: FloatArray
    zero_point: FloatArray
    clipped: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration(Record):
    """A quantized model as it was built and measured."""

    name: str
    study: str
    method: str
    options: Mapping[str, bool | int | float | str]
    settings: QuantSettings
    allocation: Allocation
    costs: Costs
    ranges: tuple[TensorRange, ...]
    measured: Evaluation
    seconds: float
    notes: tuple[str, ...] = ()
    schema: int = 1
