"""What a training will take, from what was trained or timed before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median

from analysis import catalog
from analysis.errors import AnalysisError
from analysis.options import Options, as_dict, build
from analysis.ptq import PTQ_METHODS
from analysis.ptq.task import TRAINED
from analysis.records import Configuration, Study
from analysis.workflow.recipe import Recipe, training
from analysis.workspace import Workspace

STEPS, ITERATIONS = "steps", "iterations"
# Float passes over the batch that a step takes: one, a backward pass of twice its time, and what
# the float outputs, the quantizers and the optimizer need.
_PASSES = 5
# Trainings are large to read; so many tell the time.
_READ = 3


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """What a training will take.

    ``length`` counts its steps, or with ``each``, ``layer`` or ``block``, the iterations of each of
    them; 0 where the method has none. ``seconds`` is what all of it takes by ``trainings`` earlier
    ones of this study and method, by the time of the float network where there are none; None where
    that was not timed either.
    """

    length: int
    batch_size: int
    each: str
    seconds: float | None
    trainings: int


def length_name(options: Options) -> str:
    """Return the option that says how long a method trains, empty where there is none."""
    names = as_dict(options)
    return next((name for name in (STEPS, ITERATIONS) if name in names), "")


def length_of(options: Options) -> int:
    """Return how long a method trains, in steps or in iterations of every unit; 0 if no option."""
    return int(as_dict(options).get(length_name(options), 0))


def training_cost(
    workspace: Workspace, study: Study, recipe: Recipe, like: Sequence[Recipe] = ()
) -> TrainingCost:
    """Return what the training of a recipe will take.

    Args:
        workspace: Where to work.
        study: The study.
        recipe: What is to be trained.
        like: Recipes that tell its time better than others of the method do, if they are trained.
    """
    chosen = as_dict(recipe.chosen)
    length, batch_size = length_of(recipe.chosen), int(chosen.get("batch_size", 1))
    each = str(chosen.get("units", "layer")) if length_name(recipe.chosen) == ITERATIONS else ""
    times = list(islice(_times(workspace, study, recipe.method, like), _READ))
    if times:
        seconds: float | None = median(times) * max(length, 1) * batch_size
    elif (timed := catalog.float_outputs(workspace.store, study)) is not None and length:
        sample = timed.measured.seconds / max(timed.measured.n, 1)
        seconds = _PASSES * sample * length * batch_size
    else:
        seconds = None
    return TrainingCost(length, batch_size, each, seconds, len(times))


def _times(
    workspace: Workspace, study: Study, method: str, like: Sequence[Recipe]
) -> Iterator[float]:
    """Yield the seconds per sample and step of stored trainings of a method on this study."""
    if TRAINED not in PTQ_METHODS[method].needs:
        return
    saved = catalog.configurations(workspace.store, study).values()
    known = [_recipe(each) for each in saved if each.method == method]
    recipes = {training(workspace, study, r).key: r for r in (*like, *known) if r is not None}
    for recipe in recipes.values():
        found = training(workspace, study, recipe).stored(workspace.store)
        if found is not None:
            batch_size = int(as_dict(recipe.chosen).get("batch_size", 1))
            yield found.seconds / max(length_of(recipe.chosen), 1) / batch_size


def _recipe(found: Configuration) -> Recipe | None:
    """Return how a configuration was made, None where an earlier version had other options."""
    try:
        options = build(PTQ_METHODS[found.method].options, found.options)
        return Recipe(found.allocation, found.method, options, found.settings, found.recalibrations)
    except AnalysisError:
        return None
