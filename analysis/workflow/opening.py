"""From a study file to a loaded study, its layer table and the ranges of its activations."""

from collections.abc import Sequence
from dataclasses import asdict

from analysis.catalog import LAYERS, STUDIES, study_id, study_key_inputs
from analysis.commands import command_line, default_name
from analysis.events import Events, Finished, Progress, Started, Work
from analysis.quant.statistics import ActivationStatistics, collect_statistics
from analysis.records import LayerTable, Study, StudySpec
from analysis.steps import Step, StoredParts
from analysis.workflow.recalibrating import recalibrated, versions
from analysis.workspace import Workspace, calibration_inputs

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
        version=3,
        title="Layer table",
        command=command_line("layers", study.spec),
        record=LayerTable,
        inputs=model_inputs(study),
        options={"shape": list(study.model.input_shape)},
        work=work,
        names=((LAYERS, study_id(study)),),
    )


def statistics(
    workspace: Workspace, study: Study, recalibrations: Sequence[str] = ()
) -> Step[ActivationStatistics]:
    """Collect ranges and histograms of every activation tensor on the calibration set.

    Args:
        workspace: Where to work.
        study: The study.
        recalibrations: What is done to the network before.
    """

    def work(parts: StoredParts) -> Work[ActivationStatistics]:
        del parts
        loaded = workspace.live(study)
        network = yield from recalibrated(workspace, study, recalibrations)
        size = study.calibration.n
        inputs = calibration_inputs(loaded)
        starts = range(0, size, BATCH)
        return (
            yield from collect_statistics(
                network,
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
        options=versions(recalibrations),
        work=work,
    )


def model_inputs(study: Study) -> dict[str, str]:
    """Return what identifies a study's model and what its input goes through."""
    inputs = study_key_inputs(study)
    return {name: inputs[name] for name in ("model", "architecture", "normalization")}
