"""The steps from a study to a measured configuration, for pages, command line and tests alike.

Each function describes a step; nothing runs before its events are iterated.
"""

from analysis.workflow.ablating import ablation, ablation_so_far
from analysis.workflow.ablation_cost import ablation_cost
from analysis.workflow.ablation_plan import AblationPlan, default_variants
from analysis.workflow.agreeing import REFERENCES, agree, contest, reference_step, unmet
from analysis.workflow.allocating import allocate
from analysis.workflow.curve_plan import CurvePlan
from analysis.workflow.curves import curve, curve_so_far
from analysis.workflow.distributing import distributions, ranges
from analysis.workflow.initializing import Lab, finished_runs, initialization
from analysis.workflow.inspecting import attributions, inspect
from analysis.workflow.laddering import LadderPlan, ladder
from analysis.workflow.measuring import float_outputs, measure, quantize
from analysis.workflow.naming import default_name, free_name, summary
from analysis.workflow.opening import layers, model_inputs, open_study, opening, statistics
from analysis.workflow.recalibrating import recalibrated
from analysis.workflow.recipe import Quantized, Recipe, quantized, training
from analysis.workflow.recovering import recovery
from analysis.workflow.scoring import DEFAULT_CANDIDATES, MEMORY_MIB, score, score_again
from analysis.workflow.sweeping import pareto
from analysis.workflow.timing import latency

__all__ = [
    "DEFAULT_CANDIDATES",
    "MEMORY_MIB",
    "REFERENCES",
    "AblationPlan",
    "CurvePlan",
    "Lab",
    "LadderPlan",
    "Quantized",
    "Recipe",
    "ablation",
    "ablation_cost",
    "ablation_so_far",
    "agree",
    "allocate",
    "attributions",
    "contest",
    "curve",
    "curve_so_far",
    "default_name",
    "default_variants",
    "distributions",
    "finished_runs",
    "float_outputs",
    "free_name",
    "initialization",
    "inspect",
    "ladder",
    "latency",
    "layers",
    "measure",
    "model_inputs",
    "open_study",
    "opening",
    "pareto",
    "quantize",
    "quantized",
    "ranges",
    "recalibrated",
    "recovery",
    "reference_step",
    "score",
    "score_again",
    "statistics",
    "summary",
    "training",
    "unmet",
]
