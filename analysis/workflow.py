"""The steps from a study to a measured configuration, for pages, command line and tests alike.

Each function describes a step; nothing runs before its events are iterated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from time import perf_counter
from typing import Any

from analysis.allocation import build_problem, solve_work
from analysis.allocation.problem import allocation_costs
from analysis.allocation.solvers import SOLVERS
from analysis.catalog import (
    FLOAT,
    LAYERS,
    STUDIES,
    configurations_kind,
    scores_kind,
    study_id,
    study_key_inputs,
)
from analysis.commands import (
    budget_text,
    changed_options,
    changed_settings,
    command_line,
    default_name,
)
from analysis.evaluation.accuracy import evaluation, logits
from analysis.events import Events, Finished, Note, Progress, Started, Work
from analysis.models.network import NOTHING
from analysis.models.replay import Plan
from analysis.options import Options, as_dict, build
from analysis.ptq import PTQ_METHODS, PTQTask
from analysis.quant.configure import Quantization, check_allocation, plan_of
from analysis.quant.statistics import ActivationStatistics, collect_statistics
from analysis.records import (
    Allocation,
    Budget,
    Candidate,
    Configuration,
    Evaluation,
    FloatOutputs,
    LayerTable,
    QuantSettings,
    ScoreTable,
    Solution,
    Study,
    StudySpec,
)
from analysis.sensitivity import METRICS, SensitivityTask
from analysis.steps import Step, StoredParts
from analysis.workspace import (
    LoadedStudy,
    Workspace,
    calibration_inputs,
    evaluation_inputs,
)
from cache.keys import digest

DEFAULT_CANDIDATES = tuple(Candidate.parse(c) for c in ("w2a8", "w3a8", "w4a8", "w6a8", "w8a8"))
BATCH = 128


def open_study(workspace: Workspace, spec: StudySpec, *, trusted: bool = False) -> Work[Study]:
    """Load a study and remember it by name; always reads the files anew.

    Args:
        workspace: Where to work.
        spec: The study.
        trusted: Whether the spec is the operator's own and may name a factory.

    Raises:
        AnalysisError: If a part cannot be loaded or does not fit the others.
    """
    yield Progress(0, 1, "loading model and data")
    study = workspace.open(spec, trusted=trusted).study
    step = Step(
        name="study",
        version=1,
        title=f"Open {spec.name or spec.model}",
        command=command_line(
            "study", spec, {"name": "" if spec.name == default_name(spec.model) else spec.name}
        ),
        record=Study,
        inputs=study_key_inputs(study),
        options=asdict(spec),
        work=lambda parts: _given(study),
        names=((STUDIES, spec.name or spec.model),),
    )
    study = yield from step.need(workspace.store)
    yield from layers(workspace, study).need(workspace.store)
    yield Progress(1, 1, "loaded")
    return study


def opening(workspace: Workspace, spec: StudySpec, *, trusted: bool = False) -> Events[Study]:
    """Open a study as a stream of events; see :func:`open_study`."""
    yield Started("study", f"Open {spec.name or spec.model}")
    study = yield from open_study(workspace, spec, trusted=trusted)
    yield Finished(study)


def _given(study: Study) -> Work[Study]:
    return study
    yield


def layers(workspace: Workspace, study: Study) -> Step[LayerTable]:
    """Describe the layers of the study's model."""

    def work(parts: StoredParts) -> Work[LayerTable]:
        del parts
        yield Progress(0, 1, "observing the model")
        return workspace.live(study).network.table

    return Step(
        name="layers",
        version=1,
        title="Layer table",
        command=command_line("layers", study.spec),
        record=LayerTable,
        inputs=model_inputs(study),
        options={"shape": list(study.model.input_shape)},
        work=work,
        names=((LAYERS, study_id(study)),),
    )


def statistics(workspace: Workspace, study: Study) -> Step[ActivationStatistics]:
    """Collect ranges and histograms of every activation tensor on the calibration set."""

    def work(parts: StoredParts) -> Work[ActivationStatistics]:
        del parts
        loaded = workspace.live(study)
        size = study.calibration.n
        inputs = calibration_inputs(loaded)
        starts = range(0, size, BATCH)
        return (
            yield from collect_statistics(
                loaded.network,
                lambda: (inputs(range(s, min(s + BATCH, size))) for s in starts),
                len(starts),
            )
        )

    return Step(
        name="statistics",
        version=1,
        title="Activation ranges",
        command=command_line("layers", study.spec),
        record=ActivationStatistics,
        inputs=model_inputs(study) | {"calibration": study.calibration.digest},
        options={},
        work=work,
    )


def score(
    workspace: Workspace,
    study: Study,
    metric: str,
    *,
    options: Options | None = None,
    candidates: Sequence[Candidate] = DEFAULT_CANDIDATES,
    settings: QuantSettings | None = None,
) -> Step[ScoreTable]:
    """Score every layer, and every candidate if there are any, by a registered metric.

    Raises:
        UnknownNameError: If there is no such metric.
    """
    method = METRICS[metric]
    options = method.options() if options is None else options
    # Pins do not enter a score: tables that differ in nothing else are one table.
    settings = replace(settings or QuantSettings(), pin_first_last=True)

    def work(parts: StoredParts) -> Work[ScoreTable]:
        ranges = yield from statistics(workspace, study).need(workspace.store)
        loaded = workspace.live(study)
        task = SensitivityTask(
            network=loaded.network,
            inputs=calibration_inputs(loaded),
            n=study.calibration.n,
            candidates=tuple(candidates),
            settings=settings,
            statistics=ranges,
            calibration=study.calibration.digest,
            parts=parts,
        )
        return (yield from method.function(task, options))

    flags = {"metric": metric, "candidates": ",".join(c.text for c in candidates)}
    return Step(
        name="score",
        version=method.version,
        title=f"{method.title} of {study.spec.name or study.model.source}",
        command=command_line(
            "score",
            study.spec,
            flags | changed_options(metric=options) | changed_settings(settings),
        ),
        record=ScoreTable,
        inputs=model_inputs(study) | {"calibration": study.calibration.digest},
        options={
            "metric": metric,
            "options": as_dict(options),
            "candidates": [c.text for c in candidates],
            "settings": asdict(settings),
        },
        work=work,
        names=((scores_kind(study), metric if candidates else f"{metric}, layers alone"),),
    )


def score_again(workspace: Workspace, study: Study, table: ScoreTable) -> Step[ScoreTable]:
    """Describe the step that made a stored score table."""
    options = build(METRICS[table.metric].options, table.options)
    return score(
        workspace,
        study,
        table.metric,
        options=options,
        candidates=table.candidates,
        settings=table.settings,
    )


def allocate(
    workspace: Workspace,
    study: Study,
    scores: Step[ScoreTable],
    budgets: Sequence[Budget],
    solver: str,
    *,
    options: Options | None = None,
    pins: Mapping[str, Candidate] | None = None,
    pin_first_last: bool = True,
) -> Step[Solution]:
    """Find an allocation within the budgets.

    Args:
        workspace: Where to work.
        study: The study.
        scores: The step that scores the candidates; it is run if need be.
        budgets: Limits on resources.
        solver: A registered solver.
        options: The solver's options; None for its defaults.
        pins: Layers that must take a given candidate.
        pin_first_last: Whether the first and last layer are held at w8a8.

    Raises:
        UnknownNameError: If there is no such solver.
    """
    method = SOLVERS[solver]
    options = method.options() if options is None else options
    pins = dict(pins or {})

    def work(parts: StoredParts) -> Work[Solution]:
        del parts
        table = yield from layers(workspace, study).need(workspace.store)
        scored = yield from scores.need(workspace.store)
        held: dict[str, Candidate | tuple[Candidate, ...]] = {**pins}
        if not pin_first_last:
            free = {layer.name: scored.candidates for layer in table.layers if layer.pinned}
            held = {**free, **held}
        problem = build_problem(table, scored, tuple(budgets), held)
        return (yield from solve_work(problem, solver, options))

    scoring = build(METRICS[scores.options["metric"]].options, scores.options["options"])
    flags: dict[str, Any] = {
        "metric": scores.options["metric"],
        "candidates": ",".join(scores.options["candidates"]),
        "budget": [budget_text(b) for b in budgets],
        "solver": solver,
        "pin": [f"{name}={c.text}" for name, c in pins.items()],
        "release-first-last": not pin_first_last,
    }
    return Step(
        name="allocate",
        version=method.version,
        title=f"{method.title}: {', '.join(f'{b.resource} ≤ {b.limit:g}' for b in budgets)}",
        command=command_line(
            "allocate",
            study.spec,
            flags
            | changed_options(metric=scoring, solver=options)
            | changed_settings(QuantSettings(**scores.options["settings"])),
        ),
        record=Solution,
        inputs={"scores": scores.key},
        options={
            "budgets": {b.resource: b.limit for b in budgets},
            "solver": solver,
            "options": as_dict(options),
            "pins": {name: c.text for name, c in pins.items()},
            "pin_first_last": pin_first_last,
        },
        work=work,
    )


def float_outputs(workspace: Workspace, study: Study) -> Step[FloatOutputs]:
    """Measure the folded float network: what every configuration is held against."""

    def work(parts: StoredParts) -> Work[FloatOutputs]:
        del parts
        begin = perf_counter()
        loaded = workspace.live(study)
        outputs = yield from logits(
            loaded.network,
            evaluation_inputs(loaded),
            study.evaluation.n,
            batch_size=BATCH,
            message="float network",
        )
        measured = evaluation(
            outputs,
            loaded.evaluation.labels,
            outputs,
            digest=study.evaluation.digest,
            begin=begin,
            compare=False,
        )
        return FloatOutputs(logits=outputs, measured=measured)

    return Step(
        name="float",
        version=1,
        title="Float accuracy",
        command=command_line("evaluate", study.spec),
        record=FloatOutputs,
        inputs=model_inputs(study) | {"evaluation": study.evaluation.digest},
        options={},
        work=work,
        names=((FLOAT, study_id(study)),),
    )


def quantized(
    workspace: Workspace,
    study: Study,
    allocation: Allocation,
    method: str,
    *,
    options: Options,
    settings: QuantSettings,
) -> Work[Quantization]:
    """Quantize the network as allocated; the result is live and not stored.

    Raises:
        UnknownNameError: If there is no such method.
        QuantizationError: If the allocation does not fit the model.
    """
    loaded = workspace.live(study)
    ranges = yield from statistics(workspace, study).need(workspace.store)
    task = PTQTask(
        network=loaded.network,
        allocation=allocation,
        settings=settings,
        statistics=ranges,
        inputs=calibration_inputs(loaded),
        n=study.calibration.n,
    )
    return (yield from PTQ_METHODS[method].function(task, options))


def quantize(
    workspace: Workspace,
    study: Study,
    allocation: Allocation,
    method: str = "nearest",
    *,
    options: Options | None = None,
    settings: QuantSettings | None = None,
    name: str = "",
    file: str = "allocation.json",
) -> Step[Configuration]:
    """Quantize the network as allocated and measure it on the evaluation set.

    Args:
        workspace: Where to work.
        study: The study.
        allocation: Format of every layer.
        method: A registered post-training method.
        options: The method's options; None for its defaults.
        settings: How formats become quantizers.
        name: What to call the configuration; it is listed under this name.
        file: Allocation file that the equal command line names.

    Raises:
        UnknownNameError: If there is no such method.
    """
    registered = PTQ_METHODS[method]
    options = registered.options() if options is None else options
    settings = settings or QuantSettings()
    name = name or f"{summary(allocation)}, {method}"

    def work(parts: StoredParts) -> Work[Configuration]:
        del parts
        begin = perf_counter()
        loaded = workspace.live(study)
        check_allocation(loaded.network, allocation)
        reference = yield from float_outputs(workspace, study).need(workspace.store)
        quantization = yield from quantized(
            workspace, study, allocation, method, options=options, settings=settings
        )
        yield from _widest_clipping(quantization.ranges)
        measured = yield from measure(
            loaded, plan_of(loaded.network, quantization, settings), reference
        )
        return Configuration(
            name=name,
            study=study_id(study),
            method=method,
            options=as_dict(options),
            settings=settings,
            allocation=allocation,
            costs=allocation_costs(loaded.network.table, allocation),
            ranges=quantization.ranges,
            measured=measured,
            seconds=perf_counter() - begin,
        )

    flags = {"allocation": file, "method": method, "name": name}
    return Step(
        name="quantize",
        version=registered.version,
        title=f"Quantize and measure {name}",
        command=command_line(
            "quantize",
            study.spec,
            flags | changed_options(method=options) | changed_settings(settings),
        ),
        record=Configuration,
        inputs=study_key_inputs(study),
        options={
            "allocation": {n: c.text for n, c in allocation.as_dict().items()},
            "method": method,
            "options": as_dict(options),
            "settings": asdict(settings),
        },
        work=work,
        names=((configurations_kind(study), name),),
    )


def summary(allocation: Allocation) -> str:
    """Say an allocation in a few words: its one candidate, or the mix with a mark of its own."""
    counts: dict[str, int] = {}
    for candidate in allocation.candidates:
        counts[candidate.text] = counts.get(candidate.text, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) == 1:
        return f"uniform {ordered[0][0]}"
    if len(ordered) == 2 and ordered[1][0] == "w8a8" and ordered[1][1] <= 2:
        return f"uniform {ordered[0][0]}, ends w8a8"
    mix = " ".join(f"{n}×{text}" for text, n in ordered)
    # Allocations of one mix differ in which layer has what.
    mark = digest([[name, c.text] for name, c in allocation.as_dict().items()])[:4]
    return f"mixed {mix} #{mark}"


def measure(loaded: LoadedStudy, plan: Plan, reference: FloatOutputs) -> Work[Evaluation]:
    """Measure the network under a plan and compare it with the float network."""
    begin = perf_counter()
    outputs = yield from logits(
        loaded.network,
        evaluation_inputs(loaded),
        loaded.study.evaluation.n,
        plan=plan,
        batch_size=BATCH,
        message="quantized network",
    )
    return evaluation(
        outputs,
        loaded.evaluation.labels,
        reference.logits,
        digest=loaded.study.evaluation.digest,
        begin=begin,
        compare=plan is not NOTHING,
    )


def _widest_clipping(ranges: Sequence[Any]) -> Work[None]:
    clipped = [r for r in ranges if r.clipped > 0.05]
    if clipped:
        worst = max(clipped, key=lambda r: r.clipped)
        yield Note(
            f"{len(clipped)} quantizers clip more than 5 % of their values, most of all the "
            f"{worst.role} `{worst.name}` ({worst.clipped:.0%}, {worst.format})."
        )


def model_inputs(study: Study) -> dict[str, str]:
    """Return what identifies a study's model and what its input goes through."""
    inputs = study_key_inputs(study)
    return {name: inputs[name] for name in ("model", "architecture", "normalization")}
