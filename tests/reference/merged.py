"""A small network whose kernels an identity was merged into, and its weights in two parts."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.models.network import Network, build_network
from analysis.quant.configure import Quantization
from analysis.records import QuantSettings
from tests.analysis.models.toys import batch
from tests.reference.quantizing import quantize, task_of

PER_TENSOR = QuantSettings(per_channel=False, weight_range="min_max", activation_range="min_max")


class Merged(nn.Module):
    """Two convolutions whose centre taps hold an identity, one depthwise, and heads without."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.merged = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.depthwise = nn.Conv2d(6, 6, 5, padding=2, groups=6)
        self.even = nn.Conv2d(6, 6, 2)
        self.point = nn.Conv2d(6, 4, 1)
        self.fc = nn.Linear(4, 5)
        with torch.no_grad():
            self.merged.weight.mul_(0.05)[range(6), range(6), 1, 1] += 1
            self.depthwise.weight.mul_(0.1)[:, :, 2, 2] += 1

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.merged(F.relu(self.stem(x))))
        x = F.relu(self.even(F.relu(self.depthwise(x))))
        return self.fc(self.point(x).mean((2, 3)))


@cache
def merged() -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return build_network(Merged().eval().requires_grad_(False), batch(2, 3, 8, 8))


X = batch(12, 3, 8, 8)


def run(
    text: str = "w4a8", settings: QuantSettings = PER_TENSOR, split: str = "always", **other: str
) -> tuple[Quantization, list[str]]:
    task = task_of(merged(), X, text, settings, **other)
    return quantize(task, "coarse_fine", split=split)
