"""From several metrics to which of them to trust."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial

from analysis.agreement import AgreementOptions, agreement
from analysis.commands import budget_text, changed_settings, command_line
from analysis.errors import AnalysisError
from analysis.evaluation.intervals import paired
from analysis.events import Note, Work
from analysis.options import Options, as_dict, build
from analysis.records import (
    Agreement,
    Budget,
    Candidate,
    Configuration,
    Contest,
    QuantSettings,
    ScoreTable,
    Solution,
    Study,
)
from analysis.sensitivity import METRICS
from analysis.sensitivity.task import EVALUATION
from analysis.steps import Step, StoredParts
from analysis.workflow.allocating import allocate
from analysis.workflow.measuring import quantize
from analysis.workflow.recipe import Recipe
from analysis.workflow.scoring import DEFAULT_CANDIDATES, MEMORY_MIB, score
from analysis.workflow.within import within
from analysis.workspace import Workspace

# What was measured of every layer and can judge the others.
REFERENCES = ("loss_increase", "output_kl", "output_sqnr", "accuracy_drop")


def unmet(metric: str, study: Study) -> str:
    """Return why a metric cannot be computed on a study, empty if it can.

    Raises:
        UnknownNameError: If there is no such metric.
    """
    if "labels" in METRICS[metric].needs and not study.calibration.labelled:
        return "it needs labels, the calibration set has none"
    return ""


def agree(
    workspace: Workspace,
    study: Study,
    metrics: Sequence[str],
    reference: str = "output_kl",
    *,
    data: str = EVALUATION,
    candidates: Sequence[Candidate] = DEFAULT_CANDIDATES,
    settings: QuantSettings | None = None,
    options: AgreementOptions | None = None,
    memory_mib: int = MEMORY_MIB,
) -> Step[Agreement]:
    """Compare how metrics rank the layers with what was measured, scoring what is not scored yet.

    A metric that cannot be computed on this model is left out with a note.

    Args:
        workspace: Where to work.
        study: The study.
        metrics: Registered names.
        reference: A metric of :data:`REFERENCES`, measured layer by layer.
        data: Set that the reference is measured on, ``calibration`` or ``evaluation``.
        candidates: What is scored in every layer.
        settings: How formats become quantizers.
        options: Resamples, top layers and seed.
        memory_mib: Memory for the activations of one batch; see :func:`score`.

    Raises:
        UnknownNameError: If there is no such metric.
        AnalysisError: If the reference is no measurement.
    """
    if reference not in REFERENCES:
        raise AnalysisError(
            f"A reference must be measured layer by layer: {', '.join(REFERENCES)}; got "
            f"`{reference}`. Choose one of them."
        )
    options = options or AgreementOptions()
    settings = replace(settings or QuantSettings(), pin_first_last=True)
    scored = partial(
        score, workspace, study, candidates=candidates, settings=settings, memory_mib=memory_mib
    )
    measured = scored(reference, options=_measured_on(reference, data))
    steps = [scored(name) for name in metrics]

    def work(parts: StoredParts) -> Work[Agreement]:
        del parts
        tables: list[ScoreTable] = []
        count = len(steps) + 1
        truth = yield from within(measured.need(workspace.store), 0, count, reference)
        for place, (name, step) in enumerate(zip(metrics, steps, strict=True), start=1):
            reason = unmet(name, study)
            if not reason:
                try:
                    needed = step.need(workspace.store)
                    tables.append((yield from within(needed, place, count, name)))
                except AnalysisError as error:
                    reason = str(error)
            if reason:
                yield Note(f"`{name}` is left out: {reason}")
        if not tables:
            raise AnalysisError(
                "At least one metric must be computed to be compared, every one was left out. "
                "Choose others."
            )
        return agreement(truth, tables, options)

    flags = {
        "metrics": ",".join(metrics),
        "reference": reference,
        "set": data,
        "candidates": ",".join(c.text for c in candidates),
    }
    return Step(
        name="agreement",
        version=1,
        title=f"Agreement of {len(metrics)} metrics with {METRICS[reference].title.lower()}",
        command=command_line("agreement", study.spec, flags | changed_settings(settings)),
        record=Agreement,
        inputs={"reference": measured.key}
        | {f"metric {i}": step.key for i, step in enumerate(steps)},
        options=as_dict(options),
        work=work,
    )


def reference_step(
    workspace: Workspace,
    study: Study,
    reference: str,
    data: str,
    candidates: Sequence[Candidate] = DEFAULT_CANDIDATES,
    settings: QuantSettings | None = None,
) -> Step[ScoreTable]:
    """Describe the measurement that metrics are compared with."""
    return score(
        workspace,
        study,
        reference,
        options=_measured_on(reference, data),
        candidates=candidates,
        settings=settings,
    )


def _measured_on(reference: str, data: str) -> Options:
    return build(METRICS[reference].options, {"data": data})


def contest(
    workspace: Workspace,
    study: Study,
    metrics: Sequence[str],
    budget: Budget,
    *,
    candidates: Sequence[Candidate] = DEFAULT_CANDIDATES,
    settings: QuantSettings | None = None,
    memory_mib: int = MEMORY_MIB,
) -> Step[Contest]:
    """Measure the allocation that each metric leads to at one budget, rounded to nearest.

    Equal allocations are measured once. A metric that cannot be computed, or whose scores do not
    tell candidates apart, is left out with a note.

    Raises:
        UnknownNameError: If there is no such metric.
    """
    settings = replace(settings or QuantSettings(), pin_first_last=True)
    steps = [
        score(
            workspace,
            study,
            name,
            candidates=candidates,
            settings=settings,
            memory_mib=memory_mib,
        )
        for name in metrics
    ]
    solving = [allocate(workspace, study, step, [budget], "milp") for step in steps]

    def work(parts: StoredParts) -> Work[Contest]:
        del parts
        entered: list[str] = []
        found: list[Configuration] = []
        for place, (name, solve) in enumerate(zip(metrics, solving, strict=True)):
            reason = unmet(name, study)
            if not reason:
                try:
                    one = _measured(workspace, study, solve, settings, f"{name}, {_said(budget)}")
                    found.append((yield from within(one, place, len(metrics), name)))
                    entered.append(name)
                except AnalysisError as error:
                    reason = str(error)
            if reason:
                yield Note(f"`{name}` is left out: {reason}")
        if not found:
            raise AnalysisError(
                "At least one metric must lead to an allocation, none did. Choose other metrics "
                "or a larger budget."
            )
        best = max(range(len(found)), key=lambda i: _merit(found[i]))
        return Contest(
            budget=budget,
            metrics=tuple(entered),
            configurations=tuple(found),
            best=best,
            versus_best=tuple(
                paired(
                    each.measured.predictions,
                    found[best].measured.predictions,
                    each.measured.correct,
                    found[best].measured.correct,
                    labelled=each.measured.labelled,
                )
                for each in found
            ),
        )

    flags = {
        "metrics": ",".join(metrics),
        "candidates": ",".join(c.text for c in candidates),
        "budget": budget_text(budget),
    }
    return Step(
        name="contest",
        version=1,
        title=f"Accuracy of {len(metrics)} metrics at {_said(budget)}",
        command=command_line("agreement", study.spec, flags | changed_settings(settings)),
        record=Contest,
        inputs={f"allocation {i}": step.key for i, step in enumerate(solving)},
        options={"settings": asdict(settings), "evaluation": study.evaluation.digest},
        work=work,
    )


def _measured(
    workspace: Workspace,
    study: Study,
    solve: Step[Solution],
    settings: QuantSettings,
    name: str,
) -> Work[Configuration]:
    allocation = (yield from solve.need(workspace.store)).allocation
    made = quantize(workspace, study, Recipe(allocation, settings=settings), name=name)
    return (yield from made.need(workspace.store))


def _merit(found: Configuration) -> tuple[float, float]:
    measured = found.measured
    return (measured.top1 if measured.labelled else 0.0, -measured.kl)


def _said(budget: Budget) -> str:
    return f"{budget.resource} {budget.limit:g}"
