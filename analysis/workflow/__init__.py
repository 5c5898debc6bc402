"""The steps from a study to a measured configuration, for pages, command line and tests alike.

Each function describes a step; nothing runs before its events are iterated.
"""

from analysis.workflow.allocating import allocate
from analysis.workflow.measuring import float_outputs, measure, quantize, quantized, summary
from analysis.workflow.opening import layers, model_inputs, open_study, opening, statistics
from analysis.workflow.scoring import DEFAULT_CANDIDATES, score, score_again

__all__ = [
    "DEFAULT_CANDIDATES",
    "allocate",
    "float_outputs",
    "layers",
    "measure",
    "model_inputs",
    "open_study",
    "opening",
    "quantize",
    "quantized",
    "score",
    "score_again",
    "statistics",
    "summary",
]
