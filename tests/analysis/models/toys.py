"""Small networks that each show one way in which models pass tensors around.

Images are (N, 3, 8, 8), outputs (N, 5) logits.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.models.network import Network, build_network

Body = Callable[[nn.Module, Tensor], Tensor]


class Toy(nn.Module):
    """Named children and a function of them; features are averaged and read by ``head``."""

    def __init__(self, body: Body, width: int, children: dict[str, nn.Module]) -> None:
        super().__init__()
        self.body = body
        for name, child in children.items():
            self.add_module(name, child)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self, x).flatten(2).mean(2))


def toy(body: Body, width: int = 4, **children: nn.Module) -> nn.Module:
    return randomised(Toy(body, width, children))


def conv(inputs: int = 3, outputs: int = 4, **options: object) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def batch(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*(shape or (2, 3, 8, 8)), generator=torch.Generator().manual_seed(seed))


def built(module: nn.Module, n: int = 2) -> Network:
    return build_network(module, batch(n, 3, 8, 8))


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every BatchNorm statistics and an affine part, and every constant weight noise."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return torch.rand(like.shape, generator=generator) * (high - low) + low

    with torch.no_grad():
        for child in module.modules():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                if child.running_mean is not None:
                    child.running_mean.copy_(uniform(child.running_mean, -0.3, 0.3))
                    child.running_var.copy_(uniform(child.running_var, 0.5, 2.0))
                if child.affine:
                    child.weight.copy_(uniform(child.weight, 0.6, 1.4))
                    child.bias.copy_(uniform(child.bias, -0.3, 0.3))
        for parameter in module.parameters():
            if parameter.numel() > 1 and parameter.std() == 0:
                parameter += uniform(parameter, -0.05, 0.05)
    return module.eval()


class WithWeight(nn.Module):
    """A bare parameter, used by a function."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(*shape))
        self.offset = nn.Parameter(torch.randn(shape[0]))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, self.offset, padding=1)


class StandardisedConv(nn.Conv2d):
    """Weight standardisation by a BatchNorm function on the weight (arXiv:1903.10520)."""

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, training=True).reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


def residual() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        x = m.relu(m.bn1(m.conv1(x)))
        return m.relu(x + m.bn2(m.conv2(x)))

    return toy(
        body,
        conv1=conv(bias=False),
        bn1=nn.BatchNorm2d(4),
        conv2=conv(4),
        bn2=nn.BatchNorm2d(4),
        relu=nn.ReLU(inplace=True),
    )


def residual_in_place() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        y = m.bn1(m.conv1(x))  # read by a layer, then changed
        z = m.bn2(m.conv2(y))
        y += z
        return m.conv3(y)

    return toy(
        body,
        conv1=conv(),
        bn1=nn.BatchNorm2d(4),
        conv2=conv(4),
        bn2=nn.BatchNorm2d(4),
        conv3=conv(4),
    )


def add_ignored() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        x = m.conv1(x)
        y = m.conv2(x)
        y.add_(x)
        F.relu_(y)
        return m.conv3(y)

    return toy(body, conv1=conv(), conv2=conv(4), conv3=conv(4))


def positional_inplace() -> nn.Module:
    return toy(lambda m, x: m.conv2(F.relu(m.conv1(x), True)), conv1=conv(), conv2=conv(4))


def assigned() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        x = m.bn1(m.conv1(x))
        x[:, 1:3] = m.conv2(x)
        x[:, :2] += 1
        return m.conv3(x)

    return toy(body, conv1=conv(), bn1=nn.BatchNorm2d(4), conv2=conv(4, 2), conv3=conv(4))


def view_in_place() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        x = m.conv1(x)
        y = m.conv2(x)
        x[:, :2].mul_(0.5)
        return m.conv3(x) + y

    return toy(body, conv1=conv(), conv2=conv(4), conv3=conv(4))


def branch() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        x = F.relu(m.stem(x))
        return m.last(torch.cat([m.left(x), m.right(x)], 1))

    return toy(body, stem=conv(), left=conv(4), right=conv(4, 2), last=conv(6))


def dense() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        features = [m.conv1(x)]
        features.append(m.conv2(F.relu(m.bn2(torch.cat(features, 1)), inplace=True)))
        features.append(m.conv3(F.relu(m.bn3(torch.cat(features, 1)), inplace=True)))
        return torch.cat(features, 1)

    return toy(
        body,
        width=12,
        conv1=conv(),
        bn2=nn.BatchNorm2d(4),
        conv2=conv(4),
        bn3=nn.BatchNorm2d(8),
        conv3=conv(8),
    )


def separate_projections() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        t = m.norm(m.embed(x).flatten(2).transpose(1, 2))
        y = F.scaled_dot_product_attention(m.q(t), m.k(t), m.v(t))
        return m.out(y).transpose(1, 2)

    return toy(
        body,
        embed=conv(),
        norm=nn.LayerNorm(4),
        q=nn.Linear(4, 4),
        k=nn.Linear(4, 4),
        v=nn.Linear(4, 4),
        out=nn.Linear(4, 4),
    )


def self_attention() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        t = m.embed(x).flatten(2).transpose(1, 2)
        return m.attention(t, t, t)[0].transpose(1, 2)

    return toy(body, embed=conv(), attention=nn.MultiheadAttention(4, 2, batch_first=True))


def cross_attention() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        t = m.embed(x).flatten(2).transpose(1, 2)
        other = t * 2
        return m.attention(t, other, other + 1)[0].transpose(1, 2)

    return toy(body, embed=conv(), attention=nn.MultiheadAttention(4, 2, batch_first=True))


def functional() -> nn.Module:
    return toy(lambda m, x: m.own(F.relu(m.first(x))), first=conv(), own=WithWeight(4, 4, 3, 3))


def twice() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        return m.again(F.relu(m.again(F.relu(m.first(x)))))

    return toy(body, first=conv(), again=conv(4))


def standardised() -> nn.Module:
    return toy(
        lambda m, x: m.second(m.first(x)), first=conv(), second=StandardisedConv(4, 4, 3, padding=1)
    )


def tokens() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        t = m.embed(x).flatten(2).transpose(1, 2)
        t = t + m.position(torch.arange(t.shape[1], device=t.device))
        return m.norm(t).transpose(1, 2)

    return toy(body, embed=conv(), position=nn.Embedding(64, 4), norm=nn.LayerNorm(4))


def unused() -> nn.Module:
    return toy(lambda m, x: m.first(x), first=conv(), spare=conv(4))


def chunked() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        a, b = m.first(x).chunk(2, 1)
        c, d = torch.split(m.second(a), [1, 1], dim=1)
        return torch.cat([m.third(b), c, d], 1)

    return toy(body, first=conv(), second=conv(2, 2), third=conv(2, 2))


def padded() -> nn.Module:
    def body(m: nn.Module, x: Tensor) -> Tensor:
        x = F.relu(m.first(x))
        return m.plain(F.pad(x, (0, 2, 0, 2))) + m.ones(F.pad(x, (0, 2, 0, 2), value=1.0))

    return toy(body, first=conv(), plain=conv(4), ones=conv(4))


def transposed() -> nn.Module:
    return toy(
        lambda m, x: F.relu(m.bn(m.up(m.first(x)))),
        width=3,
        first=conv(),
        up=nn.ConvTranspose2d(4, 3, 2, stride=2),
        bn=nn.BatchNorm2d(3),
    )


def linear_norm() -> nn.Module:
    return toy(
        lambda m, x: F.relu(m.bn(m.fc(x.flatten(1)))).unsqueeze(2),
        width=6,
        fc=nn.Linear(192, 6),
        bn=nn.BatchNorm1d(6),
    )


def softmax_end() -> nn.Module:
    return nn.Sequential(residual(), nn.Softmax(dim=1)).eval()


def overflowing() -> nn.Module:
    """Finite on its samples in float, but rounded to 2 bits ``second`` gives more than 88.

    Its exponential then overflows: ``third`` reads infinity. Samples are ``batch(64, 3, 8, 8)``.
    """

    def body(m: nn.Module, x: Tensor) -> Tensor:
        z = m.second(F.relu(m.first(x)))
        return 1e-15 * m.third(torch.exp(m.gain * z))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        module = toy(body, width=8, first=conv(3, 8), second=conv(8, 8), third=conv(8, 8))
    with torch.no_grad():
        weight = module.second.weight
        weight.copy_(weight * torch.where(weight.abs() > 0.06, 1.0, 0.6))
        largest = module.second(F.relu(module.first(batch(64, 3, 8, 8)))).max()
    module.gain = 88.5 / float(largest)
    return module


TOYS: dict[str, Callable[[], nn.Module]] = {
    f.__name__: f
    for f in (
        residual,
        residual_in_place,
        add_ignored,
        positional_inplace,
        assigned,
        view_in_place,
        branch,
        dense,
        separate_projections,
        self_attention,
        cross_attention,
        functional,
        twice,
        standardised,
        tokens,
        unused,
        chunked,
        padded,
        transposed,
        linear_norm,
    )
}
