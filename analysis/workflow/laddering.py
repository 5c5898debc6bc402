"""From methods and allocations to a table of what each measures, on the same samples and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.catalog import study_key_inputs
from analysis.commands import command_line
from analysis.errors import AnalysisError, OptionError
from analysis.evaluation.pooled import pooled
from analysis.events import Note, Work
from analysis.ptq import PTQ_METHODS
from analysis.quant.estimators import RANGE_ESTIMATORS
from analysis.records import Allocation, FloatOutputs, Ladder, QuantSettings, Rung, Study
from analysis.records.candidates import FLOAT
from analysis.spelling import canonical, read
from analysis.steps import Step, StoredParts
from analysis.workflow.measuring import float_outputs
from analysis.workflow.recalibrating import check_recalibrations
from analysis.workflow.recipe import DEFAULTS, Recipe
from analysis.workflow.runs import Run, has_seed, repeated, run_of, seeded
from analysis.workflow.within import within
from analysis.workspace import Workspace

PARTIAL = "ladder so far"
_RANGE, _AFTER = "@", "+"


@dataclass(frozen=True, slots=True)
class LadderPlan:
    """What to measure.

    Args:
        allocations: By the label that the table shows.
        methods: Spelled as ``gptq:act_order=true`` (see :mod:`analysis.spelling`), with ``@hmse``
            behind where weights get another range estimator than that of the settings, and with
            recalibrations before, as ``equalization+gptq``; they come after those of the plan.
        reference: Which of them the others are held against; by default the last.
        seeds: How many seeds, counted from 0, for methods that draw.
        settings: How formats become quantizers.
        recalibrations: Applied before anything else, as in
            :class:`~analysis.workflow.recipe.Recipe`.

    Raises:
        UnknownNameError: If there is no such method, option or range estimator.
        OptionError: If an option cannot be read or sets a seed, a method comes twice, there is
            none, or the reference is not among them.
    """

    allocations: Mapping[str, Allocation]
    methods: tuple[str, ...]
    reference: str = ""
    seeds: int = 1
    settings: QuantSettings = DEFAULTS
    recalibrations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the methods; they get their one spelling."""
        methods = tuple(_canonical(text) for text in self.methods)
        if not methods or not self.allocations or len(set(methods)) < len(methods):
            raise OptionError(
                "A ladder needs allocations, and methods that differ from each other, got "
                f"{', '.join(self.allocations) or 'no allocation'} and "
                f"{', '.join(methods) or 'no method'}."
            )
        reference = _canonical(self.reference) if self.reference else methods[-1]
        if reference not in methods:
            raise OptionError(f"The reference must be one of the methods, got `{reference}`.")
        if self.seeds < 1:
            raise OptionError(f"A ladder must run on at least one seed, got {self.seeds}.")
        object.__setattr__(self, "methods", methods)
        object.__setattr__(self, "reference", reference)

    def recipes(self, label: str, method: str) -> tuple[Recipe, ...]:
        """Return a method's recipes on an allocation, one per seed."""
        *before, name = method.partition(_RANGE)[0].split(_AFTER)
        estimator = method.partition(_RANGE)[2]
        chosen, options = read(PTQ_METHODS, name)
        settings = replace(self.settings, weight_range=estimator or self.settings.weight_range)
        recipe = Recipe(
            self.allocations[label],
            chosen.name,
            options,
            settings,
            (*self.recalibrations, *before),
        )
        return seeded(recipe, range(self.seeds))

    @property
    def ordered(self) -> tuple[str, ...]:
        """The methods as they are measured: the reference first."""
        return (self.reference, *(each for each in self.methods if each != self.reference))


def ladder(
    workspace: Workspace, study: Study, plan: LadderPlan, flags: Mapping[str, Any]
) -> Step[Ladder]:
    """Measure every method on every allocation.

    Every training and every measurement is a stored step of its own, so that an interrupted ladder
    goes on where it stopped. What cannot be quantized is absent with its reason.

    Args:
        workspace: Where to work.
        study: The study.
        plan: What to measure.
        flags: Of the equal command line.
    """

    def work(parts: StoredParts) -> Work[Ladder]:
        begin = perf_counter()
        store = workspace.store
        cells = [(label, method) for label in plan.allocations for method in plan.ordered]
        pieces = 1 + len(cells)
        reference = yield from within(float_outputs(workspace, study).need(store), 0, pieces, FLOAT)
        rungs: list[Rung] = []
        absent: dict[str, str] = {}

        def so_far(complete: bool) -> Ladder:
            measured = reference.measured
            return Ladder(
                allocations=dict(plan.allocations),
                methods=plan.methods,
                reference=plan.reference,
                settings=plan.settings,
                recalibrations=plan.recalibrations,
                seeds=tuple(range(plan.seeds)),
                n=measured.n,
                labelled=measured.labelled,
                float_top1=measured.top1,
                evaluation=study.evaluation.digest,
                rungs=tuple(sorted(rungs, key=lambda each: _place(plan, each))),
                absent=dict(absent),
                seconds=perf_counter() - begin,
                complete=complete,
            )

        held: dict[str, NDArray[np.bool_]] = {}
        for done, (label, method) in enumerate(cells, start=1):
            said = f"{label}, {method}"
            runs = _runs(workspace, study, plan.recipes(label, method), reference)
            try:
                found = yield from within(runs, done, pieces, said, notes=False)
            except AnalysisError as error:
                absent[said] = str(error)
                yield Note(f"{said} is left out: {error}")
                continue
            right = _right(found, plan.seeds)
            rungs.append(_rung(label, method, found, right, reference, held.get(label)))
            if method == plan.reference:
                held[label] = right
            store.put_part(parts.key, PARTIAL, so_far(complete=False))
        return so_far(complete=True)

    return Step(
        name="ladder",
        version=1,
        title=f"Ladder of {len(plan.methods)} methods on {len(plan.allocations)} allocations",
        command=command_line("ladder", study.spec, flags),
        record=Ladder,
        inputs=study_key_inputs(study),
        options={
            "allocations": {
                label: {n: c.text for n, c in own.as_dict().items()}
                for label, own in plan.allocations.items()
            },
            "recipes": [
                [method, recipe.key, recipe.version]
                for method in plan.methods
                for recipe in plan.recipes(next(iter(plan.allocations)), method)
            ],
            "reference": plan.reference,
        },
        work=work,
    )


def _runs(
    workspace: Workspace, study: Study, recipes: Sequence[Recipe], reference: FloatOutputs
) -> Work[list[Run]]:
    found = []
    for at, recipe in enumerate(recipes):
        label = f"seed {at}" if len(recipes) > 1 else recipe.method
        work = run_of(workspace, study, recipe, reference)
        found.append((yield from within(work, at, len(recipes), label)))
    return found


def _right(runs: Sequence[Run], seeds: int) -> NDArray[np.bool_]:
    """Return what is right on every seed (S, N); a method that draws nothing is always the same."""
    found = np.stack([run.right for run in runs])
    return np.broadcast_to(found, (seeds, found.shape[1])) if len(found) == 1 else found


def _rung(
    label: str,
    method: str,
    runs: Sequence[Run],
    right: NDArray[np.bool_],
    reference: FloatOutputs,
    held: NDArray[np.bool_] | None,
) -> Rung:
    floating = np.ones(right.shape[1], dtype=np.bool_)
    if reference.measured.labelled:
        floating = np.asarray(reference.measured.correct, dtype=np.bool_)
    return Rung(
        allocation=label,
        method=method,
        versus_float=pooled(right, np.broadcast_to(floating, right.shape)),
        versus_reference=None if held is None else pooled(right, held),
        **repeated(runs),
    )


def _place(plan: LadderPlan, rung: Rung) -> tuple[int, int]:
    return list(plan.allocations).index(rung.allocation), plan.methods.index(rung.method)


def _canonical(text: str) -> str:
    """Return the one spelling of a method; its seed is the table's."""
    whole, at, estimator = (each.strip() for each in text.partition(_RANGE))
    *before, name = whole.split(_AFTER)
    _, options = read(PTQ_METHODS, name)
    if at:
        RANGE_ESTIMATORS[estimator]
    if has_seed(options) and "seed=" in name:
        raise OptionError(f"The seeds are those of the ladder, got one in `{text}`: leave it out.")
    spelled = _AFTER.join((*check_recalibrations(before), canonical(PTQ_METHODS, name)))
    return spelled + (f"{_RANGE}{estimator}" if at else "")
