"""From several ways to choose bits to the accuracy that each keeps, budget by budget."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from time import perf_counter

from analysis.allocation import SOLVERS
from analysis.allocation.edit import default_pins
from analysis.allocation.front import even_limits
from analysis.catalog import study_key_inputs
from analysis.commands import command_line
from analysis.curves.points import Found, assemble
from analysis.errors import AnalysisError
from analysis.events import Note, Work
from analysis.ptq import PTQ_METHODS
from analysis.records import FLOAT, Curve, Front, LayerTable, ScoreTable, Series, Study
from analysis.records.curve import SIZE_ONLY
from analysis.steps import Step, StoredParts
from analysis.workflow.agreeing import unmet
from analysis.workflow.allocating import tie_options
from analysis.workflow.curve_plan import CurvePlan
from analysis.workflow.drafting import drafts
from analysis.workflow.measuring import float_outputs, quantize
from analysis.workflow.opening import layers
from analysis.workflow.recipe import Recipe
from analysis.workflow.scoring import score
from analysis.workflow.sweeping import latency_inputs, pareto, pin_options, problems
from analysis.workflow.within import within
from analysis.workspace import Workspace

PARTIAL = "curve so far"
_SAVE_EVERY = 10  # measurements between two writes of what there is


def curve(workspace: Workspace, study: Study, plan: CurvePlan) -> Step[Curve]:
    """Measure the allocations of every series within every limit.

    Each allocation is a stored :func:`quantize` step, so that an interrupted curve goes on where it
    stopped and equal allocations are measured once. A metric that cannot be computed, and a limit
    that a solver cannot meet, are absent with their reason.

    Args:
        workspace: Where to work.
        study: The study.
        plan: What to measure.
    """
    steps = {
        name: score(
            workspace,
            study,
            name,
            candidates=plan.candidates,
            settings=plan.settings,
            memory_mib=plan.memory_mib,
        )
        for name in (*plan.compared, SIZE_ONLY)
    }

    def work(parts: StoredParts) -> Work[Curve]:
        begin = perf_counter()
        store = workspace.store
        pieces = 1 + len(steps) + len(plan.ways) + plan.measurements
        table = yield from layers(workspace, study).need(store)
        floating = float_outputs(workspace, study).need(store)
        reference = yield from within(floating, 0, pieces, FLOAT)
        tables, reasons = yield from _scored(workspace, study, steps, pieces)
        held = plan.settings.pin_first_last
        make = problems(
            table,
            tables[SIZE_ONLY],
            plan.latency,
            pin_first_last=held,
            ties=plan.ties,
            pins=plan.pins,
        )
        limits = even_limits(make, plan.resource, plan.points, plan.fixed)
        fronts = yield from _fronts(workspace, study, plan, steps, reasons, limits, pieces)
        todo, absent = drafts(plan, table, tables[SIZE_ONLY], make, limits, fronts)
        found: list[Found] = []

        def so_far(complete: bool) -> Curve:
            return assemble(
                found,
                absent,
                resource=plan.resource,
                limits=limits,
                fixed=plan.fixed,
                series=plan.series,
                tables=[tables[name] for name in plan.compared if name in tables],
                held=_held(table, plan),
                reference=reference.measured,
                random=plan.random,
                seed=plan.seed,
                candidates=plan.candidates,
                pins=plan.pins,
                ties=plan.ties,
                settings=plan.settings,
                seconds=perf_counter() - begin,
                complete=complete,
            )

        first = pieces - plan.measurements
        for place, draft in enumerate(todo):
            series = plan.series[draft.series]
            recipe = Recipe(draft.allocation, series.method, settings=plan.settings)
            # Dozens of random allocations would bury what a person named.
            step = replace(quantize(workspace, study, recipe), names=())
            label = f"{place + 1} of {len(todo)}, {_said(series)}"
            # What it notes is in its own record; of dozens nobody would read it here.
            needed = step.need(store)
            made = yield from within(needed, first + place, pieces, label, notes=False)
            found.append(Found(draft, step.key, made.measured))
            if place % _SAVE_EVERY == _SAVE_EVERY - 1:
                store.put_part(parts.key, PARTIAL, so_far(complete=False))
        return so_far(complete=True)

    return Step(
        name="curve",
        version=2,  # 2: pins and ties in the record
        title=f"Accuracy curves over {plan.resource}: {', '.join(plan.compared)}",
        command=command_line("curve", study.spec, plan.flags),
        record=Curve,
        inputs=study_key_inputs(study)
        | {f"scores {n}": s.key for n, s in steps.items()}
        | latency_inputs(plan.latency),
        options={
            "resource": plan.resource,
            "points": plan.points,
            "solvers": {name: SOLVERS[name].version for name in plan.solvers},
            "methods": {name: PTQ_METHODS[name].version for name in plan.methods},
            "random": plan.random,
            "seed": plan.seed,
            "fixed": {b.resource: b.limit for b in plan.fixed},
            "settings": asdict(plan.settings),
        }
        | tie_options(plan.ties)
        | pin_options(plan.pins),
        work=work,
    )


def curve_so_far(workspace: Workspace, step: Step[Curve]) -> Curve | None:
    """Return what an unfinished curve has measured, None if there is nothing yet."""
    return workspace.store.get_part(step.key, PARTIAL, Curve)


def _scored(
    workspace: Workspace, study: Study, steps: Mapping[str, Step[ScoreTable]], pieces: int
) -> Work[tuple[dict[str, ScoreTable], dict[str, str]]]:
    """Return the tables of the metrics that could be computed, and why the others could not."""
    tables: dict[str, ScoreTable] = {}
    reasons: dict[str, str] = {}
    for place, (name, step) in enumerate(steps.items(), start=1):
        reason = unmet(name, study)
        if not reason:
            try:
                needed = step.need(workspace.store)
                tables[name] = yield from within(needed, place, pieces, name)
            except AnalysisError as error:
                reason = str(error)
        if reason:
            reasons[name] = reason
            yield Note(f"`{name}` is left out: {reason}")
    return tables, reasons


def _fronts(
    workspace: Workspace,
    study: Study,
    plan: CurvePlan,
    steps: Mapping[str, Step[ScoreTable]],
    reasons: Mapping[str, str],
    limits: tuple[float, ...],
    pieces: int,
) -> Work[dict[tuple[str, str], Front | str]]:
    """Return the front of each metric and solver, or why there is none."""
    fronts: dict[tuple[str, str], Front | str] = {}
    ways = plan.ways
    for place, (name, solver) in enumerate(ways, start=1 + len(steps)):
        if name in reasons:
            fronts[name, solver] = reasons[name]
            continue
        swept = pareto(
            workspace,
            study,
            steps[name],
            plan.resource,
            solver,
            limits=limits,
            fixed=plan.fixed,
            pin_first_last=plan.settings.pin_first_last,
            latency=plan.latency,
            ties=plan.ties,
            pins=plan.pins,
        )
        try:
            needed = swept.need(workspace.store)
            fronts[name, solver] = yield from within(needed, place, pieces, f"{name}, {solver}")
        except AnalysisError as error:
            fronts[name, solver] = str(error)
            yield Note(f"`{name}` with `{solver}` is left out: {error}")
    return fronts


def _held(table: LayerTable, plan: CurvePlan) -> tuple[str, ...]:
    """Return the layers that are pinned, by default or by the plan, and those tied to them."""
    pinned = {*default_pins(table), *plan.pins}
    tied = (name for own in plan.ties if not pinned.isdisjoint(own) for name in own)
    return (*pinned, *tied)


def _said(series: Series) -> str:
    return series.metric or series.kind
