import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.curvature.gradients import (
    logit_gradients,
    loss_graph,
    output_gradients,
    weight_gradients,
)
from analysis.models.demo import load
from analysis.models.network import build_network
from analysis.models.replay import Plan
from tests.analysis.models.toys import TOYS, batch
from tests.reference import curvature as oracle
from tests.reference.sensitivity import folded_copy


def calls_of(network):
    return [call for layer in network.table.layers for call in layer.calls]


def demo(name, n=4):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 1, 16, 16, generator=generator)
    return build_network(load(name), x[:2]), x, torch.randint(0, 10, (n,), generator=generator)


def loss(network, x, y, weights):
    """Mean loss with the weights of some layers replaced."""
    plan = Plan(weights={c: w for layer, w in weights.items() for c in layer.calls})
    return F.cross_entropy(network(x, plan), y)


# --- gradients at layer outputs ------------------------------------------------------------------


def test_softmax_regression_has_the_probabilities_minus_the_label():
    model = oracle.mlp(6, 4)
    x, y = oracle.samples(7, 6, classes=4)
    network = build_network(model, x)
    (found,) = output_gradients(network, calls_of(network), x, y)
    expected = torch.softmax(model(x), 1).detach()
    expected[torch.arange(7), y] -= 1
    found = found.flatten(1)
    assert torch.allclose(found, expected, rtol=1e-12)
    assert found.sum(1).abs().max() < 1e-12


def test_a_linear_chain_carries_the_gradient_back_through_its_products():
    model = oracle.mlp(6, 5, 4, activation=nn.Identity, bias=False)
    x, y = oracle.samples(7, 6, classes=4)
    network = build_network(model, x)
    first, last = (g.flatten(1) for g in output_gradients(network, calls_of(network), x, y))
    assert torch.allclose(first, last @ model[2].weight, rtol=1e-12)


def test_a_confident_sample_keeps_its_small_gradient():
    logits = torch.tensor([[20.0, 0.0], [0.0, 20.0]])
    found = logit_gradients(logits, torch.tensor([0, 0]))
    tiny = 1 / (1 + torch.exp(torch.tensor(20.0, dtype=torch.float64)))
    assert found.dtype == torch.float32
    assert torch.allclose(found[0].double(), torch.stack([-tiny, tiny]), rtol=1e-6)
    assert torch.allclose(found[1].double(), torch.stack([tiny - 1, 1 - tiny]), rtol=1e-6)


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet", "digits-vit"])
def test_a_batch_gives_every_sample_the_gradient_of_its_own_loss(name):
    network, x, y = demo(name)
    calls = calls_of(network)
    found = output_gradients(network, calls, x, y)
    for call, g in zip(calls, found, strict=True):
        for n in range(len(x)):
            expected = oracle.one_gradient(network, call, x[n], int(y[n]))
            expected = network.per_sample(call, expected, 1)[0]
            assert g[n].shape == expected.shape
            assert torch.allclose(
                g[n], expected, rtol=1e-3, atol=1e-6 * float(expected.abs().max())
            )


@pytest.mark.parametrize("name", sorted(TOYS))
def test_output_gradients_equal_finite_differences_however_tensors_are_passed(name):
    x, y = batch(3, 3, 8, 8).double(), torch.tensor([0, 4, 2])
    network = build_network(TOYS[name]().double(), x)
    generator = torch.Generator().manual_seed(0)
    calls = calls_of(network)
    for call, g in zip(calls, output_gradients(network, calls, x, y), strict=True):
        shape = network.trace.calls[call].shapes[0]
        move = torch.randn(shape, generator=generator, dtype=torch.float64) * 1e-6
        with torch.no_grad():
            above, below = (
                F.cross_entropy(
                    network(x, Plan(outputs={(call, 0): lambda z, s=s, m=move: z + s * m})),
                    y,
                    reduction="sum",
                )
                for s in (1, -1)
            )
        expected, found = float(above - below) / 2, (g * network.per_sample(call, move, 3)).sum()
        assert float(found) == pytest.approx(expected, rel=1e-3, abs=1e-12)


# --- gradients at weights ------------------------------------------------------------------------


def test_softmax_regression_has_the_outer_product_with_the_inputs():
    model = oracle.mlp(6, 4)
    x, y = oracle.samples(7, 6, classes=4)
    network = build_network(model, x)
    (found,) = weight_gradients(network, network.table.layers, x, y)
    residual = torch.softmax(model(x), 1).detach() - F.one_hot(y, 4)
    assert torch.allclose(found, residual.T @ x, rtol=1e-12)


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet", "digits-vit"])
def test_weight_gradients_equal_those_of_a_folded_copy(name):
    network, x, y = demo(name)
    found = weight_gradients(network, network.table.layers, x, y)
    model = folded_copy(network)
    for layer, g in zip(network.table.layers, found, strict=True):
        expected = 4 * oracle.plain_weight_gradient(model, layer.weight_name, x, y)
        assert torch.allclose(g, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", sorted(TOYS))
def test_weight_gradients_equal_finite_differences_however_tensors_are_passed(name):
    x, y = batch(3, 3, 8, 8).double(), torch.tensor([0, 4, 2])
    network = build_network(TOYS[name]().double(), x)
    layers = network.table.layers
    found = weight_gradients(network, layers, x, y)
    generator = torch.Generator().manual_seed(0)
    for layer, g in zip(layers, found, strict=True):
        weight = network.weight(layer)
        move = torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 1e-6
        with torch.no_grad():
            rise = loss(network, x, y, {layer: weight + move})
            rise = rise - loss(network, x, y, {layer: weight - move})
        expected = float(rise) / 2 * 3
        assert float((g * move).sum()) == pytest.approx(expected, rel=1e-3, abs=1e-12)


def test_a_layer_that_is_called_twice_sums_over_its_calls():
    x, y = oracle.samples(5, 6, classes=3)
    model = oracle.Twice().double().eval()
    network = build_network(model, x)
    layer = network.layer("again")
    (found,) = weight_gradients(network, [layer], x, y)
    expected = 5 * oracle.plain_weight_gradient(model, "again.weight", x, y)
    assert torch.allclose(found, expected, rtol=1e-10)
    parts = []
    for call in layer.calls:
        weight = network.weight(layer).detach().clone().requires_grad_()
        value = F.cross_entropy(network(x, Plan(weights={call: weight})), y, reduction="sum")
        parts.append(torch.autograd.grad(value, weight)[0])
    assert torch.allclose(found, sum(parts), rtol=1e-10)
    assert not torch.allclose(parts[0], parts[1], rtol=0.1)


def test_a_layer_whose_output_is_not_read_has_gradient_zero():
    x, y = oracle.samples(5, 6, classes=3)
    network = build_network(oracle.Spare().double().eval(), x)
    found = weight_gradients(network, network.table.layers, x, y)
    by_name = dict(zip(network.table.names, found, strict=True))
    assert not by_name["spare"].any()
    assert all(by_name[name].any() for name in ("used", "last"))


# --- gradients at what layers read ---------------------------------------------------------------


def test_only_the_layer_itself_counts_as_a_reader_of_its_input():
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return x + self.b(self.a(x)) * x

    model = Skip().double().eval()
    x, y = oracle.samples(5, 4, classes=4)
    network = build_network(model, x)
    graph = loss_graph(network, network.table.layers, x, y, inputs=True)
    calls = calls_of(network)
    assert list(graph.inputs) == calls
    at_a, at_b = graph.gradients([graph.inputs[call] for call in calls])
    out = [g.flatten(1) for g in output_gradients(network, calls, x, y)]
    assert torch.allclose(at_a, out[0] @ model.a.weight, rtol=1e-12)
    assert torch.allclose(at_b, out[1] @ model.b.weight, rtol=1e-12)


@pytest.mark.parametrize("name", ["residual_in_place", "assigned", "view_in_place", "branch"])
def test_gradients_at_inputs_equal_finite_differences_where_tensors_change_in_place(name):
    x, y = batch(3, 3, 8, 8).double(), torch.tensor([0, 4, 2])
    network = build_network(TOYS[name]().double(), x)
    graph = loss_graph(network, network.table.layers, x, y, inputs=True)
    found = dict(zip(graph.inputs, graph.gradients(list(graph.inputs.values())), strict=True))
    generator = torch.Generator().manual_seed(0)
    for call, g in found.items():
        move = torch.randn(g.shape, generator=generator, dtype=torch.float64) * 1e-6
        with torch.no_grad():
            above, below = (
                F.cross_entropy(
                    network(x, Plan(inputs={call: lambda v, s=s, m=move: v + s * m})),
                    y,
                    reduction="sum",
                )
                for s in (1, -1)
            )
        expected = float(above - below) / 2
        assert float((g * move).sum()) == pytest.approx(expected, rel=1e-3, abs=1e-12)


def test_the_loss_is_the_sum_in_float64_and_nothing_of_the_model_is_touched():
    network, x, y = demo("digits-resnet")
    before = {n: v.clone() for n, v in network.module.state_dict().items()}
    graph = loss_graph(network, network.table.layers, x, y, inputs=True)
    graph.gradients([*graph.weights, *graph.inputs.values()])
    with torch.no_grad():
        expected = F.cross_entropy(network(x).double(), y, reduction="sum")
    assert graph.loss.dtype == torch.float64
    assert torch.equal(graph.loss.detach(), expected)
    assert all(torch.equal(v, before[n]) for n, v in network.module.state_dict().items())
    assert all(p.grad is None for p in network.module.parameters())
    assert not x.requires_grad
    assert not any(network.weight(layer).requires_grad for layer in network.table.layers)
