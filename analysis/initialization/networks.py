"""The lab's networks: one macro-architecture, regular or depthwise separable, plain or residual.

A stem that halves the image and four units of 3 x 3 convolutions at two resolutions, global
pooling, a linear layer. A separable unit has a depthwise and a pointwise convolution where a
regular one has one convolution; number of units, widths and resolutions are equal, and it takes
about a sixth of the multiply-accumulates. A residual network adds the input of every unit that
keeps the shape before that unit's last ReLU, and has the same weights as the plain one. Without
BatchNorm convolutions have biases.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from analysis.errors import UnknownNameError
from analysis.initialization.initializers import Initializer, fans

STEM_WIDTH, STEM_STRIDE = 16, 2
# Outputs and stride of every unit; those with stride 1 keep the shape.
UNITS = ((16, 1), (16, 1), (32, 2), (32, 1))


@dataclass(frozen=True, slots=True)
class Architecture:
    """What distinguishes the networks."""

    name: str
    title: str
    separable: bool
    residual: bool
    batchnorm: bool


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name=("separable" if separable else "regular")
            + ("_residual" if residual else "")
            + ("" if batchnorm else "_nobn"),
            title=("Depthwise separable" if separable else "Regular")
            + (", residual" if residual else "")
            + ("" if batchnorm else ", without BatchNorm"),
            separable=separable,
            residual=residual,
            batchnorm=batchnorm,
        )
        for batchnorm in (True, False)
        for residual in (False, True)
        for separable in (False, True)
    )
}


def get_architecture(name: str) -> Architecture:
    """Return an architecture by name.

    Raises:
        UnknownNameError: If there is none of this name.
    """
    if name not in ARCHITECTURES:
        raise UnknownNameError("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def _norm(channels: int, batchnorm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batchnorm else nn.Identity()


class Regular(nn.Module):
    """Convolution, BatchNorm, shortcut where the shape is kept, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, *, batchnorm: bool, residual: bool
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=not batchnorm)
        self.norm = _norm(outputs, batchnorm)
        self.relu = nn.ReLU()
        self.residual = residual and stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = self.norm(self.conv(x))
        return self.relu(y + x if self.residual else y)  # type: ignore[no-any-return]


class Separable(nn.Module):
    """Depthwise convolution, BatchNorm, ReLU; the same pointwise, with the shortcut before ReLU."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, *, batchnorm: bool, residual: bool
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            inputs, inputs, 3, stride, padding=1, groups=inputs, bias=not batchnorm
        )
        self.norm1 = _norm(inputs, batchnorm)
        self.relu1 = nn.ReLU()
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=not batchnorm)
        self.norm2 = _norm(outputs, batchnorm)
        self.relu2 = nn.ReLU()
        self.residual = residual and stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = self.relu1(self.norm1(self.depthwise(x)))
        y = self.norm2(self.pointwise(y))
        return self.relu2(y + x if self.residual else y)  # type: ignore[no-any-return]


class LabNetwork(nn.Module):
    """A stem, four units, pooling and a classifier; weights are torch's own until initialized."""

    def __init__(self, architecture: Architecture, *, in_channels: int, classes: int) -> None:
        super().__init__()
        unit = Separable if architecture.separable else Regular
        self.stem = Regular(
            in_channels, STEM_WIDTH, STEM_STRIDE, batchnorm=architecture.batchnorm, residual=False
        )
        widths = [STEM_WIDTH, *(outputs for outputs, _ in UNITS)]
        self.units = nn.Sequential(
            *(
                unit(
                    widths[i],
                    outputs,
                    stride,
                    batchnorm=architecture.batchnorm,
                    residual=architecture.residual,
                )
                for i, (outputs, stride) in enumerate(UNITS)
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) of any size to logits (N, classes)."""
        return self.fc(self.pool(self.units(self.stem(x))).flatten(1))  # type: ignore[no-any-return]


def build_lab_network(name: str, *, in_channels: int = 1, classes: int = 10) -> LabNetwork:
    """Return a network with undefined weights; the global random state is left alone.

    Raises:
        UnknownNameError: If there is no architecture of this name.
    """
    architecture = get_architecture(name)
    with torch.random.fork_rng(devices=[]):
        return LabNetwork(architecture, in_channels=in_channels, classes=classes)


def weighted_layers(model: nn.Module) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    """Iterate over the convolutions and linear layers by name, in the order of construction."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            yield name, module


def layer_kind(module: nn.Module) -> str:
    """Return ``linear``, ``depthwise``, ``pointwise`` or ``regular``."""
    if not isinstance(module, nn.Conv2d):
        return "linear"
    if module.groups > 1:
        return "depthwise"
    return "pointwise" if module.kernel_size == (1, 1) else "regular"


@torch.no_grad()
def initialize(model: nn.Module, initializer: Initializer, generator: torch.Generator) -> None:
    """Draw every weight in network order; biases become 0, BatchNorms the identity.

    That is scale 1, shift 0, running mean 0 and running variance 1.
    """
    for _, module in weighted_layers(model):
        groups = module.groups if isinstance(module, nn.Conv2d) else 1
        shape = tuple(module.weight.shape)
        found = fans(shape, groups)
        assert found.fan_out is not None
        module.weight.copy_(initializer.draw(shape, generator, found.fan_in, found.fan_out))
        if module.bias is not None:
            module.bias.zero_()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.reset_parameters()
