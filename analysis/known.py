"""What the store already knows about an allocation, for exports."""

from dataclasses import dataclass

from analysis.catalog import configurations
from analysis.records import Allocation, Configuration, ScoreTable, Solution, Study
from analysis.workflow import model_inputs
from cache.store import Store


@dataclass(frozen=True, slots=True)
class Known:
    """The latest stored results that belong to an allocation; None where there is none."""

    scores: ScoreTable | None
    solution: Solution | None
    configuration: Configuration | None


def known(store: Store, study: Study, allocation: Allocation) -> Known:
    """Look up how an allocation was found and what it measured.

    Scores are those that the solution was found with. Nothing is computed.
    """
    configuration = None
    for candidate in configurations(store, study).values():
        if candidate.allocation == allocation:
            configuration = candidate
    inputs = model_inputs(study) | {"calibration": study.calibration.digest}
    entries = {entry.key: entry for entry in store.entries()}
    for entry in reversed(entries.values()):
        scored = entries.get(entry.inputs.get("scores", ""))
        if entry.step == "allocate" and scored is not None and dict(scored.inputs) == inputs:
            solution = store.get(entry.key, Solution)
            if solution is not None and solution.allocation == allocation:
                return Known(store.get(scored.key, ScoreTable), solution, configuration)
    return Known(None, None, configuration)
