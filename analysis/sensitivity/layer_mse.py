"""Mean squared error of every layer's own output."""

from dataclasses import dataclass

from analysis.events import Work
from analysis.records import ScoreTable
from analysis.sensitivity.layer_errors import layer_error_scores
from analysis.sensitivity.measured import MeasuredOptions
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class LayerMSEOptions(MeasuredOptions):
    """Options of :func:`layer_mse`."""


@METRICS.register(
    "layer_mse",
    title="Layer output MSE",
    answers="How far does the layer's own output move?",
    needs=("candidates",),
    options=LayerMSEOptions,
    cost="K + 1 forward passes; shared by the layer metrics",
)
def layer_mse(task: SensitivityTask, options: LayerMSEOptions) -> Work[ScoreTable]:
    """Mean squared error of the layer's output before its activation function.

    In the squared unit of that output: layers of different scale are not comparable, and what the
    rest of the network makes of the error is not seen.

    Raises:
        QuantizationError: If there are no candidates to score.
    """
    return (
        yield from layer_error_scores(
            task, "layer_mse", options, "squared output", lambda found: found.error
        )
    )
