"""What every post-training quantization method is given, and the registry they enter."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from analysis.events import Work
from analysis.models.network import Network
from analysis.parts import Parts
from analysis.quant.configure import Estimates, Quantization
from analysis.quant.statistics import ActivationStatistics
from analysis.records import Allocation, QuantSettings
from analysis.registry import Registry


@dataclass(frozen=True, slots=True)
class PTQTask:
    """A network, the allocation to realise and the calibration samples.

    ``inputs`` returns the preprocessed calibration samples with the given numbers, (B, ...).
    ``estimates`` holds the quantizers of this network that were estimated before, ``parts`` what an
    interrupted training goes on from. ``element_scores`` tell, by layer name, how much an error of
    every weight counts, where the settings' range estimator of weights asks.
    """

    network: Network
    allocation: Allocation
    settings: QuantSettings
    statistics: ActivationStatistics
    inputs: Callable[[range], Tensor]
    n: int
    estimates: Estimates = field(default_factory=Estimates)
    parts: Parts | None = None
    element_scores: Mapping[str, NDArray[Any]] | None = None


# A method that needs this trains for minutes: its result is stored, its state on the way too.
TRAINED = "training"
PTQMethod = Callable[[PTQTask, Any], Work[Quantization]]
PTQ_METHODS: Registry[PTQMethod] = Registry("method")
