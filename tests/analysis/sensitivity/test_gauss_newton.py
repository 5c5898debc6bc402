import numpy as np
import pytest
import torch

from analysis.sensitivity.gauss_newton import GaussNewtonOptions, gauss_newton
from tests.reference import curvature as oracle
from tests.reference.sensitivity import folded_copy
from tests.reference.work import finish


def scores(task, **options):
    return finish(gauss_newton(task, GaussNewtonOptions(**options)))


def logit_changes(task, candidate):
    """Change of the logits of a network of one layer, by sample."""
    (layer,) = task.network.table.layers
    x = task.inputs(range(task.n))
    return torch.stack([oracle.error_by_hooks(task, layer, candidate, s) for s in x]).numpy()


# --- closed forms --------------------------------------------------------------------------------


def test_softmax_regression_scores_the_squared_change_of_the_log_probability():
    model = oracle.mlp(6, 4)
    x, y = oracle.samples(7, 6, classes=4)
    task = oracle.double_task(model, x, y, "w2afloat", "w4a3")
    found = scores(task)
    residual = torch.softmax(model(x), 1).detach() - torch.nn.functional.one_hot(y, 4)
    for c, candidate in enumerate(task.candidates):
        rows = 0.5 * (residual.numpy() * logit_changes(task, candidate)).sum(1) ** 2
        assert found.values[0, c] == pytest.approx(rows.mean(), rel=1e-9)
        assert found.stderr[0, c] == pytest.approx(rows.std(ddof=1) / 7**0.5, rel=1e-9)
    assert found.unit == "nats"


def test_over_the_networks_own_labels_the_mean_is_the_gauss_newton_form():
    model = oracle.mlp(6, 4)
    x, y = oracle.samples(5, 6, classes=4)
    p = torch.softmax(model(x), 1).detach().numpy()
    drawn = np.zeros(5)
    for label in range(4):
        task = oracle.double_task(model, x, torch.full_like(y, label), "w2afloat")
        drawn += p[:, label] * scores(task).per_sample[:, 0]
    change = logit_changes(task, task.candidates[0])
    curvature = np.stack([np.diag(q) - np.outer(q, q) for q in p])
    expected = 0.5 * np.einsum("nc,ncd,nd->n", change, curvature, change)
    assert np.allclose(drawn, expected, rtol=1e-9)


def test_a_logit_of_zero_is_no_pole():
    model = oracle.OneLogit(3)  # its second logit is always zero
    x, y = oracle.samples(4, 3, classes=1)
    found = scores(oracle.double_task(model, x, y + 1, "w2afloat"))
    assert np.isfinite(found.values).all()
    assert (found.values > 0).all()


# --- slow oracles --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_without_activations_it_is_the_derivative_along_the_change_of_the_weight(name):
    task = oracle.labelled_demo(name, 3, "w2afloat", "w4afloat")
    found, model = scores(task), folded_copy(task.network)
    y = torch.from_numpy(task.labels("test"))
    plans = oracle.IsolatedPlans(task.network, task.candidates, task.statistics, task.settings)
    for i, layer in enumerate(task.network.table.layers):
        gradients = [
            oracle.plain_weight_gradient(
                model, layer.weight_name, task.inputs(range(n, n + 1)), y[n : n + 1]
            ).double()
            for n in range(3)
        ]
        for c, candidate in enumerate(task.candidates):
            value = plans.quantization(layer, candidate).weight_values[layer.name]
            move = (value - task.network.weight(layer)).double()
            rows = [0.5 * float((g * move).sum()) ** 2 for g in gradients]
            assert found.values[i, c] == pytest.approx(np.mean(rows), rel=1e-2, abs=1e-9)


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_scores_equal_those_of_every_sample_alone(name):
    task = oracle.labelled_demo(name, 2, "w4a4", "wfloata3")
    found = scores(task)
    products = oracle.gradient_times_error(task)
    rows = np.array(
        [
            [[0.5 * sum(float(p.sum()) for p in calls) ** 2 for calls in layer] for layer in sample]
            for sample in products
        ]
    )
    assert np.allclose(found.values, rows.mean(0), rtol=1e-2, atol=1e-8)
    assert np.allclose(found.per_sample, rows[:, :, 0], rtol=1e-2, atol=1e-8)


# --- laws ----------------------------------------------------------------------------------------


def test_a_layer_that_is_called_twice_has_one_direction_over_its_calls():
    x, y = oracle.samples(4, 6, classes=3)
    task = oracle.double_task(oracle.Twice(), x, y, "w3afloat")
    found = scores(task)
    place = found.layers.index("again")
    layer = task.network.layer("again")
    plans = oracle.IsolatedPlans(task.network, task.candidates, task.statistics, task.settings)
    move = plans.quantization(layer, task.candidates[0]).weight_values["again"]
    move = move - task.network.weight(layer)
    rows = [
        0.5
        * float(
            (
                oracle.plain_weight_gradient(
                    task.network.module, "again.weight", x[n : n + 1], y[n : n + 1]
                )
                * move
            ).sum()
        )
        ** 2
        for n in range(4)
    ]
    assert np.allclose(found.per_sample[:, place], rows, rtol=1e-9)
