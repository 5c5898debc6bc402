"""The ResNet-20 and the images on which Sony MCT and we are compared."""

import numpy as np
import torch

from tests.reference.cifar_resnet20 import CifarResNet20

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resnet20(weights: str) -> CifarResNet20:
    """Return the network of published weights, in eval mode."""
    state = torch.load(weights, weights_only=True, map_location="cpu")["state_dict"]
    model = CifarResNet20()
    model.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    return model.eval()


def images(path: str, n: int | None = None) -> torch.Tensor:
    """Return the first n images of a file as the network takes them, (n, 3, 32, 32)."""
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
    return (torch.tensor(np.load(path)["x"][:n]).float() / 255 - mean) / std
