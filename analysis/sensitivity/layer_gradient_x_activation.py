"""Captum's gradient times activation."""

from dataclasses import dataclass

from analysis.attribution.layers import GRADIENT_X_ACTIVATION
from analysis.events import Work
from analysis.options import Options, option
from analysis.records import ScoreTable
from analysis.sensitivity.attribution import attribution_scores
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class LayerGradientXActivationOptions(Options):
    """Options of :func:`layer_gradient_x_activation`."""

    batch_size: int = option(32, low=1, high=4096, help="Samples per pass; bounds the memory.")


@METRICS.register(
    "layer_gradient_x_activation",
    title="Gradient × activation (Captum)",
    answers="How much do the layer's outputs contribute to the predicted class, to first order?",
    reference="Kokhlikyan et al. 2020 (Captum), arXiv:2009.07896",
    needs=("backward",),
    options=LayerGradientXActivationOptions,
    cost="1 forward and 1 backward pass, K + 1 forward passes",
)
def layer_gradient_x_activation(
    task: SensitivityTask, options: LayerGradientXActivationOptions
) -> Work[ScoreTable]:
    """Sum over a layer's outputs of abs(z * df_c/dz), c the predicted class, in units of the logit.

    Candidates: that times the relative error of the layer's output, see :func:`attribution_scores`.
    """
    return (
        yield from attribution_scores(
            task,
            "layer_gradient_x_activation",
            options,
            GRADIENT_X_ACTIVATION,
            batch_size=options.batch_size,
            runs=1,
            unit="{output}",
        )
    )
