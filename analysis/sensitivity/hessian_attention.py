r"""EPTQ's sample-layer attention: the label-free bound on the Hessian of the task loss.

With rounding noise of variance :math:`\sigma_l^2` per element on the output of layer l, and a
softmax cross-entropy whose Hessian with respect to the logits never exceeds 1/2,

.. math:: E[\Delta L_n] \le \tfrac14\, \lVert \partial f_n/\partial z_l \rVert_F^2\, \sigma_{nl}^2 .

The trace is a sum over elements and the error a mean over elements: only this pair keeps loss
units. See arXiv:2309.11531.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from analysis.curvature.jacobian import one_hot_probes, sign_probes, squared_norms
from analysis.events import Progress, Work
from analysis.options import Options, option
from analysis.records import FloatArray, ScoreTable
from analysis.sensitivity.isolated import IsolatedPlans, local_outputs
from analysis.sensitivity.tables import score_table
from analysis.sensitivity.task import METRICS, SensitivityTask, in_batches

UNIT = "‖∂logits/∂output‖²"
# Half of the largest eigenvalue, 1/2, that diag(p) - p p^T can have.
LOSS_BOUND = 0.25


@dataclass(frozen=True, slots=True)
class HessianAttentionOptions(Options):
    """Options of :func:`hessian_attention`."""

    probes: int = option(
        100,
        low=1,
        high=10_000,
        help="Backward passes allowed per batch; exact when there are no more classes than this.",
    )
    batch_size: int = option(32, low=1, high=4096, help="Samples per pass; bounds the memory.")
    seed: int = option(0, low=0, high=2**31 - 1, help="Seed of the random signs, if any.")


@METRICS.register(
    "hessian_attention",
    title="Sample-layer attention",
    answers="How much does the loss rise when a layer's output is disturbed, sample by sample?",
    reference="Gordon et al. 2023 (EPTQ), arXiv:2309.11531",
    needs=("backward",),
    options=HessianAttentionOptions,
)
def hessian_attention(task: SensitivityTask, options: HessianAttentionOptions) -> Work[ScoreTable]:
    """Score layers by squared Jacobian norms, candidates by norm times the error they cause.

    Exact with one backward pass per class while classes <= ``probes``; otherwise the mean over
    ``probes`` random signs per sample, with its standard error.
    """
    begin = perf_counter()
    classes = task.network.num_classes
    exact = classes <= options.probes
    probes = classes if exact else options.probes
    steps = probes + (len(task.network.table.layers) if task.candidates else 0)
    plans = IsolatedPlans(task.network, task.candidates, task.statistics, task.settings)
    joined = yield from in_batches(
        task,
        options.batch_size,
        steps,
        lambda batch: _batch(task, plans, batch, options, exact),
    )
    scored = bool(task.candidates)
    return score_table(
        task,
        "hessian_attention",
        options,
        unit="nats" if scored else UNIT,
        begin=begin,
        passes=(1 + (1 + len(task.candidates) if scored else 0), probes),
        rows=joined["scores"] if scored else joined["norms"],
        per_sample=joined["norms"],
        per_sample_unit=UNIT,
        per_sample_stderr=None if exact else np.sqrt(joined["variances"]),
        exact=exact,
        seed=options.seed,
    )


def _batch(
    task: SensitivityTask,
    plans: IsolatedPlans,
    batch: range,
    options: HessianAttentionOptions,
    exact: bool,
) -> Work[Mapping[str, FloatArray]]:
    """Norms and the variance of their estimate (B, L), scores of the candidates (B, L, C)."""
    layers = task.network.table.layers
    calls = [call for layer in layers for call in layer.calls]
    owners = [i for i, layer in enumerate(layers) for _ in layer.calls]
    x = task.inputs(batch)
    classes = task.network.num_classes
    probes = (
        list(one_hot_probes(len(batch), classes))
        if exact
        else list(sign_probes(batch, classes, options.probes, options.seed))
    )
    total = torch.zeros(len(batch), len(calls), dtype=torch.float64)
    squares = torch.zeros(len(batch), len(layers), dtype=torch.float64)
    owner = torch.tensor(owners)
    for k, row in enumerate(squared_norms(task.network, calls, x, [p.to(x) for p in probes])):
        total += row.cpu()
        squares += _by_layer(row.cpu(), owner, len(layers)).square()
        yield Progress(k + 1, 0, f"backward pass {k + 1} of {len(probes)}")
    if not exact:
        total /= len(probes)
    norms = _by_layer(total, owner, len(layers))
    variances = (squares / len(probes) - norms.square()).clamp_min(0) / max(len(probes) - 1, 1)
    scores = np.zeros((len(batch), len(layers), len(task.candidates)))
    if task.candidates:
        for column, local in enumerate(local_outputs(task.network, plans, x)):
            weight = LOSS_BOUND * total[:, column].numpy()
            for c, candidate in enumerate(task.candidates):
                error = local.error(candidate).flatten(1)
                scores[:, local.layer, c] += weight * error.square().mean(1).double().cpu().numpy()
            yield Progress(
                len(probes) + local.layer + 1, 0, f"errors of `{layers[local.layer].name}`"
            )
    return {"norms": norms.numpy(), "variances": variances.numpy(), "scores": scores}


def _by_layer(columns: Tensor, owner: Tensor, layers: int) -> Tensor:
    """Sum the columns (B, K) of calls that belong to one layer, (B, L)."""
    return torch.zeros(len(columns), layers, dtype=columns.dtype).index_add_(1, owner, columns)
