"""What quantization does to single samples: predictions, margins, attributions to pixels."""

from dataclasses import dataclass

from analysis.records.allocation import Allocation
from analysis.records.base import FloatArray, IntArray, Record
from analysis.records.candidates import QuantSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection(Record):
    """Predictions of the float and of a quantized network on one set, sample by sample, (N,).

    Margins are the logit of the class that the float network predicts minus the largest other
    logit, in both networks: a negative ``quantized_margin`` is a flipped prediction. ``divergence``
    is KL(float || quantized) in nats. ``data`` is ``calibration`` or ``evaluation``.
    """

    allocation: Allocation
    method: str
    settings: QuantSettings
    data: str
    n: int
    float_class: IntArray
    quantized_class: IntArray
    float_margin: FloatArray
    quantized_margin: FloatArray
    divergence: FloatArray
    seconds: float
    schema: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributions(Record):
    """Attributions of the float network's class to pixels, for K samples of one set.

    Maps have shape (K, H, W), summed over channels; ``drift`` (K,) is 1 - cosine similarity of the
    two maps of a sample: 0 for equal ones, 1 for maps with nothing in common.
    """

    method: str
    steps: int
    data: str
    samples: IntArray
    targets: IntArray
    float_maps: FloatArray
    quantized_maps: FloatArray
    drift: FloatArray
    seconds: float
    schema: int = 1
