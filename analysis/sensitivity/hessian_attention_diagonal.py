"""Attention, diagonal form: squared Jacobian times squared error, element by element."""

from dataclasses import dataclass

from torch import Tensor

from analysis.events import Work
from analysis.records import Layer, ScoreTable
from analysis.sensitivity.attention import LOSS_BOUND, AttentionOptions, Form, attention_scores
from analysis.sensitivity.hessian_attention import UNIT
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class HessianAttentionDiagonalOptions(AttentionOptions):
    """Options of :func:`hessian_attention_diagonal`."""


@METRICS.register(
    "hessian_attention_diagonal",
    title="Attention by element",
    answers="How much does the loss rise, seeing where in the output the error lies?",
    reference="Gordon et al. 2023 (EPTQ), arXiv:2309.11531",
    needs=("backward",),
    options=HessianAttentionDiagonalOptions,
    cost="as the sample-layer attention; the squared Jacobians of one batch are held",
)
def hessian_attention_diagonal(
    task: SensitivityTask, options: HessianAttentionDiagonalOptions
) -> Work[ScoreTable]:
    """Score candidates by the sum over elements of squared Jacobian times squared error.

    Unlike the trace form it sees that errors on elements that do not matter are harmless. The
    squared Jacobians of one batch are held in memory.
    """
    form = Form(UNIT, "nats", _sum, _join)
    return (yield from attention_scores(task, "hessian_attention_diagonal", options, form))


def _sum(layer: Layer, h: Tensor) -> Tensor:
    del layer
    return h.flatten(1).double().sum(1)


def _join(layer: Layer, h: Tensor | None, trace: Tensor, error: Tensor) -> Tensor:
    del layer, trace
    assert h is not None
    return LOSS_BOUND * (h * error.square()).flatten(1).double().sum(1).cpu()
