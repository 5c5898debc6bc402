"""What quantization does to every layer's own output: measured once, read by several metrics."""

from collections.abc import Callable, Mapping
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from analysis.events import Progress, Work
from analysis.models.network import NOTHING
from analysis.models.replay import Plan, Transform
from analysis.records import Candidate, FloatArray, LayerErrors, ScoreTable
from analysis.sensitivity.isolated import IsolatedPlans, local_outputs
from analysis.sensitivity.measured import ACCUMULATED, ISOLATED, MeasuredOptions
from analysis.sensitivity.tables import need_candidates, score_table
from analysis.sensitivity.task import SensitivityTask, in_batches


def layer_error_scores(
    task: SensitivityTask,
    metric: str,
    options: MeasuredOptions,
    unit: str,
    rows: Callable[[LayerErrors], FloatArray],
) -> Work[ScoreTable]:
    """Return the score table of a metric that is a view of the layers' errors.

    Raises:
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    need_candidates(task, metric)
    name = f"layer errors, {options.protocol}, batches of {options.batch_size}"
    found = yield from task.shared(name, LayerErrors, lambda own: _measure(own, options), task)
    accumulated = options.protocol == ACCUMULATED
    notes = (
        "Errors at a layer hold those of all layers before it: they are levels, not increments, "
        "and do not add up over layers.",
    )
    return score_table(
        task,
        metric,
        options,
        unit=unit,
        begin=begin,
        passes=(1 + len(task.candidates), 0),
        rows=rows(found),
        protocol=options.protocol,
        notes=notes if accumulated else (),
    )


def _measure(task: SensitivityTask, options: MeasuredOptions) -> Work[LayerErrors]:
    begin = perf_counter()
    layers = task.network.table.layers
    plans = IsolatedPlans.of(task)
    find = _isolated if options.protocol == ISOLATED else _accumulated

    def batch_of(batch: range) -> Work[Mapping[str, FloatArray]]:
        error = np.zeros((len(batch), len(layers), len(task.candidates)))
        power = np.zeros((len(batch), len(layers)))
        yield from find(task, plans, task.inputs(batch), error, power)
        # A layer that is called several times counts with the mean over its calls.
        calls = np.array([len(layer.calls) for layer in layers], dtype=np.float64)
        return {"error": error / calls[:, None], "power": power / calls}

    found = yield from in_batches(task, options.batch_size, len(layers), batch_of)
    return LayerErrors(
        layers=task.network.table.names,
        candidates=task.candidates,
        protocol=options.protocol,
        error=found["error"],
        power=found["power"],
        seconds=perf_counter() - begin,
    )


def _isolated(
    task: SensitivityTask, plans: IsolatedPlans, x: Tensor, error: FloatArray, power: FloatArray
) -> Work[None]:
    for local in local_outputs(task.network, plans, x):
        power[:, local.layer] += mean_square(local.plain)
        for c, candidate in enumerate(task.candidates):
            error[:, local.layer, c] += mean_square(local.error(candidate))
        yield Progress(local.layer, 0, f"`{task.network.table.names[local.layer]}`")


def _accumulated(
    task: SensitivityTask, plans: IsolatedPlans, x: Tensor, error: FloatArray, power: FloatArray
) -> Work[None]:
    plain = _layer_outputs(task, x, NOTHING)
    owners = _owners(task)
    for call, z in plain.items():
        power[:, owners[call]] += mean_square(z)
    for c, candidate in enumerate(task.candidates):
        for call, z in _layer_outputs(task, x, _uniform(task, plans, candidate)).items():
            error[:, owners[call], c] += mean_square(z - plain[call])
        yield Progress(c, 0, f"every layer at {candidate.text}")


def _uniform(task: SensitivityTask, plans: IsolatedPlans, candidate: Candidate) -> Plan:
    plan = NOTHING
    for layer in task.network.table.layers:
        plan = plan | plans.plan(layer, candidate)
    return plan


def _owners(task: SensitivityTask) -> dict[int, int]:
    """Return the layer's place by call."""
    return {
        call: place for place, layer in enumerate(task.network.table.layers) for call in layer.calls
    }


def _layer_outputs(task: SensitivityTask, x: Tensor, plan: Plan) -> dict[int, Tensor]:
    """Return every layer call's output (B, ...) before its activation is quantized."""
    network = task.network
    caught: dict[int, Tensor] = {}

    def catch(call: int) -> Transform:
        after = plan.outputs.get((call, 0))

        def transform(z: Tensor) -> Tensor:
            caught[call] = network.per_sample(call, z, len(x)).clone()
            return z if after is None else after(z)

        return transform

    with torch.no_grad():
        network(x, plan | Plan(outputs={(call, 0): catch(call) for call in _owners(task)}))
    return caught


def mean_square(z: Tensor) -> FloatArray:
    """Return the mean square of every sample (B,) of (B, ...), in float64."""
    return np.asarray(z.flatten(1).double().square().mean(1).cpu().numpy())
