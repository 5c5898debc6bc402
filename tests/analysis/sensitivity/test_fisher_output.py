import numpy as np
import pytest
import torch

from analysis.errors import DataError, QuantizationError
from analysis.sensitivity.fisher_output import FisherOutputOptions, fisher_output
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
    assert np.allclose(one.values, many.values, rtol=2e-3, atol=1e-9)
    assert np.allclose(one.per_sample, many.per_sample, rtol=1e-2, atol=1e-8)


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
    work = fisher_output(task, FisherOutputOptions(batch_size=2))
    while len(parts.saved) < 1:
        next(work)
    next(work)
    work.close()
    resumed = scores(task, batch_size=2)
    assert (parts.saved, parts.loaded) == (["batch-0", "batch-1", "batch-2"], ["batch-0"])
    assert np.array_equal(resumed.values, whole.values)
    assert np.array_equal(resumed.per_sample, whole.per_sample)


def test_labels_and_candidates_are_required():
    with pytest.raises(DataError, match="`fisher_output` needs labels"):
        scores(demo_task("digits-resnet", 2, "w4a8"))
    with pytest.raises(QuantizationError, match="name at least one"):
        scores(oracle.labelled_demo("digits-resnet", 2))
