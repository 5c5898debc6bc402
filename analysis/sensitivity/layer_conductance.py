"""Captum's layer conductance."""

from dataclasses import dataclass

from analysis.attribution.layers import CONDUCTANCE
from analysis.events import Work
from analysis.options import Options, option
from analysis.records import ScoreTable
from analysis.sensitivity.attribution import ZERO_BASELINE, attribution_scores
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class LayerConductanceOptions(Options):
    """Options of :func:`layer_conductance`."""

    n_steps: int = option(
        16, low=2, high=1000, help="Steps along the path from the zero input to the sample."
    )
    batch_size: int = option(
        8, low=1, high=4096, help="Samples per pass; n_steps + 1 copies of them are in memory."
    )


@METRICS.register(
    "layer_conductance",
    title="Layer conductance (Captum)",
    answers="How much of the predicted class flows through the layer's outputs?",
    reference="Dhamdhere et al. 2018, arXiv:1805.12233",
    needs=("backward",),
    options=LayerConductanceOptions,
    cost="`n_steps` forward and backward passes per layer, K + 1 forward passes",
)
def layer_conductance(task: SensitivityTask, options: LayerConductanceOptions) -> Work[ScoreTable]:
    """Sum over a layer's outputs of the absolute conductance, in units of the predicted logit.

    The signed sum over one layer that everything passes through tends to f_c(x) - f_c(0) as steps
    are added. Steps are equal and reach both ends of the path, so linear networks need no more than
    two. Candidates: see
    :func:`~analysis.sensitivity.attribution.attribution_scores`.
    """
    return (
        yield from attribution_scores(
            task,
            "layer_conductance",
            options,
            CONDUCTANCE,
            batch_size=options.batch_size,
            runs=len(task.network.table.layers) * (options.n_steps + 1),
            unit="{output}",
            steps=options.n_steps,
            notes=(ZERO_BASELINE,),
        )
    )
