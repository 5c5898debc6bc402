"""Which pixels decide: input attributions of the float and the quantized network, and their drift.

Both networks are asked about the class that the float network predicts. Rounding has no gradient:
it is passed straight through inside the quantizers' ranges (arXiv:1308.3432).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.curvature.jacobian import linearise
from analysis.errors import QuantizationError, UnknownNameError
from analysis.models.network import Network
from analysis.models.replay import Plan
from analysis.records import FloatArray

INTEGRATED_GRADIENTS, SALIENCY, GRAD_CAM = "integrated_gradients", "saliency", "grad_cam"
METHODS = (INTEGRATED_GRADIENTS, SALIENCY, GRAD_CAM)


def attribute(
    network: Network, plan: Plan, x: Tensor, targets: Tensor, method: str, steps: int
) -> FloatArray:
    """Return the attribution of a class to every pixel, summed over channels, (B, H, W).

    Args:
        network: The folded network.
        plan: How it is quantized; nothing for the float network.
        x: Images (B, C, H, W), preprocessed.
        targets: Classes (B,).
        method: ``integrated_gradients`` (signed, from the mean image in ``steps`` steps,
            arXiv:1703.01365), ``saliency`` (absolute gradient, arXiv:1312.6034) or ``grad_cam``
            (positive part of the last convolution's map, arXiv:1610.02391).
        steps: Steps of the path, for integrated gradients.

    Raises:
        UnknownNameError: If there is no such method.
        QuantizationError: If inputs are no images, or there is no convolution for ``grad_cam``.
    """
    if method not in METHODS:
        raise UnknownNameError("attribution", method, METHODS)
    if x.dim() != 4:
        raise QuantizationError(
            f"Attributions to pixels need images (N, C, H, W), got inputs of {x.dim()} axes."
        )
    if method == GRAD_CAM:
        return _grad_cam(network, plan, x, targets)

    def forward(inputs: Tensor) -> Tensor:
        return network(inputs, plan)

    maps = _captum(forward, method, x, targets, steps)
    return np.asarray(maps.detach().double().sum(1).cpu().numpy())


def cam_layer(network: Network) -> str | None:
    """Return the name of the last convolution with more than one position, None without one."""
    for layer in reversed(network.table.layers):
        spatial = layer.output_shape[1:]
        if layer.kind.startswith("conv") and len(spatial) == 2 and max(spatial) > 1:
            return layer.name
    return None


def drift(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return 1 - cosine similarity of two stacks of maps (B, H, W), (B,).

    0: the same pixels in the same proportion; 1: nothing in common; 2: signs reversed. Two empty
    maps are the same, an empty one has nothing in common with another.
    """
    a, b = (maps.reshape(len(maps), -1) for maps in (first, second))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.divide((a * b).sum(1), norms, out=np.zeros(len(a)), where=norms > 0)
    both_empty = ~a.any(1) & ~b.any(1)
    return np.where(both_empty, 0.0, 1.0 - np.clip(cosine, -1.0, 1.0))


def _captum(
    forward: Callable[[Tensor], Tensor], method: str, x: Tensor, targets: Tensor, steps: int
) -> Tensor:
    from captum.attr import IntegratedGradients, Saliency  # importing captum takes a second

    x = x.detach().requires_grad_()
    if method == SALIENCY:
        result: Any = Saliency(forward).attribute(x, target=targets, abs=True)
    else:
        # One step of all samples at a time: memory stays that of one batch.
        result = IntegratedGradients(forward).attribute(
            x, target=targets, n_steps=steps, internal_batch_size=len(x)
        )
    assert isinstance(result, Tensor)
    return result


def _grad_cam(network: Network, plan: Plan, x: Tensor, targets: Tensor) -> FloatArray:
    name = cam_layer(network)
    if name is None:
        raise QuantizationError(
            "Grad-CAM needs a convolution with a map of positions, the model has none. "
            "Choose saliency or integrated gradients."
        )
    call = network.layer(name).calls[-1]
    graph = linearise(network, [call], x, plan)
    chosen = F.one_hot(targets, graph.logits.shape[1]).to(graph.logits)
    (gradient,) = graph.pull_back(chosen, keep=False)
    weights = gradient.mean((2, 3), keepdim=True)
    cam = (weights * graph.outputs[0].detach()).sum(1, keepdim=True).relu()
    scaled = F.interpolate(cam, x.shape[2:], mode="bilinear", align_corners=False)
    with torch.no_grad():
        return np.asarray(scaled[:, 0].double().cpu().numpy())
