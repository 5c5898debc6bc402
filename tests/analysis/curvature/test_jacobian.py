from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from analysis.curvature.jacobian import (
    linearise,
    one_hot_probes,
    sign_probes,
    squared_norms,
    squares_per_sample,
)
from analysis.models.network import Network, build_network
from analysis.models.vision_ops import import_torchvision
from tests.reference import attention as oracle


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network_of(model: nn.Module, x: torch.Tensor) -> Network:
    return build_network(model.eval(), x)


def exact(network: Network, x: torch.Tensor) -> torch.Tensor:
    """Squared norms (N, L) of layers that are called once."""
    calls = [layer.calls[0] for layer in network.table.layers]
    probes = [p.to(x) for p in one_hot_probes(len(x), network.num_classes)]
    return sum(squared_norms(network, calls, x, probes))


def mlp(*widths: int, relu: bool = True, bias: bool = True, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b, bias=bias), *([nn.ReLU()] if relu else [])]
    return nn.Sequential(*layers[: -1 if relu else None]).double()


# --- closed forms --------------------------------------------------------------------------------


def test_a_linear_chain_has_the_norms_of_its_products_for_every_sample():
    model = mlp(6, 5, 4, 3, relu=False, bias=False)
    x = torch.randn(7, 6, generator=seeded(0), dtype=torch.float64)
    w2, w3 = model[1].weight, model[2].weight
    expected = torch.stack([(w3 @ w2).square().sum(), w3.square().sum(), torch.tensor(3.0)])
    found = exact(network_of(model, x), x)
    assert torch.allclose(found, expected.double().expand(7, -1), rtol=1e-12)


def test_one_hidden_relu_counts_the_columns_of_active_units():
    model = mlp(6, 9, 4)
    x = torch.randn(11, 6, generator=seeded(1), dtype=torch.float64)
    active = (model[0](x) > 0).double()
    expected = active @ model[2].weight.square().sum(0)
    assert torch.allclose(exact(network_of(model, x), x)[:, 0], expected, rtol=1e-12)


def test_the_last_linear_layer_has_as_many_as_there_are_classes():
    x = torch.randn(3, 6, generator=seeded(2), dtype=torch.float64)
    assert torch.equal(exact(network_of(mlp(6, 9, 4), x), x)[:, 1], torch.full((3,), 4.0).double())


def test_scaling_the_outputs_scales_the_norms_by_the_square():
    x = torch.randn(5, 6, generator=seeded(3), dtype=torch.float64)
    model = mlp(6, 9, 8, 4)
    before = exact(network_of(model, x), x)
    model[4].weight.data *= 3
    after = exact(network_of(model, x), x)
    assert torch.allclose(after[:, :2], 9 * before[:, :2], rtol=1e-12)


def test_moving_a_factor_across_a_relu_divides_the_norm_by_its_square():
    x = torch.randn(5, 6, generator=seeded(4), dtype=torch.float64)
    model = mlp(6, 9, 8, 4)
    before = exact(network_of(model, x), x)
    model[0].weight.data *= 5
    model[0].bias.data *= 5
    model[2].weight.data /= 5
    after = exact(network_of(model, x), x)
    assert torch.allclose(after[:, 0], before[:, 0] / 25, rtol=1e-12)
    assert torch.allclose(after[:, 1:], before[:, 1:], rtol=1e-12)


class ConvBN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bn = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)
        self.bn.running_mean.uniform_(-1, 1)
        self.bn.running_var.uniform_(0.3, 3)
        self.bn.weight.data.uniform_(0.3, 3)

    def forward(self, x):
        return self.head(self.bn(self.conv(x)).relu().mean((2, 3)))


def test_norms_are_taken_behind_the_folded_batch_normalization():
    model, x = ConvBN().double().eval(), torch.randn(4, 2, 5, 5, generator=seeded(5)).double()
    behind = oracle.attention(model, ("bn",), x)[:, 0]
    before = oracle.attention(model, ("conv",), x)[:, 0]
    factor = (model.bn.weight / (model.bn.running_var + model.bn.eps).sqrt()).square().detach()
    for n, sample in enumerate(x):
        by_channel = oracle.jacobian(model, "bn", sample).square().reshape(3, 4, -1).sum((0, 2))
        assert float((factor * by_channel).sum()) == pytest.approx(float(before[n]))
    found = exact(network_of(model, x), x)[:, 0]
    assert torch.allclose(found, behind, rtol=1e-9)
    assert not torch.allclose(found, before, rtol=0.05)


def test_half_the_norm_bounds_the_trace_of_the_cross_entropy_and_relu_nets_attain_the_trace():
    model = mlp(5, 7, 6, 3).eval()
    x = torch.randn(4, 5, generator=seeded(6), dtype=torch.float64)
    norms = exact(network_of(model, x), x)
    for n, sample in enumerate(x):
        hessian = oracle.cross_entropy_hessian(model(sample[None])[0].detach())
        assert float(torch.linalg.eigvalsh(hessian).max()) <= 0.5
        for i, name in enumerate(("0", "2", "4")):
            own = oracle.jacobian(model, name, sample)
            trace = float(torch.trace(own.T @ hessian @ own))
            assert trace <= 0.5 * float(norms[n, i])
            for label in range(3):
                true = oracle.loss_hessian_trace(model, name, sample, label)
                assert true == pytest.approx(trace, rel=1e-9)


# --- exactness on awkward graphs -----------------------------------------------------------------


class InPlace(nn.Module):
    """Layer outputs that are changed in place directly, through a view, and by an addition."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.c, self.d = nn.Linear(48, 6), nn.Linear(6, 6)
        self.bn, self.drop = nn.BatchNorm2d(3), nn.Dropout()
        self.bn.running_mean.uniform_(-1, 1)

    def forward(self, x):
        x = nn.functional.relu(self.a(x), inplace=True)
        y = self.bn(self.b(x))
        y += x
        y = y.flatten(1)
        y.relu_()
        z = self.drop(self.c(y))
        z = z.view(len(z), 2, 3).mul_(2).tanh_().flatten(1)
        return self.d(z).mul_(3)


@pytest.mark.parametrize("trainable", [True, False])
def test_changes_in_place_do_not_disturb_the_norms(trainable):
    model = InPlace().double().eval().requires_grad_(trainable)
    x = torch.randn(4, 2, 4, 4, generator=seeded(7), dtype=torch.float64)
    expected = oracle.attention(model, ("a", "bn", "c", "d"), x)
    assert torch.allclose(exact(network_of(model, x), x), expected, rtol=1e-9)
    assert torch.allclose(expected[:, 3], torch.full((4,), 54.0).double())


def test_a_residual_network_of_torchvision_agrees_with_the_brute_force_jacobian():
    resnet = import_torchvision().models.resnet
    torch.manual_seed(0)
    model = resnet.ResNet(resnet.BasicBlock, [2, 2, 2, 2], num_classes=2).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 3, 16, 16, generator=seeded(8), dtype=torch.float64)
    network = network_of(model, x)
    names = tuple(layer.folded or layer.name for layer in network.table.layers)
    assert len(names) == 21
    found = exact(network, x[:1])
    assert torch.allclose(found, oracle.attention(model, names, x[:1]), rtol=1e-8)


def test_a_layer_that_cannot_reach_the_outputs_has_norm_zero():
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            self.unused(x)
            return self.used(x)

    x = torch.randn(2, 3)
    assert exact(network_of(Dead(), x), x).tolist() == [[0.0, 2.0], [0.0, 2.0]]


# --- memory and side effects ---------------------------------------------------------------------


class Convolutions(TorchDispatchMode):
    """Remembers which gradients the backward passes of convolutions were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[list[bool]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution_backward.default:
            self.masks.append(list(args[10]))
        return func(*args, **(kwargs or {}))


def test_no_gradient_of_a_weight_is_ever_formed():
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 3)
    )
    x = torch.randn(2, 2, 6, 6)
    network = network_of(model, x)
    with Convolutions() as seen:
        exact(network, x)
    assert seen.masks == [[True, False, False]] * 3
    assert all(p.grad is None for p in model.parameters())
    assert all(p.requires_grad for p in model.parameters())
    assert x.grad is None
    assert not x.requires_grad


# --- probes --------------------------------------------------------------------------------------


def test_one_hot_probes_are_the_rows_of_the_identity():
    probes = torch.stack(list(one_hot_probes(3, 4)))
    assert torch.equal(probes, torch.eye(4)[:, None].expand(4, 3, 4))


def test_signs_depend_on_the_sample_and_the_seed_not_on_the_batch():
    together = sign_probes(range(10), 5, 7, seed=3)
    assert together.shape == (7, 10, 5)
    assert set(together.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(sign_probes(range(4, 6), 5, 7, seed=3), together[:, 4:6])
    assert not torch.equal(sign_probes(range(10), 5, 7, seed=4), together)
    assert not torch.equal(together[:, 0], together[:, 1])


def test_signs_have_mean_zero_and_are_uncorrelated():
    signs = sign_probes(range(400), 6, 50, seed=0).double().reshape(-1, 6)
    covariance = signs.T @ signs / len(signs)
    assert float((covariance - torch.eye(6)).abs().max()) < 4.5 / len(signs) ** 0.5
    assert float(signs.mean(0).abs().max()) < 4.5 / len(signs) ** 0.5
    neighbours = sign_probes(range(400), 6, 50, seed=0).double()
    correlation = (neighbours[:, 1:] * neighbours[:, :-1]).mean()
    assert abs(float(correlation)) < 4.5 / neighbours[:, 1:].numel() ** 0.5


def test_squared_signs_have_the_mean_and_variance_of_the_formula():
    model = mlp(6, 9, 8, 5)
    x = torch.randn(3, 6, generator=seeded(9), dtype=torch.float64)
    network = network_of(model, x)
    jacobians = [oracle.jacobian(model, "0", sample) for sample in x]
    gram = torch.stack([j @ j.T for j in jacobians])
    trace = gram.diagonal(dim1=1, dim2=2).sum(1)
    variance = 2 * (gram.square().sum((1, 2)) - gram.diagonal(dim1=1, dim2=2).square().sum(1))
    probes = sign_probes(range(3), 5, 4000, seed=0).double()
    call = network.table.layers[0].calls[0]
    found = torch.cat(list(squared_norms(network, [call], x, list(probes))), 1)  # (3, 4000)
    assert bool(((found.mean(1) - trace).abs() < 4 * (variance / 4000).sqrt()).all())
    assert torch.allclose(found.var(1), variance, rtol=0.2)


def test_one_sign_is_exact_for_a_single_output():
    model = mlp(6, 9, 1)
    x = torch.randn(4, 6, generator=seeded(10), dtype=torch.float64)
    network = network_of(model, x)
    call = network.table.layers[0].calls[0]
    (found,) = squared_norms(network, [call], x, [sign_probes(range(4), 1, 1, seed=0)[0].double()])
    assert torch.allclose(found[:, 0], oracle.attention(model, ("0",), x)[:, 0], rtol=1e-12)


def test_orthogonal_signs_are_exact():
    model = mlp(6, 9, 4)
    x = torch.randn(4, 6, generator=seeded(11), dtype=torch.float64)
    network = network_of(model, x)
    call = network.table.layers[0].calls[0]
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    rows = [row.expand(4, -1).contiguous() for row in torch.kron(two, two)]
    found = sum(squared_norms(network, [call], x, rows)) / 4
    assert torch.allclose(found[:, 0], oracle.attention(model, ("0",), x)[:, 0], rtol=1e-12)


def test_pulling_back_a_probe_multiplies_it_by_the_transposed_jacobian():
    model = mlp(6, 9, 4)
    x = torch.randn(4, 6, generator=seeded(12), dtype=torch.float64)
    network = network_of(model, x)
    graph = linearise(network, [network.table.layers[0].calls[0]], x)
    assert torch.allclose(graph.logits, model(x))
    probes = torch.randn(4, 4, generator=seeded(13), dtype=torch.float64)
    for _ in range(2):
        (found,) = graph.pull_back(probes, keep=True)
        for n, sample in enumerate(x):
            own = oracle.jacobian(model, "0", sample)
            assert torch.allclose(found[n], own.T @ probes[n])


def test_squares_are_summed_per_sample():
    z = torch.randn(3, 4, 5, 6)
    assert torch.allclose(squares_per_sample(z), z.double().square().sum((1, 2, 3)), rtol=1e-5)
    assert squares_per_sample(z).dtype == torch.float64
