"""Scores of single weights, computed once for whatever estimates ranges with them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from analysis.commands import command_line
from analysis.curvature.elements import ElementScores, element_scores
from analysis.events import Work
from analysis.quant.estimators import RANGE_ESTIMATORS, needs_scores
from analysis.records import FLOAT, Candidate, QuantSettings, Study
from analysis.steps import Step, StoredParts
from analysis.workflow.opening import model_inputs
from analysis.workflow.recalibrating import recalibrated, versions
from analysis.workspace import Workspace, calibration_inputs

# Enough for ranges: more samples and probes hardly move the scores' ratios.
SAMPLES = 256
PROBES = 32
SEED = 0
VERSION = 1


def scored_elements(
    workspace: Workspace, study: Study, recalibrations: Sequence[str] = ()
) -> Step[ElementScores]:
    """Score every single weight on the first calibration samples, at most 256.

    Args:
        workspace: Where to work.
        study: The study.
        recalibrations: What is done to the network before.
    """
    size = min(study.calibration.n, SAMPLES)

    def work(parts: StoredParts) -> Work[ElementScores]:
        inputs = calibration_inputs(workspace.live(study))
        network = yield from recalibrated(workspace, study, recalibrations)
        return (
            yield from element_scores(network, inputs, size, probes=PROBES, seed=SEED, parts=parts)
        )

    return Step(
        name="elements",
        version=VERSION,
        title="Scores of single weights",
        command=command_line("layers", study.spec),
        record=ElementScores,
        inputs=model_inputs(study) | {"calibration": study.calibration.digest},
        options={"samples": size, "probes": PROBES, "seed": SEED, **versions(recalibrations)},
        work=work,
    )


def scores_for(
    workspace: Workspace,
    study: Study,
    settings: QuantSettings,
    candidates: Iterable[Candidate],
    recalibrations: Sequence[str] = (),
) -> Work[Mapping[str, NDArray[Any]] | None]:
    """Return the scores by layer name if ranges of weights will ask for them, else None.

    Args:
        workspace: Where to work.
        study: The study.
        settings: They name the range estimator.
        candidates: What layers will be quantized to.
        recalibrations: What is done to the network before.
    """
    quantized = any(candidate.weight != FLOAT for candidate in candidates)
    if not (quantized and needs_scores(settings.weight_range)):
        return None
    step = scored_elements(workspace, study, recalibrations)
    return (yield from step.need(workspace.store)).scores


def element_versions(settings: QuantSettings) -> dict[str, object]:
    """Return what identifies the scores that settings ask for in a key, nothing for none."""
    if not needs_scores(settings.weight_range):
        return {}
    estimator = RANGE_ESTIMATORS[settings.weight_range].version
    return {"elements": [VERSION, SAMPLES, PROBES, SEED, estimator]}
