"""Uniform bits, the baseline that every allocation must beat, measured in one job."""

from collections.abc import Sequence

from analysis import workflow
from analysis.allocation_file import uniform_allocation
from analysis.catalog import study_key_inputs
from analysis.events import Events, Finished, Note, Progress, Started
from analysis.records import Candidate, Configuration, LayerTable, Study
from analysis.steps import Step
from analysis.workspace import Workspace
from cache.keys import key
from cache.store import Store

UNIFORM = tuple(Candidate.parse(text) for text in ("w8a8", "w6a8", "w4a8", "w3a8", "w2a8"))
_PARTS = 1000  # a step's progress is shown in thousandths


def uniform_steps(
    workspace: Workspace,
    study: Study,
    table: LayerTable,
    candidates: Sequence[Candidate] = UNIFORM,
) -> tuple[Step[Configuration], ...]:
    """Describe the measurement of uniform bits, first and last layer held at w8a8.

    Values are rounded to nearest under default settings: the result without any method.

    Args:
        workspace: Where to work.
        study: The study.
        table: Its layers.
        candidates: What all layers but the pinned ones get, one configuration for each.
    """
    return tuple(
        workflow.quantize(
            workspace,
            study,
            workflow.Recipe(uniform_allocation(table, candidate), file=f"uniform:{candidate.text}"),
        )
        for candidate in candidates
    )


def unmeasured(store: Store, steps: Sequence[Step[Configuration]]) -> tuple[Candidate, ...]:
    """Return which uniform candidates of ``steps`` have no stored result."""
    return tuple(_candidate(step) for step in steps if not store.contains(step.key))


def job_key(study: Study, steps: Sequence[Step[Configuration]]) -> str:
    """Return the key of the job that runs the steps."""
    options = {"steps": [step.key for step in steps]}
    return key("baselines", 1, study_key_inputs(study), options)


def measure_all(
    store: Store, steps: Sequence[Step[Configuration]], title: str = "Uniform baselines"
) -> Events[tuple[Configuration, ...]]:
    """Run steps one after the other; what is stored is read, what is finished stays on a cancel."""
    yield Started("baselines", title)
    results = []
    for place, step in enumerate(steps):
        furthest = place * _PARTS
        label = step.names[0][1]
        for event in step.events(store):
            if isinstance(event, Finished):
                results.append(event.result)
            elif isinstance(event, Progress):
                # A step has several phases, each of which counts from 0.
                here = place * _PARTS + _PARTS * event.done // max(event.total, 1)
                furthest = max(furthest, min(here, (place + 1) * _PARTS - 1))
                yield Progress(furthest, len(steps) * _PARTS, f"{label}: {event.message}")
            elif isinstance(event, Note):
                yield Note(f"{label}: {event.text}")
        yield Progress((place + 1) * _PARTS, len(steps) * _PARTS, f"{label}: measured")
    yield Finished(tuple(results))


def _candidate(step: Step[Configuration]) -> Candidate:
    """Return what most layers get."""
    texts = list(step.options["allocation"].values())
    return Candidate.parse(max(dict.fromkeys(texts), key=texts.count))
