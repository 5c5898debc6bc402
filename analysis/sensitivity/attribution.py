"""What the metrics that use captum's layer attributions have in common."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from time import perf_counter

import numpy as np

from analysis.attribution.layers import Attribution, attributions, find_places
from analysis.curvature.jacobian import squares_per_sample
from analysis.events import Progress, Work
from analysis.options import Options
from analysis.records import FloatArray, ScoreTable
from analysis.sensitivity.isolated import IsolatedPlans, local_outputs
from analysis.sensitivity.tables import score_table
from analysis.sensitivity.task import SensitivityTask, in_batches

ZERO_BASELINE = "The path starts at the all-zero input, after the dataset's normalisation."


def attribution_scores(
    task: SensitivityTask,
    metric: str,
    options: Options,
    method: Attribution,
    *,
    batch_size: int,
    runs: int,
    unit: str,
    steps: int = 1,
    notes: Sequence[str] = (),
) -> Work[ScoreTable]:
    r"""Score layers by captum's attributions, candidates by these times a relative error.

    .. math:: I_l = \frac1N \sum_n \sum_i |a_{nli}|, \quad
        s_{lc} = I_l \sqrt{\frac{\sum_n \lVert \Delta z_{nlc} \rVert^2}
        {\sum_n \lVert z_{nl} \rVert^2}}

    The error of a layer's output is that of quantizing the layer alone, on float inputs. A layer
    that cannot reach the logits scores 0.

    Args:
        task: What is scored.
        metric: The metric's registered name.
        options: Its options.
        method: Captum's method.
        batch_size: Samples per call of captum.
        runs: Forward and backward passes of captum per batch.
        unit: Unit of the attributions; ``{output}`` stands for what the model returns.
        steps: Steps along the path, for methods that follow one.
        notes: What a reader must know.
    """
    begin = perf_counter()
    network, layers = task.network, task.network.table.layers
    # Captum hooks the model: other threads that run the network must not see that.
    twin = deepcopy(network.module)
    places, skipped = find_places(network, task.inputs(range(min(2, task.n))), method, twin)
    plans = IsolatedPlans.of(task)
    scored = bool(task.candidates)

    def batch_of(batch: range) -> Work[Mapping[str, FloatArray]]:
        x = task.inputs(batch)
        importance = np.zeros((len(batch), len(layers)))
        power = np.zeros((len(batch), len(layers)))
        error = np.zeros((len(batch), len(layers), len(task.candidates)))
        for done, (place, a) in enumerate(attributions(network, method, places, x, steps, twin)):
            importance[:, place.layer] = a.flatten(1).double().abs().sum(1).cpu().numpy()
            yield Progress(done + 1, 0, f"`{layers[place.layer].name}`")
        for local in local_outputs(network, plans, x) if scored else ():
            power[:, local.layer] += squares_per_sample(local.plain).cpu().numpy()
            for c, candidate in enumerate(task.candidates):
                error[:, local.layer, c] += squares_per_sample(local.error(candidate)).cpu().numpy()
            yield Progress(len(places) + local.layer, 0, f"errors of `{layers[local.layer].name}`")
        return {"importance": importance, "power": power, "error": error}

    total = len(places) + (len(layers) if scored else 0)
    found = yield from in_batches(task, batch_size, max(total, 1), batch_of)
    importance = found["importance"]
    relative = _relative(found["error"].sum(0), found["power"].sum(0)[:, None])
    unit = unit.format(output=_output(task))
    forward = 1 + runs + (1 + len(task.candidates) if scored else 0)
    return score_table(
        task,
        metric,
        options,
        unit=unit,
        begin=begin,
        passes=(forward, runs),
        rows=importance[:, :, None] * relative if scored else importance,
        per_sample=importance,
        per_sample_unit=unit,
        notes=("Attributions are those of the class that the float network predicts.", *notes),
        skipped=skipped,
    )


def _relative(error: FloatArray, power: FloatArray) -> FloatArray:
    """Return sqrt(error / power); no error of an output that is zero is no relative error."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error == 0, 0.0, np.sqrt(error / power))


def _output(task: SensitivityTask) -> str:
    """Say what the user's module returns for a class: captum sees a softmax at its end."""
    trace = task.network.trace
    last = trace.calls[trace.output[0]]
    if last.index not in task.network.plan.skip:
        return "logit"
    return "probability" if last.name == "softmax" else "log probability"
