r"""EPTQ's sample-layer attention: the label-free bound on the Hessian of the task loss.

With a softmax cross-entropy, whose Hessian with respect to the logits never exceeds 1/2, an error
d on the output z of a layer raises the loss of sample n by at most

.. math:: \Delta L_n \le \tfrac14 \lVert J_n d \rVert^2, \quad J_n = \partial f_n / \partial z_n .

Uncorrelated errors leave the diagonal, :math:`\tfrac14 \sum_i h_{ni} d_{ni}^2` with
:math:`h_{ni} = \sum_c J_{nci}^2`; errors of equal variance everywhere leave the trace,
:math:`\tfrac14 \lVert J_n \rVert_F^2 \, \overline{d_n^2}`. See arXiv:2309.11531.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from analysis.curvature.jacobian import gradients, one_hot_probes, sign_probes, squares_per_sample
from analysis.events import Progress, Work
from analysis.options import Options, option
from analysis.records import FloatArray, Layer, ScoreTable
from analysis.sensitivity.isolated import IsolatedPlans, local_outputs
from analysis.sensitivity.tables import score_table
from analysis.sensitivity.task import SensitivityTask, in_batches

# Half of the largest eigenvalue, 1/2, that diag(p) - p p^T can have.
LOSS_BOUND = 0.25


@dataclass(frozen=True, slots=True)
class AttentionOptions(Options):
    """Options of every form of the attention."""

    probes: int = option(
        100,
        low=1,
        high=10_000,
        help="Backward passes allowed per batch; exact when there are no more classes than this.",
    )
    per_image: bool = option(
        False, help="Divide every sample's attention by its sum over the layers: shares, no nats."
    )
    batch_size: int = option(32, low=1, high=4096, help="Samples per pass; bounds the memory.")
    seed: int = option(0, low=0, high=2**31 - 1, help="Seed of the random signs, if any.")


@dataclass(frozen=True, slots=True)
class Form:
    """How attention is reduced, and joined with the error that a candidate causes.

    Attributes:
        unit: Unit of the attention per sample and layer.
        loss_unit: Unit of a candidate's score.
        reduce: Squared Jacobian elements (B, ...) of a layer's call -> attention (B,). None: the
            sum over elements, which needs no elements in memory.
        join: The same elements, attention (B,) and the output's error (B, ...) -> score (B,).
    """

    unit: str
    loss_unit: str
    reduce: Callable[[Layer, Tensor], Tensor] | None
    join: Callable[[Layer, Tensor | None, Tensor, Tensor], Tensor]


def attention_scores(
    task: SensitivityTask, metric: str, options: AttentionOptions, form: Form
) -> Work[ScoreTable]:
    """Score layers by their attention, candidates by attention joined with the error they cause.

    Exact with one backward pass per class while classes <= ``probes``; otherwise the mean over
    ``probes`` random signs per sample, with its standard error.
    """
    begin = perf_counter()
    classes = task.network.num_classes
    exact = classes <= options.probes
    probes = classes if exact else options.probes
    steps = probes + (len(task.network.table.layers) if task.candidates else 0)
    plans = IsolatedPlans.of(task)
    joined = yield from in_batches(
        task,
        options.batch_size,
        steps,
        lambda batch: _batch(task, plans, batch, options, form),
    )
    scored = bool(task.candidates)
    attention, scores = joined["attention"], joined["scores"]
    deviation = np.sqrt(joined["variances"])
    unit, loss_unit = form.unit, form.loss_unit
    if options.per_image:
        total = attention.sum(1, keepdims=True)
        share = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        attention, deviation = attention * share, deviation * share
        scores = scores * share[:, :, None]
        unit, loss_unit = f"share of {unit}", "share × squared error"
    return score_table(
        task,
        metric,
        options,
        unit=loss_unit if scored else unit,
        begin=begin,
        passes=(1 + (1 + len(task.candidates) if scored else 0), probes),
        rows=scores if scored else attention,
        per_sample=attention,
        per_sample_unit=unit,
        per_sample_stderr=None if exact or form.reduce is not None else deviation,
        exact=exact,
        seed=options.seed,
    )


def _batch(
    task: SensitivityTask,
    plans: IsolatedPlans,
    batch: range,
    options: AttentionOptions,
    form: Form,
) -> Work[Mapping[str, FloatArray]]:
    """Attention and the variance of its estimate (B, L), scores of the candidates (B, L, C)."""
    layers, network = task.network.table.layers, task.network
    calls = [call for layer in layers for call in layer.calls]
    owners = [i for i, layer in enumerate(layers) for _ in layer.calls]
    x, classes = task.inputs(batch), network.num_classes
    exact = classes <= options.probes
    probes = (
        list(one_hot_probes(len(batch), classes))
        if exact
        else list(sign_probes(batch, classes, options.probes, options.seed))
    )
    total = torch.zeros(len(batch), len(calls), dtype=torch.float64)
    squares = torch.zeros(len(batch), len(layers), dtype=torch.float64)
    elements: list[Tensor] = []
    owner = torch.tensor(owners)
    for k, found in enumerate(gradients(network, calls, x, [p.to(x) for p in probes])):
        row = torch.stack([squares_per_sample(g) for g in found], dim=1).cpu()
        total += row
        squares += _by_layer(row, owner, len(layers)).square()
        if form.reduce is not None:
            elements = _added(elements, found)
        yield Progress(k + 1, 0, f"backward pass {k + 1} of {len(probes)}")
    share = 1.0 if exact else 1 / len(probes)
    total *= share
    norms = _by_layer(total, owner, len(layers))
    variances = (squares / len(probes) - norms.square()).clamp_min(0) / max(len(probes) - 1, 1)
    if form.reduce is not None:
        reduced = [
            form.reduce(layers[i], h.mul_(share)) for i, h in zip(owners, elements, strict=True)
        ]
        total = torch.stack(reduced, dim=1).double().cpu()
    scores = np.zeros((len(batch), len(layers), len(task.candidates)))
    if task.candidates:
        for column, local in enumerate(local_outputs(network, plans, x)):
            layer = layers[local.layer]
            h = elements[column] if elements else None
            for c, candidate in enumerate(task.candidates):
                score = form.join(layer, h, total[:, column], local.error(candidate))
                scores[:, local.layer, c] += score.double().cpu().numpy()
            yield Progress(len(probes) + local.layer + 1, 0, f"errors of `{layer.name}`")
    attention = _by_layer(total, owner, len(layers))
    return {"attention": attention.numpy(), "variances": variances.numpy(), "scores": scores}


def _added(elements: list[Tensor], found: tuple[Tensor, ...]) -> list[Tensor]:
    """Add squared gradients to the running sums, in place."""
    if not elements:
        return [g.square() for g in found]
    for total, g in zip(elements, found, strict=True):
        total.addcmul_(g, g)
    return elements


def _by_layer(columns: Tensor, owner: Tensor, layers: int) -> Tensor:
    """Sum the columns (B, K) of calls that belong to one layer, (B, L)."""
    return torch.zeros(len(columns), layers, dtype=columns.dtype).index_add_(1, owner, columns)
