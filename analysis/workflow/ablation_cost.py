"""What an ablation will take, from what was trained before."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from analysis import catalog
from analysis.errors import AnalysisError
from analysis.options import as_dict, build
from analysis.ptq import PTQ_METHODS
from analysis.ptq.task import TRAINED
from analysis.records import Configuration, Study
from analysis.workflow.ablation_plan import AblationPlan
from analysis.workflow.measuring import quantize
from analysis.workflow.recipe import Recipe, training
from analysis.workspace import Workspace

_STEPS = "steps"


@dataclass(frozen=True, slots=True)
class Cost:
    """What is left of an ablation.

    ``runs`` are all, ``left`` those that are not stored yet, ``steps`` the length of one (0 where
    the method has none). ``seconds`` is what those that are left take by the times of earlier
    trainings of this study, None where there is none.
    """

    runs: int
    left: int
    steps: int
    seconds: float | None


def ablation_cost(workspace: Workspace, study: Study, plan: AblationPlan) -> Cost:
    """Return what an ablation will take."""
    trained = TRAINED in PTQ_METHODS[plan.recipe.method].needs
    recipes = [each for name in ("", *plan.variants) for each in plan.recipes(name)]

    def key(recipe: Recipe) -> str:
        if trained:
            return training(workspace, study, recipe).key
        return quantize(workspace, study, recipe).key

    stored = [workspace.store.contains(key(recipe)) for recipe in recipes]
    left = len(recipes) - sum(stored)
    done = [recipe for recipe, known in zip(recipes, stored, strict=True) if known]
    steps = _steps(plan.recipe)
    times = list(_times(workspace, study, plan.recipe.method, done)) if trained else []
    each = median(times) * max(steps, 1) if times else None
    return Cost(len(recipes), left, steps, None if each is None else left * each)


def _times(
    workspace: Workspace, study: Study, method: str, recipes: list[Recipe]
) -> Iterator[float]:
    """Yield the seconds per step of every stored training of a method on this study."""
    saved = catalog.configurations(workspace.store, study).values()
    known = [_recipe(each) for each in saved if each.method == method]
    # Recipes of the plan come first: they are of the same allocation.
    for recipe in [*recipes[:3], *(each for each in known if each is not None)]:
        found = training(workspace, study, recipe).stored(workspace.store)
        if found is not None:
            yield found.seconds / max(_steps(recipe), 1)


def _recipe(found: Configuration) -> Recipe | None:
    """Return how a configuration was made, None where an earlier version had other options."""
    try:
        options = build(PTQ_METHODS[found.method].options, found.options)
        return Recipe(found.allocation, found.method, options, found.settings, found.recalibrations)
    except AnalysisError:
        return None


def _steps(recipe: Recipe) -> int:
    return int(as_dict(recipe.chosen).get(_STEPS, 0))
