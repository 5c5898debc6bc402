"""How layers are quantized to be measured, and on which samples."""

from dataclasses import dataclass

from analysis.options import Options, option
from analysis.sensitivity.task import CALIBRATION, EVALUATION

ISOLATED, ACCUMULATED = "isolated", "accumulated"


@dataclass(frozen=True, slots=True)
class MeasuredOptions(Options):
    """Options of metrics that measure what quantized layers do."""

    protocol: str = option(
        ISOLATED,
        choices=(ISOLATED, ACCUMULATED),
        help="Quantize one layer alone, or in a network quantized alike before it.",
    )
    data: str = option(
        CALIBRATION, choices=(CALIBRATION, EVALUATION), help="The samples that are looked at."
    )
    batch_size: int = option(
        64, low=1, high=4096, help="Samples per pass; their activations are held in memory."
    )
