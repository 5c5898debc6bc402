"""Slow, obvious oracles for label-free Hessian scores: one sample, one layer, one class at a time.

The Jacobian is taken with respect to an offset that is added to a layer's output, so that neither
in-place activations nor residual additions behind the layer can disturb it.
"""

import math

import torch
from torch import Tensor, nn


def _with_offset(model: nn.Module, name: str, sample: Tensor, offset: Tensor) -> Tensor:
    module = model.get_submodule(name)
    handle = module.register_forward_hook(lambda _m, _i, output: output + offset)
    try:
        return model(sample[None])[0]
    finally:
        handle.remove()


def output_of(model: nn.Module, name: str, sample: Tensor) -> Tensor:
    """The output of module ``name`` for one sample, without the batch dimension."""
    seen: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_hook(
        lambda _m, _i, output: seen.append(output.detach().clone())
    )
    try:
        with torch.no_grad():
            model(sample[None])
    finally:
        handle.remove()
    (output,) = seen
    return output[0]


def jacobian(model: nn.Module, name: str, sample: Tensor) -> Tensor:
    """Return df/dz for one sample: (classes, elements of the output of module ``name``)."""
    zero = torch.zeros_like(output_of(model, name, sample))[None]

    def outputs(offset: Tensor) -> Tensor:
        return _with_offset(model, name, sample, offset)

    full = torch.autograd.functional.jacobian(outputs, zero)
    return full.reshape(full.shape[0], -1)


def attention(model: nn.Module, names: tuple[str, ...], samples: Tensor) -> Tensor:
    """Squared Frobenius norm of the Jacobian: (N, L)."""
    rows = [
        [float((jacobian(model, name, sample).double() ** 2).sum()) for name in names]
        for sample in samples
    ]
    return torch.tensor(rows, dtype=torch.float64)


def cross_entropy_hessian(logits: Tensor) -> Tensor:
    """Second derivative of softmax cross-entropy with respect to the logits: diag(p) - p p^T."""
    p = torch.softmax(logits, dim=-1)
    return torch.diag(p) - torch.outer(p, p)


def loss_hessian_trace(model: nn.Module, name: str, sample: Tensor, label: int) -> float:
    """Trace of the Hessian of the cross-entropy with respect to the output of ``name``."""
    zero = torch.zeros_like(output_of(model, name, sample))[None]

    def loss(offset: Tensor) -> Tensor:
        return nn.functional.cross_entropy(
            _with_offset(model, name, sample, offset)[None], torch.tensor([label])
        )

    hessian = torch.autograd.functional.hessian(loss, zero)
    size = zero.numel()
    return float(hessian.reshape(size, size).diagonal().sum())


def output_kl(float_logits: Tensor, quantized_logits: Tensor) -> list[float]:
    """KL divergence of the softmax outputs of each sample from the float ones, nats."""
    values = []
    for a, b in zip(float_logits.double(), quantized_logits.double(), strict=True):
        p, q = torch.softmax(a, 0).tolist(), torch.softmax(b, 0).tolist()
        values.append(sum(x * math.log(x / y) for x, y in zip(p, q, strict=True) if x))
    return values
