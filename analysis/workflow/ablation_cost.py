"""What an ablation will take, from what was trained before."""

from dataclasses import dataclass

from analysis.ptq import PTQ_METHODS
from analysis.ptq.task import TRAINED
from analysis.records import Study
from analysis.workflow.ablation_plan import AblationPlan
from analysis.workflow.measuring import quantize
from analysis.workflow.recipe import Recipe, training
from analysis.workflow.training_cost import training_cost
from analysis.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Cost:
    """What is left of an ablation.

    ``runs`` are all, ``left`` those that are not stored yet, ``steps`` the length of one (0 where
    the method has none). ``seconds`` is what those that are left take by ``trainings`` earlier ones
    of this study, by the time of the float network where there are none; None where that is unknown
    too.
    """

    runs: int
    left: int
    steps: int
    seconds: float | None
    trainings: int = 0


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
    # Trainings of the plan are of the same allocation.
    done = [recipe for recipe, known in zip(recipes, stored, strict=True) if known]
    one = training_cost(workspace, study, plan.recipe, done)
    seconds = None if one.seconds is None else left * one.seconds
    return Cost(len(recipes), left, one.length, seconds, one.trainings)
