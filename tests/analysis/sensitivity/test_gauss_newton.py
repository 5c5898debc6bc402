import numpy as np
import pytest
import torch

from analysis.errors import DataError, QuantizationError
from analysis.sensitivity.gauss_newton import GaussNewtonOptions, gauss_newton
from tests.reference import curvature as oracle
from tests.reference.sensitivity import demo_task, folded_copy
from tests.reference.work import CountedParts, finish


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


def test_the_float_candidate_and_a_layer_that_is_not_read_score_exactly_zero():
    x, y = oracle.samples(6, 6, classes=3)
    found = scores(oracle.double_task(oracle.Spare(), x, y, "float", "w2a2"))
    place = found.layers.index("spare")
    assert (found.values[:, 0] == 0).all()
    assert found.values[place, 1] == 0
    assert (np.delete(found.values[:, 1], place) > 0).all()


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_the_batch_size_does_not_matter(name):
    task = oracle.labelled_demo(name, 5, "w3a4")
    one, many = scores(task, batch_size=1), scores(task, batch_size=5)
    assert np.allclose(one.values, many.values, rtol=1e-2, atol=1e-7)


def test_permuting_the_samples_permutes_the_rows():
    x, y = oracle.samples(6, 5, classes=3)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    model = oracle.mlp(5, 4, 3)
    one, other = (
        scores(oracle.double_task(model, x[o], y[o], "w3a4"), batch_size=4).per_sample
        for o in (torch.arange(6), order)
    )
    assert np.allclose(one[order.numpy()], other, rtol=1e-9)


def test_an_interrupted_computation_goes_on_where_it_stopped_and_gives_the_same_numbers():
    whole = scores(oracle.labelled_demo("digits-resnet", 5, "w4a8"), batch_size=2)
    parts = CountedParts()
    task = oracle.labelled_demo("digits-resnet", 5, "w4a8", parts=parts)
    work = gauss_newton(task, GaussNewtonOptions(batch_size=2))
    while len(parts.saved) < 2:
        next(work)
    next(work)
    work.close()
    resumed = scores(task, batch_size=2)
    assert parts.saved == ["batch-0", "batch-1", "batch-2"]
    assert parts.loaded == ["batch-0", "batch-1"]
    assert np.array_equal(resumed.values, whole.values)


def test_labels_and_candidates_are_required():
    with pytest.raises(DataError, match="`gauss_newton` needs labels"):
        scores(demo_task("digits-resnet", 2, "w4a8"))
    with pytest.raises(QuantizationError, match="name at least one"):
        scores(oracle.labelled_demo("digits-resnet", 2))
