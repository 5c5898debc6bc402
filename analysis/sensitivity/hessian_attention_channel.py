"""Attention, channel form: what the sample-layer-attention loss weighs reconstruction errors by."""

from dataclasses import dataclass

from torch import Tensor

from analysis.events import Work
from analysis.records import Layer, ScoreTable
from analysis.sensitivity.attention import AttentionOptions, Form, attention_scores
from analysis.sensitivity.task import METRICS, SensitivityTask


@dataclass(frozen=True, slots=True)
class HessianAttentionChannelOptions(AttentionOptions):
    """Options of :func:`hessian_attention_channel`."""


@METRICS.register(
    "hessian_attention_channel",
    title="Attention of the largest channel",
    answers="How much does the worst channel of the output matter, sample by sample?",
    reference="Gordon et al. 2023 (EPTQ), arXiv:2309.11531",
    needs=("backward",),
    options=HessianAttentionChannelOptions,
    cost="as the sample-layer attention; the squared Jacobians of one batch are held",
)
def hessian_attention_channel(
    task: SensitivityTask, options: HessianAttentionChannelOptions
) -> Work[ScoreTable]:
    """Weigh errors by the largest channel's squared Jacobian, averaged over positions.

    Candidates: weight times the error summed over channels and averaged over positions. Two means
    over positions make large feature maps count less than a bound on the loss would: the score
    is no loss, it is what the training loss of the same name uses.
    """
    form = Form("largest channel of ‖∂logits/∂output‖²", "weighted squared error", _largest, _join)
    return (yield from attention_scores(task, "hessian_attention_channel", options, form))


def channels_last(layer: Layer, z: Tensor) -> Tensor:
    """Return a layer output (B, ...) as (B, positions, channels)."""
    if layer.kind.startswith("conv"):
        z = z.movedim(z.ndim - len(layer.weight_shape) + 1, -1)
    return z.reshape(len(z), -1, z.shape[-1])


def _largest(layer: Layer, h: Tensor) -> Tensor:
    return channels_last(layer, h).double().mean(1).amax(1)


def _join(layer: Layer, h: Tensor | None, weight: Tensor, error: Tensor) -> Tensor:
    del h
    distance = channels_last(layer, error).square().double().sum(2).mean(1)
    return weight * distance.cpu()
