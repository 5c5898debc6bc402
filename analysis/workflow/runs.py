"""A recipe trained and measured, as a table of many takes it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.intervals import wilson
from analysis.events import Work
from analysis.options import Options, as_dict, build
from analysis.ptq import PTQ_METHODS
from analysis.ptq.task import TRAINED
from analysis.records import Configuration, FloatOutputs, Study
from analysis.workflow.measuring import quantize
from analysis.workflow.recipe import Recipe, training
from analysis.workspace import Workspace

SEED = "seed"


@dataclass(frozen=True, slots=True)
class Run:
    """A recipe measured on one seed; ``right`` (N,) is what it got right.

    Without labels that is where it predicts what the float network does. ``seconds`` is what
    quantizing took.
    """

    configuration: Configuration
    right: NDArray[np.bool_]
    seconds: float


def run_of(
    workspace: Workspace, study: Study, recipe: Recipe, reference: FloatOutputs
) -> Work[Run]:
    """Quantize and measure by stored steps, but under no name: dozens would bury what has one."""
    store = workspace.store
    step = replace(quantize(workspace, study, recipe), names=())
    made = yield from step.need(store)
    seconds = made.seconds - made.measured.seconds
    if TRAINED in PTQ_METHODS[recipe.method].needs:
        trained = yield from training(workspace, study, recipe).need(store)
        seconds = trained.seconds
    return Run(made, right_of(made, reference), seconds)


def repeated(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the fields of :class:`~analysis.records.ablation.Repeated`, from one way's runs."""
    measured = [run.configuration.measured for run in runs]
    n, labelled = measured[0].n, measured[0].labelled
    top1 = np.array([each.top1 for each in measured])
    low, high = wilson(round(float(top1.mean()) * n), n) if labelled else (nan, nan)
    floats = [each.versus_float for each in measured]
    return {
        "top1": top1,
        "low": low,
        "high": high,
        "agreement": np.array([nan if each is None else each.agreement for each in floats]),
        "kl": np.array([each.kl for each in measured]),
        "seconds": np.array([run.seconds for run in runs]),
        "notes": tuple(dict.fromkeys(note for run in runs for note in run.configuration.notes)),
    }


def right_of(made: Configuration, reference: FloatOutputs) -> NDArray[np.bool_]:
    """Return what a measurement got right (N,)."""
    measured = made.measured
    floating = reference.logits.argmax(1)
    right = measured.correct if measured.labelled else measured.predictions == floating
    return np.asarray(right, dtype=np.bool_)


def has_seed(options: Options) -> bool:
    """Return whether a method draws anything."""
    return SEED in as_dict(options)


def seeded(recipe: Recipe, seeds: Sequence[int]) -> tuple[Recipe, ...]:
    """Return a recipe on every seed, once if its method draws nothing."""
    options = recipe.chosen
    if not has_seed(options):
        return (recipe,)
    values = as_dict(options)
    return tuple(
        replace(recipe, options=build(type(options), values | {SEED: seed})) for seed in seeds
    )
