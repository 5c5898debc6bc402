import numpy as np
import pytest
import torch
from torch import nn

from analysis.errors import DataError
from analysis.sensitivity.hessian_eigenvalue import HessianEigenvalueOptions, hessian_eigenvalue
from tests.analysis.models.toys import TOYS, batch
from tests.reference import curvature as oracle
from tests.reference.sensitivity import demo_task, folded_copy
from tests.reference.work import CountedParts, finish


def scores(task, **options):
    return finish(hessian_eigenvalue(task, HessianEigenvalueOptions(**options)))


def tanh_task(*texts, n=6, **more):
    model = oracle.mlp(5, 4, 3, activation=nn.Tanh)
    x, y = oracle.samples(n, 5, classes=3)
    return oracle.double_task(model, x, y, *texts, **more)


def largest(model, network, x, y):
    return np.array([np.linalg.eigvalsh(h)[-1] for h in oracle.blocks(model, network, x, y)])


# --- closed forms --------------------------------------------------------------------------------


def test_a_diagonal_hessian_has_its_largest_element():
    x = torch.eye(30, dtype=torch.float64) * torch.linspace(1, 3, 30, dtype=torch.float64)
    model = oracle.OneLogit(30)
    found = scores(oracle.double_task(model, x, torch.arange(30) % 2), tolerance=1e-6)
    p = torch.sigmoid(model.only(x)).flatten().detach()
    expected = float((p * (1 - p) * x.square().sum(1)).max()) / 30
    assert found.values == pytest.approx([expected], rel=1e-5)
    assert found.exact
    assert found.unit == "nats per squared weight"


def test_a_layer_of_one_weight_has_its_second_derivative():
    x = torch.tensor([[1.0], [2.0], [-1.0]], dtype=torch.float64)
    model = oracle.OneLogit(1)
    found = scores(oracle.double_task(model, x, torch.tensor([0, 1, 0])))
    p = torch.sigmoid(model.only(x)).detach()
    assert found.values == pytest.approx([float((p * (1 - p) * x**2).mean())], rel=1e-12)


def test_softmax_regression_has_the_top_eigenvalue_of_its_known_hessian():
    model = oracle.mlp(9, 3)
    x, y = oracle.samples(6, 9, classes=3)
    p = torch.softmax(model(x), 1).detach()
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    dense = torch.einsum("ncd,ni,nj->cidj", curvature, x, x).reshape(27, 27) / 6
    found = scores(oracle.double_task(model, x, y), tolerance=1e-6)
    assert found.values == pytest.approx([float(torch.linalg.eigvalsh(dense)[-1])], rel=1e-5)


# --- slow oracles --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["self_attention", "twice", "residual", "transposed"])
def test_eigenvalues_equal_those_of_the_dense_blocks(name):
    x, y = batch(4, 3, 8, 8).double(), torch.tensor([0, 4, 2, 2])
    task = oracle.double_task(TOYS[name](), x, y)
    found = scores(task, tolerance=1e-6)
    assert np.allclose(found.values, largest(folded_copy(task.network), task.network, x, y), 1e-4)


@pytest.mark.parametrize(
    ("name", "layers"), [("digits-resnet", ("conv1",)), ("digits-vit", ("head",))]
)
def test_eigenvalues_on_the_demo_networks_equal_those_of_dense_hessians(name, layers):
    task = oracle.labelled_demo(name, 2)
    found = scores(task, samples=0)
    model, y = folded_copy(task.network), torch.from_numpy(task.labels("test"))
    for layer in layers:
        dense = oracle.dense_hessian(model, [f"{layer}.weight"], task.inputs(range(2)), y)
        expected = float(torch.linalg.eigvalsh(dense.double())[-1])
        assert found.values[found.layers.index(layer)] == pytest.approx(expected, rel=2e-3)


def test_the_score_bounds_the_second_order_loss_of_the_actual_error():
    task = tanh_task("w2afloat", "w4a4", "wfloata4", "float")
    found = scores(task, tolerance=1e-6)
    model, x = folded_copy(task.network), task.inputs(range(task.n))
    y = torch.from_numpy(task.labels("test"))
    dense = oracle.blocks(model, task.network, x, y)
    for i, layer in enumerate(task.network.table.layers):
        for c, candidate in enumerate(task.candidates):
            squared = oracle.squared_error(task, layer, candidate)
            top = float(np.linalg.eigvalsh(dense[i])[-1])
            assert found.values[i, c] == pytest.approx(0.5 * top * squared, rel=1e-4)
        plans = oracle.IsolatedPlans(task.network, task.candidates, task.statistics, task.settings)
        value = plans.quantization(layer, task.candidates[0]).weight_values[layer.name]
        move = (value - task.network.weight(layer)).flatten().numpy()
        assert found.values[i, 0] >= 0.5 * move @ dense[i] @ move
    assert (found.values[:, 2:] == 0).all()
    assert found.unit == "nats"
    assert any("Weights alone" in note for note in found.notes)


# --- laws ----------------------------------------------------------------------------------------


class Crowded(nn.Module):
    """The many eigenvalues of ``wide`` are almost equal."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.wide, self.narrow = nn.Linear(400, 1, bias=False), nn.Linear(2, 1)

    def forward(self, x):
        z = self.wide(x) + self.narrow(x[:, :2])
        return torch.cat([z, torch.zeros_like(z)], 1)


def test_an_eigenvalue_that_is_not_reached_leaves_its_layer_out():
    x = torch.diag(torch.linspace(1, 1.05, 400, dtype=torch.float64))
    task = oracle.double_task(Crowded(), x, torch.arange(400) % 2, "w4afloat")
    found = scores(task, iterations=1, tolerance=1e-6, samples=0, batch_size=400)
    (left_out,) = found.skipped
    assert (left_out.name, left_out.num_params) == ("wide", 400)
    assert "not reached within 1 sweeps to 1e-06" in left_out.reason
    assert found.layers == ("narrow",)
    assert found.values.shape == (1, 1)


def test_a_layer_that_is_not_read_scores_exactly_zero():
    x, y = oracle.samples(6, 6, classes=3)
    found = scores(oracle.double_task(oracle.Spare(), x, y, "w2a2"))
    place = found.layers.index("spare")
    assert found.values[place, 0] == 0
    assert (np.delete(found.values, place, 0) > 0).all()


@pytest.mark.parametrize("name", ["self_attention", "residual"])
def test_the_batch_size_does_not_matter(name):
    x, y = batch(4, 3, 8, 8).double(), torch.tensor([0, 4, 2, 2])
    task = oracle.double_task(TOYS[name](), x, y)
    one, many = (scores(task, batch_size=size) for size in (3, 4))
    assert np.allclose(one.values, many.values, rtol=1e-6)
    assert one.forward_passes > many.forward_passes == len(many.layers)


def test_the_order_of_the_samples_does_not_matter():
    x, y = oracle.samples(6, 5, classes=3)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    model = oracle.mlp(5, 4, 3, activation=nn.Tanh)
    one, other = (
        scores(oracle.double_task(model, x[o], y[o]), batch_size=4).values
        for o in (torch.arange(6), order)
    )
    assert np.allclose(one, other, rtol=1e-9)


def test_a_limit_on_the_samples_takes_the_first_ones_and_is_stated():
    x, y = oracle.samples(9, 5, classes=3)
    model = oracle.mlp(5, 4, 3, activation=nn.Tanh)
    few = scores(tanh_task(n=9), samples=4)
    assert np.array_equal(few.values, scores(oracle.double_task(model, x[:4], y[:4])).values)
    assert (few.n, scores(tanh_task(n=9), samples=0).n) == (4, 9)


def test_the_same_seed_gives_the_same_numbers():
    x, y = oracle.samples(40, 30, classes=2)
    task = oracle.double_task(oracle.OneLogit(30), x, y)
    one, again = (scores(task, tolerance=0.1) for _ in range(2))
    assert np.array_equal(one.values, again.values)


def test_an_interrupted_computation_goes_on_where_it_stopped_and_gives_the_same_numbers():
    whole = scores(tanh_task("w4a8"), batch_size=4)
    parts = CountedParts()
    task = tanh_task("w4a8", parts=parts)
    work = hessian_eigenvalue(task, HessianEigenvalueOptions(batch_size=4))
    next(work)
    work.close()
    resumed = scores(task, batch_size=4)
    assert (parts.saved, parts.loaded) == (["layer-0", "layer-1"], ["layer-0"])
    assert np.array_equal(resumed.values, whole.values)
    assert resumed.backward_passes == whole.backward_passes


def test_labels_are_required():
    with pytest.raises(DataError, match="`hessian_eigenvalue` needs labels"):
        scores(demo_task("digits-resnet", 2))
