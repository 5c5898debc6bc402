"""Rise of the task loss."""

from dataclasses import dataclass

from analysis.events import Work
from analysis.records import FloatArray, OutputChanges, ScoreTable
from analysis.sensitivity.measured import MeasuredOptions
from analysis.sensitivity.outputs import increments, output_scores
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class LossIncreaseOptions(MeasuredOptions):
    """Options of :func:`loss_increase`."""


@METRICS.register(
    "loss_increase",
    title="Loss increase",
    answers="How much does the cross-entropy rise when this layer is quantized?",
    needs=("labels", "candidates"),
    options=LossIncreaseOptions,
    cost="1 forward pass and L × K suffixes of one; shared by the output metrics",
)
def loss_increase(task: SensitivityTask, options: LossIncreaseOptions) -> Work[ScoreTable]:
    """Mean rise of the cross-entropy over the float network's, in nats; may be negative.

    Raises:
        DataError: If the samples have no labels.
        QuantizationError: If there are no candidates to score.
    """
    task.labels("loss_increase")

    def rows(found: OutputChanges) -> FloatArray:
        assert found.loss is not None
        assert found.float_loss is not None
        return increments(found.loss, found.float_loss, options.protocol)

    return (yield from output_scores(task, "loss_increase", options, "nats", rows))
