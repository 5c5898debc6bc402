"""From a method to what its single choices are worth, each variant trained and measured."""

from collections.abc import Sequence
from time import perf_counter
from typing import cast

import numpy as np

from analysis.catalog import study_key_inputs
from analysis.commands import command_line
from analysis.errors import AnalysisError
from analysis.evaluation.pooled import pooled
from analysis.events import Note, Progress, Work
from analysis.options import as_dict
from analysis.ptq import PTQ_METHODS
from analysis.records import Ablation, Study, Variant
from analysis.records.candidates import FLOAT
from analysis.steps import Step, StoredParts
from analysis.workflow.ablation_plan import AblationPlan
from analysis.workflow.measuring import float_outputs
from analysis.workflow.recipe import Recipe
from analysis.workflow.runs import Run, repeated, run_of
from analysis.workflow.within import within
from analysis.workspace import Workspace

PARTIAL = "ablation so far"
_BASE = "base"


def ablation(workspace: Workspace, study: Study, plan: AblationPlan) -> Step[Ablation]:
    """Measure a method and its variants on the same samples and seeds.

    Every training and every measurement is a stored step of its own, so that an interrupted
    ablation goes on where it stopped, and what was trained before is not trained again. A variant
    that cannot be trained is absent with its reason.

    Args:
        workspace: Where to work.
        study: The study.
        plan: What to measure.
    """

    def work(parts: StoredParts) -> Work[Ablation]:
        begin = perf_counter()
        store = workspace.store
        pieces = 1 + plan.seeds * (1 + len(plan.variants))
        floating = float_outputs(workspace, study).need(store)
        reference = yield from within(floating, 0, pieces, FLOAT)
        done = 1

        def runs(label: str, recipes: Sequence[Recipe]) -> Work[list[Run]]:
            found = []
            for at, recipe in enumerate(recipes):
                steps = int(as_dict(recipe.chosen).get("steps", 0))
                one = _by_steps(run_of(workspace, study, recipe, reference), steps)
                said = f"{label}, seed {plan.seed_numbers[at]}" if plan.seeds > 1 else label
                # What it notes is in the record; of dozens nobody would read it here.
                found.append((yield from within(one, done + at, pieces, said, notes=False)))
            return found

        base = yield from runs(_BASE, plan.recipes())
        variants = [_variant(plan, "", base, base)]
        absent: dict[str, str] = {}

        def so_far(complete: bool) -> Ablation:
            first = base[0].configuration
            return Ablation(
                method=plan.recipe.method,
                base=first.options,
                allocation=plan.recipe.allocation,
                settings=plan.recipe.settings,
                recalibrations=plan.recipe.recalibrations,
                seeds=plan.seed_numbers,
                n=first.measured.n,
                labelled=first.measured.labelled,
                evaluation=study.evaluation.digest,
                variants=tuple(variants),
                absent=dict(absent),
                seconds=perf_counter() - begin,
                complete=complete,
            )

        for name in plan.variants:
            store.put_part(parts.key, PARTIAL, so_far(complete=False))
            done += plan.seeds
            try:
                found = yield from runs(name, plan.recipes(name))
                variants.append(_variant(plan, name, found, base))
            except AnalysisError as error:
                absent[name] = str(error)
                yield Note(f"`{name}` is left out: {error}")
        return so_far(complete=True)

    method, changes = PTQ_METHODS[plan.recipe.method], len(plan.variants)
    return Step(
        name="ablation",
        version=1,
        title=f"Ablation of {method.title}: {changes} change{'' if changes == 1 else 's'}",
        command=command_line("ablation", study.spec, plan.flags),
        record=Ablation,
        inputs=study_key_inputs(study),
        options=plan.recipe.key
        | {
            "method_version": plan.recipe.version,
            "variants": list(plan.variants),
            "seeds": plan.seeds,
        },
        work=work,
    )


def ablation_so_far(workspace: Workspace, step: Step[Ablation]) -> Ablation | None:
    """Return what an unfinished ablation has measured, None if there is nothing yet."""
    return workspace.store.get_part(step.key, PARTIAL, Ablation)


def _by_steps(work: Work[Run], steps: int) -> Work[Run]:
    """Count the steps of a training alone as its progress: they are most of it."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return cast(Run, end.value)
        if isinstance(event, Progress) and steps and event.total != steps:
            event = Progress(0, steps, event.message)
        yield event


def _variant(plan: AblationPlan, name: str, runs: Sequence[Run], base: Sequence[Run]) -> Variant:
    effect = None
    if name:
        effect = pooled(np.stack([r.right for r in runs]), np.stack([r.right for r in base]))
    changes = plan.changes(name) if name else {}
    return Variant(changes=changes, effect=effect, **repeated(runs))
