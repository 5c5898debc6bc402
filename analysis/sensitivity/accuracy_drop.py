"""Drop of the top-1 accuracy."""

from dataclasses import dataclass

from analysis.events import Work
from analysis.records import FloatArray, OutputChanges, ScoreTable
from analysis.sensitivity.measured import MeasuredOptions
from analysis.sensitivity.outputs import increments, output_scores
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class AccuracyDropOptions(MeasuredOptions):
    """Options of :func:`accuracy_drop`."""


@METRICS.register(
    "accuracy_drop",
    title="Accuracy drop",
    answers="How many samples does quantizing this layer turn from right to wrong?",
    needs=("labels", "candidates"),
    options=AccuracyDropOptions,
    cost="1 forward pass and L × K suffixes of one; shared by the output metrics",
)
def accuracy_drop(task: SensitivityTask, options: AccuracyDropOptions) -> Work[ScoreTable]:
    """Drop of the top-1 accuracy in points (percent of the samples); may be negative.

    Differences are taken sample by sample, so that the standard error is a paired one. One sample
    is the smallest step there is: small sets rank layers by chance.

    Raises:
        DataError: If the samples have no labels.
        QuantizationError: If there are no candidates to score.
    """
    task.labels("accuracy_drop")
    step = f"One sample of {task.n:,} is {100 / task.n:.2g} points."

    def rows(found: OutputChanges) -> FloatArray:
        assert found.correct is not None
        assert found.float_correct is not None
        return -100.0 * increments(found.correct, found.float_correct, options.protocol)

    return (yield from output_scores(task, "accuracy_drop", options, "points", rows, (step,)))
