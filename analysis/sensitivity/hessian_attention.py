"""Attention, trace form: squared Jacobian norm times mean squared error."""

from dataclasses import dataclass

from torch import Tensor

from analysis.events import Work
from analysis.records import Layer, ScoreTable
from analysis.sensitivity.attention import LOSS_BOUND, AttentionOptions, Form, attention_scores
from analysis.sensitivity.task import METRICS, SensitivityTask

UNIT = "‖∂logits/∂output‖²"


@dataclass(frozen=True, slots=True)
class HessianAttentionOptions(AttentionOptions):
    """Options of :func:`hessian_attention`."""


@METRICS.register(
    "hessian_attention",
    title="Sample-layer attention",
    answers="How much does the loss rise when a layer's output is disturbed, sample by sample?",
    reference="Gordon et al. 2023 (EPTQ), arXiv:2309.11531",
    needs=("backward",),
    options=HessianAttentionOptions,
    cost="1 forward and C backward passes (C classes, at most `probes`), K + 1 forward passes for "
    "K candidates",
)
def hessian_attention(task: SensitivityTask, options: HessianAttentionOptions) -> Work[ScoreTable]:
    """Score layers by squared Jacobian norms, candidates by norm times the error they cause.

    The trace is a sum over elements and the error a mean over elements: only this pair keeps loss
    units.
    """
    form = Form(UNIT, "nats", None, _join)
    return (yield from attention_scores(task, "hessian_attention", options, form))


def _join(layer: Layer, h: Tensor | None, trace: Tensor, error: Tensor) -> Tensor:
    del layer, h
    return LOSS_BOUND * trace * error.flatten(1).square().mean(1).double().cpu()
