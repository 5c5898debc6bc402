"""What quantized layers do to the outputs, sample by sample: what several metrics are views of."""

from dataclasses import dataclass

from analysis.records.base import FloatArray, Record
from analysis.records.candidates import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputChanges(Record):
    """How the logits of N samples change when layers are quantized, (N, L, C).

    ``protocol`` is ``isolated`` (layer l alone is quantized to candidate c) or ``accumulated``
    (layers 0 to l are). ``divergence`` is KL(float || quantized) of the softmax outputs in nats,
    ``error`` the mean squared error of the logits, ``power`` (N,) the mean square of the float
    logits. With labels, ``loss`` is the cross-entropy in nats and ``correct`` 1 or 0;
    ``float_loss`` and ``float_correct`` (N,) are those of the float network.
    """

    layers: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    protocol: str
    divergence: FloatArray
    error: FloatArray
    power: FloatArray
    loss: FloatArray | None
    correct: FloatArray | None
    float_loss: FloatArray | None
    float_correct: FloatArray | None
    seconds: float
    schema: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerErrors(Record):
    """Mean squared error (N, L, C) of every layer's output, and its float mean square (N, L).

    ``protocol`` is ``isolated`` (on float inputs) or ``accumulated`` (all layers quantized).
    """

    layers: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    protocol: str
    error: FloatArray
    power: FloatArray
    seconds: float
    schema: int = 1
