"""The steps of the command line and the flags of each; nothing heavy is imported."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from analysis.cli.choice_flags import (
    fill_agreement,
    fill_allocate,
    fill_curve,
    fill_latency,
    fill_pareto,
    fill_score,
)
from analysis.cli.network_flags import (
    fill_ablation,
    fill_distributions,
    fill_evaluate,
    fill_export,
    fill_initialization,
    fill_inspect,
    fill_ladder,
    fill_layers,
    fill_quantize,
    fill_study,
)
from analysis.cli.upkeep_flags import (
    fill_cache,
    fill_demo,
    fill_nothing,
)


@dataclass(frozen=True, slots=True)
class Step:
    """A step: its name, the function that runs it, its help and flags."""

    name: str
    function: str
    help: str
    fill: Callable[[argparse.ArgumentParser], None]
    methods: bool = False  # whether options of methods become flags


STEPS = (
    Step("study", "model:study", "load model and data, write a study file", fill_study),
    Step("layers", "model:layers", "list the layers with their costs", fill_layers),
    Step("score", "choice:score", "score layers by a metric", fill_score, methods=True),
    Step(
        "agreement", "agree:agreement", "compare metrics with what was measured", fill_agreement
    ),
    Step(
        "inspect", "samples:inspect", "look at single samples", fill_inspect, methods=True
    ),
    Step(
        "distributions",
        "tensors:distributions",
        "describe weights and activations",
        fill_distributions,
        methods=True,
    ),
    Step(
        "initialization",
        "lab:initialization",
        "train from several initializers, compare ranges and accuracy",
        fill_initialization,
    ),
    Step("metrics", "registries:metrics", "list the sensitivity metrics", fill_nothing),
    Step("solvers", "registries:solvers", "list the allocation solvers", fill_nothing),
    Step("methods", "registries:methods", "list the quantization methods", fill_nothing),
    Step(
        "recalibrations",
        "registries:recalibrations",
        "list what can be done to a network before it is quantized",
        fill_nothing,
    ),
    Step("exporters", "registries:exporters", "list the export formats", fill_nothing),
    Step(
        "backends",
        "registries:backends",
        "list the backends whose storage of formats is known",
        fill_nothing,
    ),
    Step(
        "allocate", "choice:allocate", "find bits within budgets", fill_allocate, methods=True
    ),
    Step(
        "latency",
        "timing:latency",
        "time every layer alone on this machine, w8a8 and float",
        fill_latency,
    ),
    Step(
        "pareto",
        "fronts:pareto",
        "find bits for many limits of one resource",
        fill_pareto,
        methods=True,
    ),
    Step(
        "curve", "curves:curve", "measure accuracy over a resource, with baselines", fill_curve
    ),
    Step(
        "quantize", "measure:quantize", "quantize and measure", fill_quantize, methods=True
    ),
    Step(
        "ablation",
        "ablate:ablation",
        "measure what single choices of a method are worth",
        fill_ablation,
        methods=True,
    ),
    Step("ladder", "ladder:ladder", "measure methods beside each other", fill_ladder),
    Step("evaluate", "measure:evaluate", "measure the accuracy", fill_evaluate),
    Step(
        "export",
        "measure:export",
        "write an allocation in another format",
        fill_export,
        methods=True,
    ),
    Step("cache", "store:cache", "list, check or clear stored results", fill_cache),
    Step("demo", "training:demo", "train the embedded demo networks anew", fill_demo),
)  # fmt: skip
