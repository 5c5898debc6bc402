"""Captum's internal influence."""

from dataclasses import dataclass

from analysis.attribution.layers import INFLUENCE
from analysis.events import Work
from analysis.options import Options, option
from analysis.records import ScoreTable
from analysis.sensitivity.attribution import ZERO_BASELINE, attribution_scores
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class InternalInfluenceOptions(Options):
    """Options of :func:`internal_influence`."""

    n_steps: int = option(
        16, low=1, high=1000, help="Gauss-Legendre nodes between the zero input and the sample."
    )
    batch_size: int = option(
        8, low=1, high=4096, help="Samples per pass; n_steps copies of them are in memory."
    )


@METRICS.register(
    "internal_influence",
    title="Internal influence (Captum)",
    answers="How steeply does the predicted class depend on the layer's outputs, along a path?",
    reference="Leino et al. 2018, arXiv:1802.03788",
    needs=("backward",),
    options=InternalInfluenceOptions,
    cost="`n_steps` forward and backward passes per layer, K + 1 forward passes",
)
def internal_influence(
    task: SensitivityTask, options: InternalInfluenceOptions
) -> Work[ScoreTable]:
    """Sum over a layer's outputs of abs(mean of df_c/dz along the path to the sample).

    In units of the predicted logit per unit of the layer's output: a gradient, so layers with large
    outputs score low. Candidates: see
    :func:`~analysis.sensitivity.attribution.attribution_scores`.
    """
    return (
        yield from attribution_scores(
            task,
            "internal_influence",
            options,
            INFLUENCE,
            batch_size=options.batch_size,
            runs=len(task.network.table.layers) * options.n_steps,
            unit="{output} per output",
            steps=options.n_steps,
            notes=(ZERO_BASELINE,),
        )
    )
