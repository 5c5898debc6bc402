import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.models.replay import Plan
from analysis.quant.configure import estimate_activation, estimate_weight
from analysis.records import QuantSettings
from analysis.sensitivity.gradient_l1 import GradientL1Options, gradient_l1
from tests.reference import curvature as oracle
from tests.reference.sensitivity import SETTINGS, folded_copy
from tests.reference.work import finish


def scores(task, **options):
    return finish(gradient_l1(task, GradientL1Options(**options)))


# --- closed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("per_channel", [True, False])
def test_softmax_regression_has_the_gradient_of_its_known_loss(per_channel):
    model = oracle.mlp(6, 4)
    x, y = oracle.samples(7, 6, classes=4)
    settings = QuantSettings(
        per_channel=per_channel, weight_range="min_max", activation_range="min_max"
    )
    task = oracle.double_task(model, x, y, "w3afloat", "wfloata4", "w3a4", settings=settings)
    found = scores(task)
    residual = torch.softmax(model(x), 1).detach() - F.one_hot(y, 4)
    weights = (residual.T @ x / 7).abs().sum(1)
    limits = model[0].weight.detach().abs().amax(1)
    limits = limits if per_channel else limits.max().expand(4)
    weight = float((weights * limits / 3 / 2).sum())
    step = float((x.max() - x.min()) / 15)
    activation = float((residual @ model[0].weight.detach()).abs().sum(1).mean() * step / 2)
    assert found.values[0] == pytest.approx([weight, activation, weight + activation], rel=1e-6)
    assert found.unit == "nats"
    assert found.stderr is None


def test_halving_the_step_halves_the_score():
    model = oracle.mlp(6, 5, 4)
    x, y = oracle.samples(7, 6, classes=4)
    found = scores(oracle.double_task(model, x, y, "w2afloat", "w3afloat", "w8afloat"))
    # The largest weight is 1, 3 or 127 steps away from zero.
    assert np.allclose(found.values[:, 0], 3 * found.values[:, 1], rtol=1e-6)
    assert np.allclose(found.values[:, 0], 127 * found.values[:, 2], rtol=1e-6)


# --- laws of a bound -----------------------------------------------------------------------------


def test_the_score_is_the_rise_of_the_loss_in_the_worst_corner_of_a_small_box():
    x, y = oracle.samples(7, 6, classes=4)
    task = oracle.double_task(oracle.mlp(6, 5, 4), x, y, "w8afloat")
    network, found = task.network, scores(task)
    model = folded_copy(network)
    for i, layer in enumerate(network.table.layers):
        g = oracle.plain_weight_gradient(model, layer.weight_name, x, y)
        scale = estimate_weight(network, layer, "int8", SETTINGS).scale.double()[:, None]
        corner = g.sign() * scale / 2 * 1e-4
        plan = Plan(weights=dict.fromkeys(layer.calls, network.weight(layer) + corner))
        with torch.no_grad():
            rise = F.cross_entropy(network(x, plan), y) - F.cross_entropy(network(x), y)
        assert float(rise) / 1e-4 == pytest.approx(found.values[i, 0], rel=1e-3)


def test_the_score_bounds_what_the_actual_rounding_does_to_first_order():
    x, y = oracle.samples(7, 6, classes=4)
    task = oracle.double_task(oracle.mlp(6, 5, 4), x, y, "w2afloat", "w4afloat")
    found, model = scores(task), folded_copy(task.network)
    plans = oracle.IsolatedPlans(task.network, task.candidates, task.statistics, task.settings)
    for i, layer in enumerate(task.network.table.layers):
        g = oracle.plain_weight_gradient(model, layer.weight_name, x, y)
        for c, candidate in enumerate(task.candidates):
            value = plans.quantization(layer, candidate).weight_values[layer.name]
            first = abs(float((g * (value - task.network.weight(layer))).sum()))
            assert 0 < first <= found.values[i, c]


# --- slow oracles --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_the_weight_part_equals_the_gradients_of_a_folded_copy(name):
    task = oracle.labelled_demo(name, 3, "w2afloat", "w4afloat")
    found, model = scores(task), folded_copy(task.network)
    x, y = task.inputs(range(3)), torch.from_numpy(task.labels("test"))
    for i, layer in enumerate(task.network.table.layers):
        g = oracle.plain_weight_gradient(model, layer.weight_name, x, y).double()
        for c, candidate in enumerate(task.candidates):
            scale = estimate_weight(task.network, layer, candidate.weight, SETTINGS).scale
            expected = float((g.abs().flatten(1).sum(1) * scale / 2).sum())
            assert found.values[i, c] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_the_activation_part_equals_gradients_at_the_layers_own_inputs_of_every_sample(name):
    task = oracle.labelled_demo(name, 2, "wfloata4")
    network, labels = task.network, task.labels("test")
    found = scores(task)
    for i, layer in enumerate(network.table.layers):
        expected = 0.0
        for call, tensor in zip(layer.calls, layer.inputs, strict=True):
            scale = float(estimate_activation(task.statistics, tensor, "int4", SETTINGS).scale)
            for n, sample in enumerate(task.inputs(range(2))):
                g = oracle.one_input_gradient(network, call, sample, int(labels[n]))
                expected += float(g.double().abs().sum()) * scale / 2 / 2
        assert found.values[i, 0] == pytest.approx(expected, rel=1e-3)


# --- what counts ---------------------------------------------------------------------------------


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        x = self.a(x)
        return 100 * x + self.b(x)


def test_other_readers_of_a_tensor_have_no_part_in_a_layers_score():
    model = Skip().double()
    x, y = oracle.samples(5, 4, classes=4)
    x = x / 100
    task = oracle.double_task(model, x, y, "wfloata4")
    found = scores(task)
    residual = torch.softmax(model(x), 1).detach() - F.one_hot(y, 4)
    slopes = (residual @ model.b.weight.detach()).abs().sum(1).mean()
    h = model.a(x).detach()
    step = float(h.max() - h.min()) / 15
    assert found.values[1, 0] == pytest.approx(float(slopes) * step / 2, rel=1e-6)


def test_a_layer_that_is_called_twice_has_one_weight_and_both_of_its_inputs():
    x, y = oracle.samples(4, 6, classes=3)
    model = oracle.Twice()
    task = oracle.double_task(model, x, y, "w3afloat", "wfloata3")
    found = scores(task)
    place = found.layers.index("again")
    layer = task.network.layer("again")
    g = oracle.plain_weight_gradient(model, "again.weight", x, y)
    scale = estimate_weight(task.network, layer, "int3", SETTINGS).scale
    assert found.values[place, 0] == pytest.approx(float((g.abs().sum(1) * scale / 2).sum()))
    expected = 0.0
    for call, tensor in zip(layer.calls, layer.inputs, strict=True):
        step = float(estimate_activation(task.statistics, tensor, "int3", SETTINGS).scale)
        for n in range(4):
            slope = oracle.one_input_gradient(task.network, call, x[n], int(y[n]))
            expected += float(slope.abs().sum()) * step / 2 / 4
    assert found.values[place, 1] == pytest.approx(expected, rel=1e-9)
