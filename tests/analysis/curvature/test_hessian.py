from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from analysis.curvature.gradients import weight_gradients
from analysis.curvature.hessian import gradient_graph, quadratic_forms, signs, top_eigenvalue
from analysis.errors import DataflowError
from analysis.models.demo import load
from analysis.models.network import build_network
from analysis.models.replay import Plan
from tests.analysis.models.toys import TOYS, batch
from tests.reference import curvature as oracle

MODELS = {
    "relu": (lambda: oracle.mlp(5, 4, 4, 3), ("0.weight", "2.weight", "4.weight")),
    "tanh": (lambda: oracle.mlp(5, 4, 3, activation=nn.Tanh), ("0.weight", "2.weight")),
    "linear": (
        lambda: oracle.mlp(5, 4, 3, activation=nn.Identity, bias=False),
        ("0.weight", "2.weight"),
    ),
}


def network_of(name):
    make, names = MODELS[name]
    model = make()
    x, y = oracle.samples(6, 5, classes=3)
    network = build_network(model, x)
    assert tuple(layer.weight_name for layer in network.table.layers) == names
    return network, model, names, x, y


def columns(graph, places, sizes):
    """The matrix of products with unit vectors, over some weights."""
    rows = []
    for unit in torch.eye(sum(sizes), dtype=torch.float64):
        parts = [
            v.view_as(graph.weights[i]) for i, v in zip(places, unit.split(sizes), strict=True)
        ]
        found = graph.product(places, parts, keep=True)
        rows.append(torch.cat([f.flatten() for f in found]))
    return torch.stack(rows)


# --- products ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(MODELS))
def test_products_build_the_dense_hessian_of_the_summed_loss(name):
    network, model, names, x, y = network_of(name)
    layers = network.table.layers
    graph = gradient_graph(network, layers, x, y)
    found = columns(graph, range(len(layers)), [layer.num_weights for layer in layers])
    assert torch.allclose(found, 6 * oracle.dense_hessian(model, names, x, y), atol=1e-10)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_product_for_one_weight_is_that_of_its_own_block(name):
    network, model, names, x, y = network_of(name)
    for place, layer in enumerate(network.table.layers):
        dense = 6 * oracle.dense_hessian(model, [names[place]], x, y)
        whole = gradient_graph(network, network.table.layers, x, y)
        alone = gradient_graph(network, [layer], x, y)
        size = [layer.num_weights]
        assert torch.allclose(columns(whole, [place], size), dense, atol=1e-10)
        assert torch.allclose(columns(alone, [0], size), dense, atol=1e-10)


def test_softmax_regression_has_its_known_hessian():
    model = oracle.mlp(5, 3)
    x, y = oracle.samples(6, 5, classes=3)
    network = build_network(model, x)
    graph = gradient_graph(network, network.table.layers, x, y)
    p = torch.softmax(model(x), 1).detach()
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    expected = torch.einsum("ncd,ni,nj->cidj", curvature, x, x).reshape(15, 15)
    assert torch.allclose(columns(graph, [0], [15]), expected, atol=1e-12)


def test_blocks_of_relu_networks_do_not_know_the_labels_and_have_no_negative_eigenvalue():
    network, _, _, x, y = network_of("relu")
    for layer in network.table.layers:
        matrices = [
            columns(gradient_graph(network, [layer], x, labels), [0], [layer.num_weights])
            for labels in (y, (y + 1) % 3)
        ]
        assert torch.allclose(*matrices, atol=1e-12)
        assert float(torch.linalg.eigvalsh(matrices[0])[0]) > -1e-12


def test_smooth_activations_can_curve_the_loss_downwards():
    network, _, _, x, y = network_of("tanh")
    layer = network.table.layers[0]
    matrix = columns(gradient_graph(network, [layer], x, y), [0], [layer.num_weights])
    assert float(torch.linalg.eigvalsh(matrix)[0]) < -1e-3


@pytest.mark.parametrize("name", sorted(TOYS))
def test_products_equal_differences_of_gradients_however_tensors_are_passed(name):
    x, y = batch(3, 3, 8, 8).double(), torch.tensor([0, 4, 2])
    network = build_network(TOYS[name]().double(), x)
    generator = torch.Generator().manual_seed(0)
    for layer in network.table.layers:
        graph = gradient_graph(network, [layer], x, y)
        weight = network.weight(layer)
        v = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        (found,) = graph.product([0], [v], keep=False)
        above, below = (_gradient(network, layer, weight + s * 1e-6 * v, x, y) for s in (1, -1))
        expected = (above - below) / 2e-6
        size = float(expected.abs().max())
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-5 * size + 1e-8)


def _gradient(network, layer, weight, x, y):
    weight = weight.detach().requires_grad_()
    plan = network.plan | Plan(weights=dict.fromkeys(layer.calls, weight))
    moved = type(network)(network.module, network.trace, network.table, plan, network.axes)
    return weight_gradients(moved, [layer], x, y)[0]


def test_the_two_calls_of_a_layer_share_one_block():
    x, y = oracle.samples(5, 6, classes=3)
    model = oracle.Twice().double().eval()
    network = build_network(model, x)
    graph = gradient_graph(network, [network.layer("again")], x, y)
    expected = 5 * oracle.dense_hessian(model, ["again.weight"], x, y)
    assert torch.allclose(columns(graph, [0], [16]), expected, atol=1e-10)


def test_a_layer_whose_output_is_not_read_has_products_of_zero():
    x, y = oracle.samples(5, 6, classes=3)
    network = build_network(oracle.Spare().double().eval(), x)
    layers = network.table.layers
    places = range(len(layers))
    graph = gradient_graph(network, layers, x, y)
    spare = network.table.names.index("spare")
    ones = [torch.ones_like(w) for w in graph.weights]
    assert not graph.product(places, ones, keep=True)[spare].any()
    assert not graph.product([spare], [ones[spare]], keep=True)[0].any()
    assert all(f.any() for i, f in enumerate(graph.product(places, ones, keep=True)) if i != spare)


def test_fused_attention_is_differentiated_twice():
    x, y = batch(3, 1, 16, 16), torch.arange(3)
    network = build_network(load("digits-vit"), x)
    layer = network.layer("blocks.0.attention.in_proj")
    graph = gradient_graph(network, [layer], x, y)
    (found,) = graph.product([0], [torch.ones_like(graph.weights[0])], keep=False)
    assert bool(found.isfinite().all())
    assert bool(found.any())


def test_an_operation_without_a_second_derivative_is_refused_by_its_name():
    class Prototypes(nn.Module):
        """City-block distances to prototypes, which torch differentiates once."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(4, 2)
            self.prototypes = nn.Parameter(torch.randn(4, 3))

        def forward(self, x):
            return self.b(torch.cdist(self.a(x), self.prototypes, p=1))

    x = torch.randn(4, 3)
    network = build_network(Prototypes().eval(), x)
    graph = gradient_graph(network, network.table.layers, x, torch.tensor([0, 1, 0, 1]))
    with pytest.raises(DataflowError, match=r"second derivative.*cdist.*fisher_output"):
        graph.product([0], [torch.ones(3, 3)], keep=False)


def test_the_second_backward_pass_leaves_no_graph_behind():
    network, _, _, x, y = network_of("tanh")
    graph = gradient_graph(network, network.table.layers, x, y)
    ones = [torch.ones_like(w) for w in graph.weights]
    assert not any(f.requires_grad for f in graph.product([0, 1], ones, keep=True))


# --- random signs --------------------------------------------------------------------------------


def test_signs_are_given_by_their_seed_and_balanced():
    a, b = signs((40, 50), (0, 1, 2)), signs((40, 50), (0, 1, 3))
    assert set(np.unique(a)) == {-1.0, 1.0}
    assert np.array_equal(a, signs((40, 50), (0, 1, 2)))
    assert abs(a.mean()) < 4 / 2000**0.5
    assert abs((a * b).mean()) < 4 / 2000**0.5


def test_one_probe_is_exact_where_the_hessian_is_diagonal():
    model = oracle.OneLogit(5).double().eval()
    x = torch.eye(5, dtype=torch.float64) * torch.arange(1.0, 6.0, dtype=torch.float64)
    network = build_network(model, x)
    graph = gradient_graph(network, network.table.layers, x, torch.tensor([0, 1, 0, 1, 1]))
    p = torch.sigmoid(model.only(x)).flatten().detach()
    expected = float((p * (1 - p) * x.square().sum(1)).sum())
    for seed in range(3):
        found = quadratic_forms(graph, [0], [signs((1, 5), (seed,))])
        assert found[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shared", [True, False])
def test_random_signs_have_the_mean_and_the_variance_of_the_formula(shared):
    network, model, names, x, y = network_of("tanh")
    sizes = [layer.num_weights for layer in network.table.layers]
    dense = 6 * oracle.dense_hessian(model, names, x, y).numpy()
    edges = np.cumsum([0, *sizes])
    blocks = [[dense[a:b, c:d] for c, d in pairwise(edges)] for a, b in pairwise(edges)]
    graph = gradient_graph(network, network.table.layers, x, y)
    groups = [[0, 1]] if shared else [[0], [1]]
    shapes = [layer.weight_shape for layer in network.table.layers]
    count = 500
    found = np.array(
        [
            np.concatenate(
                [
                    quadratic_forms(graph, group, [signs(shapes[i], (k, i)) for i in group])
                    for group in groups
                ]
            )
            for k in range(count)
        ]
    )
    for i in range(2):
        own = blocks[i][i]
        variance = 2 * ((own**2).sum() - (np.diag(own) ** 2).sum())
        variance += (blocks[i][1 - i] ** 2).sum() if shared else 0.0
        assert abs(found[:, i].mean() - np.trace(own)) < 4 * (variance / count) ** 0.5
        assert found[:, i].var() == pytest.approx(variance, rel=0.3)


# --- eigenvalues ---------------------------------------------------------------------------------


def symmetric(size, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((size, size))
    return (matrix + matrix.T) / 2 + shift * np.eye(size)


def top(matrix, **changed):
    options = {"tolerance": 1e-8, "restarts": 200, "seed": (0,)} | changed
    return top_eigenvalue(lambda v: matrix @ v, len(matrix), **options)


@pytest.mark.parametrize("size", [1, 2, 3, 20, 21, 22, 60, 200])
@pytest.mark.parametrize("shift", [0.0, -100.0])
def test_the_top_eigenvalue_is_the_largest_with_its_sign(size, shift):
    matrix = symmetric(size, shift=shift)
    assert top(matrix) == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-6)


def test_a_matrix_of_low_rank_and_one_with_equal_eigenvalues_are_no_obstacle():
    v = np.random.default_rng(0).standard_normal((50, 2))
    assert top(v @ v.T) == pytest.approx(np.linalg.eigvalsh(v.T @ v)[-1], rel=1e-6)
    assert top(3 * np.eye(50)) == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("size", [3, 60])
def test_a_matrix_of_zeros_has_the_eigenvalue_zero_exactly(size):
    assert top(np.zeros((size, size))) == 0.0


@pytest.mark.parametrize("size", [3, 60])
def test_a_product_that_is_not_finite_gives_nan(size):
    broken = np.full(size, np.inf)
    found = top_eigenvalue(lambda v: broken, size, tolerance=0.1, restarts=5, seed=(0,))
    assert np.isnan(found)


def test_an_eigenvalue_that_is_not_reached_is_none():
    crowded = np.diag(np.linspace(0.999, 1.0, 2000))
    assert top(crowded, tolerance=1e-12, restarts=1) is None
