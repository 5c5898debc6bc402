import numpy as np
import pytest
import torch

from analysis.sensitivity.fisher_output import FisherOutputOptions, fisher_output
from tests.reference import curvature as oracle
from tests.reference.sensitivity import folded_copy
from tests.reference.work import finish


def scores(task, **options):
    return finish(fisher_output(task, FisherOutputOptions(**options)))


# --- closed forms --------------------------------------------------------------------------------


def test_softmax_regression_scores_residual_times_change_of_the_logits():
    model = oracle.mlp(6, 4)
    x, y = oracle.samples(7, 6, classes=4)
    task = oracle.double_task(model, x, y, "w2afloat", "w4afloat")
    found = scores(task)
    residual = torch.softmax(model(x), 1).detach() - torch.nn.functional.one_hot(y, 4)
    layer = task.network.table.layers[0]
    for c, candidate in enumerate(task.candidates):
        change = torch.stack([oracle.error_by_hooks(task, layer, candidate, s) for s in x])
        rows = 0.5 * (residual * change).square().sum(1).numpy()
        assert found.values[0, c] == pytest.approx(rows.mean(), rel=1e-9)
        assert found.stderr[0, c] == pytest.approx(rows.std(ddof=1) / 7**0.5, rel=1e-9)
        if c == 0:
            assert np.allclose(found.per_sample[:, 0], rows, rtol=1e-9)
    assert found.unit == "nats"


def test_over_the_networks_own_labels_the_mean_is_the_diagonal_of_the_curvature():
    model = oracle.mlp(6, 4)
    x, y = oracle.samples(5, 6, classes=4)
    p = torch.softmax(model(x), 1).detach().numpy()
    drawn = np.zeros(5)
    for label in range(4):
        task = oracle.double_task(model, x, torch.full_like(y, label), "w2afloat")
        drawn += p[:, label] * scores(task).per_sample[:, 0]
    layer = task.network.table.layers[0]
    change = torch.stack([oracle.error_by_hooks(task, layer, task.candidates[0], s) for s in x])
    expected = 0.5 * (p * (1 - p) * change.square().numpy()).sum(1)
    assert np.allclose(drawn, expected, rtol=1e-9)


def test_a_gradient_that_is_m_times_as_large_scores_m_squared():
    x, y = oracle.samples(7, 6, classes=3)
    model = oracle.mlp(6, 5, 3)
    before = oracle.double_task(model, x, y, "w3a3")
    one = scores(before).values
    model[0].weight.data *= 2
    model[0].bias.data *= 2
    model[2].weight.data /= 2
    # The output's error doubles and the gradient halves: nothing changes.
    assert np.allclose(scores(oracle.double_task(model, x, y, "w3a3")).values, one, rtol=1e-9)


# --- slow oracles --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_scores_equal_those_of_every_sample_alone(name):
    task = oracle.labelled_demo(name, 2, "w2a8", "w4a4", "wfloata3")
    found = scores(task)
    products = oracle.gradient_times_error(task)
    rows = np.array(
        [
            [
                [0.5 * sum(float(p.square().sum()) for p in calls) for calls in layer]
                for layer in sample
            ]
            for sample in products
        ]
    )
    assert np.allclose(found.values, rows.mean(0), rtol=2e-3, atol=1e-9)
    assert np.allclose(found.stderr, rows.std(0, ddof=1) / 2**0.5, rtol=2e-3, atol=1e-9)
    assert np.allclose(found.per_sample, rows[:, :, 0], rtol=2e-3, atol=1e-9)
    assert found.per_sample_unit == "nats at w2a8"


def test_scores_equal_module_hooks_and_offsets_on_a_folded_copy():
    task = oracle.labelled_demo("digits-resnet", 2, "w3a4")
    found, model, labels = scores(task), folded_copy(task.network), task.labels("test")
    for i, layer in enumerate(task.network.table.layers):
        values = []
        for n, sample in enumerate(task.inputs(range(2))):
            g = oracle.hooked_gradient(model, layer.name, sample, int(labels[n]))
            error = oracle.error_by_hooks(task, layer, task.candidates[0], sample)
            values.append(0.5 * float((g * error).double().square().sum()))
        assert found.values[i, 0] == pytest.approx(np.mean(values), rel=2e-3, abs=1e-9)


# --- laws ----------------------------------------------------------------------------------------


def test_the_calls_of_a_layer_that_is_called_twice_add_up():
    x, y = oracle.samples(4, 6, classes=3)
    task = oracle.double_task(oracle.Twice(), x, y, "w3a3")
    found = scores(task)
    place = found.layers.index("again")
    products = oracle.gradient_times_error(task)
    rows = [0.5 * sum(float(p.square().sum()) for p in sample[place][0]) for sample in products]
    assert len(products[0][place][0]) == 2
    assert found.values[place, 0] == pytest.approx(np.mean(rows), rel=1e-9)
