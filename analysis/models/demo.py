"""Three small networks for the embedded digits, and where their trained weights lie.

They are the architectures people quantize, in little: residual convolutions, depthwise separable
convolutions and attention, with 16 to 18 weights that can be quantized and below 120,000
parameters each. Input is (N, 1, 16, 16), output (N, 10) logits.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from analysis.errors import UnknownNameError, WeightsError

# Of the training split's pixels in 0..1, rounded.
DEMO_MEAN, DEMO_STD = 0.3, 0.32
DEMO_NORMALIZE = f"{DEMO_MEAN};{DEMO_STD}"
NUM_CLASSES = 10


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut (He et al. 2015, arXiv:1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + self.downsample(x))  # type: ignore[no-any-return]


class DigitsResNet(nn.Module):
    """A stem, three stages of two residual blocks at 16, 8 and 4 pixels, global pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = nn.Sequential(BasicBlock(16, 16, 1), BasicBlock(16, 16, 1))
        self.layer2 = nn.Sequential(BasicBlock(16, 24, 2), BasicBlock(24, 24, 1))
        self.layer3 = nn.Sequential(BasicBlock(24, 48, 2), BasicBlock(48, 48, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(48, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _conv_bn(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project (Sandler et al. 2018, arXiv:1801.04381)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = nn.Sequential(*_conv_bn(inputs, hidden, 1), nn.ReLU6())
        self.depthwise = nn.Sequential(
            *_conv_bn(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6()
        )
        self.project = nn.Sequential(*_conv_bn(hidden, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class DigitsMobileNet(nn.Module):
    """A stem, five inverted residual blocks at 16, 8 and 4 pixels, a 1 x 1 head, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv_bn(1, 16, 3), nn.ReLU6())
        self.blocks = nn.Sequential(
            InvertedResidual(16, 16, 1, expansion=3),
            InvertedResidual(16, 24, 2, expansion=4),
            InvertedResidual(24, 24, 1, expansion=4),
            InvertedResidual(24, 40, 2, expansion=4),
            InvertedResidual(40, 40, 1, expansion=4),
        )
        self.head = nn.Sequential(*_conv_bn(40, 96, 1), nn.ReLU6())
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(96, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = self.head(self.blocks(self.stem(x)))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


class EncoderBlock(nn.Module):
    """Self-attention and a two-layer perceptron, normalized before each."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.gelu = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (N, T, width) to tokens of the same shape."""
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.fc2(self.gelu(self.fc1(self.norm2(x))))  # type: ignore[no-any-return]


class DigitsViT(nn.Module):
    """Sixteen 4 x 4 patches and a class token through four blocks (arXiv:2010.11929)."""

    def __init__(self, width: int = 48, heads: int = 4, hidden: int = 96, depth: int = 4) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(1, width, kernel_size=4, stride=4)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.empty(1, 17, width))
        nn.init.normal_(self.position, std=0.02)
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads, hidden) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        tokens = self.patch_embed(x).flatten(2).transpose(1, 2)  # (N, 16, width)
        tokens = torch.cat((self.class_token.expand(len(x), -1, -1), tokens), dim=1)
        tokens = self.blocks(tokens + self.position)
        return self.head(self.norm(tokens[:, 0]))  # type: ignore[no-any-return]


DEMO_MODELS: dict[str, Callable[[], nn.Module]] = {
    "digits-resnet": DigitsResNet,
    "digits-mobilenet": DigitsMobileNet,
    "digits-vit": DigitsViT,
}


def build(name: str) -> nn.Module:
    """Return an untrained demo network, drawn from torch's global generator.

    Raises:
        UnknownNameError: If there is no demo network of this name.
    """
    _check(name)
    return DEMO_MODELS[name]()


def weights_path(name: str) -> Path:
    """Return where the trained weights of a demo network are shipped.

    Raises:
        UnknownNameError: If there is no demo network of this name.
    """
    _check(name)
    return Path(__file__).parent / "demo_weights" / f"{name}.safetensors"


def load(name: str) -> nn.Module:
    """Return a demo network with its shipped weights, in evaluation mode.

    Raises:
        UnknownNameError: If there is no demo network of this name.
        WeightsError: If the shipped file is missing, damaged or of another architecture.
    """
    model = build(name)
    path = weights_path(name)
    try:
        model.load_state_dict(load_file(path), strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(
            f"The shipped weights `{path.name}` must fit `{name}`, got: {error} "
            "Restore the file from the repository or train it again with `train_demo`."
        ) from error
    return model.eval()


def normalized(pixels: NDArray[np.uint8]) -> Tensor:
    """Return what the demo networks read: pixels brought to 0..1, then by :data:`DEMO_NORMALIZE`.

    Args:
        pixels: Values in 0..255, any shape.

    Returns:
        float32 tensor of the same shape.
    """
    return (torch.tensor(pixels, dtype=torch.float32) / 255 - DEMO_MEAN) / DEMO_STD


def _check(name: str) -> None:
    if name not in DEMO_MODELS:
        raise UnknownNameError("demo network", name, DEMO_MODELS)
