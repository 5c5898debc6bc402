"""The steps from a study to a measured configuration, for pages, command line and tests alike.

Each function describes a step; nothing runs before its events are iterated.
"""

from analysis.workflow.agreeing import REFERENCES, agree, contest, reference_step, unmet
from analysis.workflow.allocating import allocate
from analysis.workflow.inspecting import attributions, inspect
from analysis.workflow.measuring import float_outputs, measure, quantize, quantized, summary
from analysis.workflow.opening import layers, model_inputs, open_study, opening, statistics
from analysis.workflow.scoring import DEFAULT_CANDIDATES, MEMORY_MIB, score, score_again

__all__ = [
    "DEFAULT_CANDIDATES",
    "MEMORY_MIB",
    "REFERENCES",
    "agree",
    "allocate",
    "attributions",
    "contest",
    "float_outputs",
    "inspect",
    "layers",
    "measure",
    "model_inputs",
    "open_study",
    "opening",
    "quantize",
    "quantized",
    "reference_step",
    "score",
    "score_again",
    "statistics",
    "summary",
    "unmet",
]
