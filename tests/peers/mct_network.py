"""What scripts for Sony MCT share: its import beside torch alone, the ResNet-20 and the images."""

import logging
from contextlib import suppress

import numpy as np
import torch

from tests.reference.cifar_resnet20 import CifarResNet20

_SCHEMAS = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    with suppress(RuntimeError):  # torchvision's own operators are there
        _SCHEMAS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resnet20(weights: str) -> CifarResNet20:
    """Return the network of published weights, in eval mode."""
    logging.disable(logging.WARNING)
    state = torch.load(weights, weights_only=True, map_location="cpu")["state_dict"]
    model = CifarResNet20()
    model.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    return model.eval()


def images(path: str, n: int | None = None) -> torch.Tensor:
    """Return the first n images of a file as the network takes them, (n, 3, 32, 32)."""
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
    return (torch.tensor(np.load(path)["x"][:n]).float() / 255 - mean) / std
