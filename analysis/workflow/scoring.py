"""From a study to the scores of a metric."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from analysis.catalog import scores_kind
from analysis.commands import changed_options, changed_settings, command_line
from analysis.events import Note, Work
from analysis.options import Options, as_dict, build
from analysis.parts import Parts
from analysis.quant.estimators import check_ranges
from analysis.records import Candidate, FloatArray, QuantSettings, Record, ScoreTable, Study
from analysis.sensitivity import METRICS, SensitivityTask
from analysis.sensitivity.measured import ISOLATED
from analysis.sensitivity.task import CALIBRATION, Samples, batch_limit
from analysis.steps import Step, StoredParts
from analysis.workflow.elements import element_versions, scores_for
from analysis.workflow.opening import model_inputs, statistics
from analysis.workspace import LoadedStudy, Workspace, calibration_inputs, evaluation_inputs

MEMORY_MIB = 2048
ANY = 1 << 30
R = TypeVar("R", bound=Record)
DEFAULT_CANDIDATES = tuple(Candidate.parse(c) for c in ("w2a8", "w3a8", "w4a8", "w6a8", "w8a8"))


def score(
    workspace: Workspace,
    study: Study,
    metric: str,
    *,
    options: Options | None = None,
    candidates: Sequence[Candidate] = DEFAULT_CANDIDATES,
    settings: QuantSettings | None = None,
    memory_mib: int = MEMORY_MIB,
) -> Step[ScoreTable]:
    """Score every layer, and every candidate if there are any, by a registered metric.

    Args:
        workspace: Where to work.
        study: The study.
        metric: A registered metric.
        options: The metric's options; None for its defaults.
        candidates: What is scored in every layer; may be empty for some metrics.
        settings: How formats become quantizers.
        memory_mib: Memory for the activations of one batch, in MiB. Batches are made smaller to
            fit, which changes no score and is no part of the result's key.

    Raises:
        UnknownNameError: If there is no such metric or range estimator.
        QuantizationError: If the range estimator of activations is one for weights alone.
    """
    method = METRICS[metric]
    options = method.options() if options is None else options
    # Pins do not enter a score: tables that differ in nothing else are one table.
    settings = replace(settings or QuantSettings(), pin_first_last=True)
    check_ranges(settings)
    role = str(as_dict(options).get("data", CALIBRATION))
    inputs = model_inputs(study) | {"calibration": study.calibration.digest}
    if role != CALIBRATION:
        inputs[role] = study.evaluation.digest

    def shared(
        name: str,
        record: type[R],
        compute: Callable[[SensitivityTask], Work[R]],
        task: SensitivityTask,
    ) -> Work[R]:
        step = Step(
            name="measured",
            version=1,
            title=name,
            command="",
            record=record,
            inputs=inputs,
            options={
                "what": name,
                "candidates": [c.text for c in candidates],
                "settings": asdict(settings),
                **element_versions(settings),
            },
            work=lambda own: compute(replace(task, parts=_apart(own, task.limit))),
        )
        return (yield from step.need(workspace.store))

    def work(parts: StoredParts) -> Work[ScoreTable]:
        ranges = yield from statistics(workspace, study).need(workspace.store)
        scores = yield from scores_for(workspace, study, settings, candidates)
        loaded = workspace.live(study)
        fits = batch_limit(loaded.network, memory_mib)
        wanted = int(as_dict(options).get("batch_size", 0))
        limit = fits if fits < wanted else ANY
        if limit != ANY:
            yield Note(
                f"Batches hold {limit} samples instead of {wanted}: their activations fit into "
                f"{memory_mib:,} MiB."
            )
        task = SensitivityTask(
            network=loaded.network,
            samples=_samples(loaded, role),
            candidates=tuple(candidates),
            settings=settings,
            statistics=ranges,
            parts=_apart(parts, limit),
            shared=shared,
            limit=limit,
            element_scores=scores,
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
        inputs=inputs,
        options={
            "metric": metric,
            "options": as_dict(options),
            "candidates": [c.text for c in candidates],
            "settings": asdict(settings),
            **element_versions(settings),
        },
        work=work,
        names=((scores_kind(study), _listed(metric, options, bool(candidates))),),
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


def _samples(loaded: LoadedStudy, role: str) -> Samples:
    """Return one of the study's sets as metrics see it."""
    here = role == CALIBRATION
    data = loaded.calibration if here else loaded.evaluation
    reference = loaded.study.calibration if here else loaded.study.evaluation
    inputs = calibration_inputs(loaded) if here else evaluation_inputs(loaded)
    return Samples(inputs, reference.n, data.labels, role, reference.digest)


def _listed(metric: str, options: Options, candidates: bool) -> str:
    """Return the name under which the latest table of this kind is found."""
    values = as_dict(options)
    parts = [values.get("protocol", ISOLATED), values.get("data", CALIBRATION)]
    unusual = [str(p) for p in parts if p not in (ISOLATED, CALIBRATION)]
    return ", ".join([metric, *unusual] if candidates else [metric, *unusual, "layers alone"])


def _apart(parts: StoredParts, limit: int) -> Parts:
    """Keep parts of smaller batches apart from those of the usual size."""
    return parts if limit == ANY else _Renamed(parts, f"{limit} at a time, ")


@dataclass(frozen=True, slots=True)
class _Renamed:
    parts: StoredParts
    before: str

    def load(self, name: str) -> Mapping[str, FloatArray] | None:
        return self.parts.load(self.before + name)

    def save(self, name: str, arrays: Mapping[str, FloatArray]) -> None:
        self.parts.save(self.before + name, arrays)
