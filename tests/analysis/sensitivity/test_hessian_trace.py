import numpy as np
import pytest
import torch
from torch import nn

from analysis.errors import DataError
from analysis.sensitivity.hessian_trace import HessianTraceOptions, hessian_trace
from tests.analysis.models.toys import TOYS, batch
from tests.reference import curvature as oracle
from tests.reference.sensitivity import demo_task, folded_copy
from tests.reference.work import CountedParts, finish


def scores(task, **options):
    return finish(hessian_trace(task, HessianTraceOptions(**options)))


def mean_traces(model, network, x, y):
    return np.array([np.trace(h) / len(h) for h in oracle.blocks(model, network, x, y)])


def tanh_task(*texts, n=6, **more):
    model = oracle.mlp(5, 4, 3, activation=nn.Tanh)
    x, y = oracle.samples(n, 5, classes=3)
    return oracle.double_task(model, x, y, *texts, **more)


# --- closed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
def test_a_diagonal_hessian_is_exact_after_one_probe_and_asks_for_no_more_than_the_least(shared):
    x = torch.eye(5, dtype=torch.float64) * torch.arange(1.0, 6.0, dtype=torch.float64)
    model = oracle.OneLogit(5)
    task = oracle.double_task(model, x, torch.tensor([0, 1, 0, 1, 1]), "w4afloat")
    plain, found = (
        scores(t, min_probes=3, shared=shared)
        for t in (oracle.double_task(model, x, torch.tensor([0, 1, 0, 1, 1])), task)
    )
    p = torch.sigmoid(model.only(x)).flatten().detach()
    trace = float((p * (1 - p) * x.square().sum(1)).mean())
    assert plain.values == pytest.approx([trace / 5], rel=1e-12)
    assert plain.stderr == pytest.approx([0.0], abs=1e-12)
    assert (plain.forward_passes, plain.backward_passes) == (3, 6)
    error = oracle.squared_error(task, task.network.table.layers[0], task.candidates[0])
    assert found.values == pytest.approx(np.array([[0.5 * trace / 5 * error]]), rel=1e-6)
    assert (plain.unit, found.unit) == ("nats per squared weight", "nats")


def test_one_probe_of_one_weight_with_a_known_curvature_is_the_loss_increase():
    # H = a I: every direction costs the same, so the score is the second-order rise itself.
    x = torch.eye(5, dtype=torch.float64) * 2
    model = oracle.OneLogit(5).double()
    model.only.weight.data.fill_(0.3)
    task = oracle.double_task(model, x, torch.tensor([0, 1, 0, 1, 1]), "w2afloat")
    found = scores(task, min_probes=2)
    hessian = oracle.dense_hessian(model, ["only.weight"], x, torch.tensor([0, 1, 0, 1, 1]))
    assert torch.allclose(hessian, hessian[0, 0] * torch.eye(5, dtype=torch.float64))
    error = oracle.squared_error(task, task.network.table.layers[0], task.candidates[0])
    assert found.values[0, 0] == pytest.approx(0.5 * float(hessian[0, 0]) * error, rel=1e-9)


def test_softmax_regression_has_the_trace_of_its_known_hessian():
    model = oracle.mlp(5, 3)
    x, y = oracle.samples(6, 5, classes=3)
    p = torch.softmax(model(x), 1).detach()
    trace = float(((1 - p.square().sum(1)) * x.square().sum(1)).mean())
    found = scores(oracle.double_task(model, x, y), probes=200, tolerance=0.0)
    assert abs(found.values[0] - trace / 15) < 4 * found.stderr[0]
    assert found.stderr[0] < 0.1 * found.values[0]


def test_scaling_a_relu_network_up_and_down_leaves_the_trace_times_the_error_alone():
    x, y = oracle.samples(6, 5, classes=3)
    tables = []
    for factor in (1.0, 4.0):
        model = oracle.mlp(5, 4, 3)
        model[0].weight.data *= factor
        model[0].bias.data *= factor
        model[2].weight.data /= factor
        tables.append(scores(oracle.double_task(model, x, y, "w3afloat"), probes=20, tolerance=0.0))
    assert np.allclose(tables[0].values, tables[1].values, rtol=1e-9)


# --- slow oracles --------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", ["self_attention", "twice", "residual", "transposed"])
def test_estimates_lie_within_their_errors_of_the_dense_traces(name, shared):
    x, y = batch(4, 3, 8, 8).double(), torch.tensor([0, 4, 2, 2])
    model = TOYS[name]().double()
    task = oracle.double_task(model, x, y)
    found = scores(task, probes=20, tolerance=0.0, shared=shared)
    dense = mean_traces(folded_copy(task.network), task.network, x, y)
    assert (np.abs(found.values - dense) < 4.5 * found.stderr + 1e-12).all()
    assert (found.stderr > 0).all()
    assert not found.exact


@pytest.mark.parametrize(
    ("name", "layers"), [("digits-resnet", ("conv1",)), ("digits-vit", ("head",))]
)
def test_estimates_on_the_demo_networks_agree_with_dense_hessians(name, layers):
    task = oracle.labelled_demo(name, 2)
    found = scores(task, probes=10, tolerance=0.0)
    model, y = folded_copy(task.network), torch.from_numpy(task.labels("test"))
    for layer in layers:
        place = found.layers.index(layer)
        dense = oracle.dense_hessian(model, [f"{layer}.weight"], task.inputs(range(2)), y)
        trace = float(dense.diagonal().double().mean())
        assert abs(found.values[place] - trace) < 4.5 * found.stderr[place]
        assert found.stderr[place] < abs(trace)


def test_candidates_score_half_the_mean_trace_times_the_squared_error_of_the_weight():
    texts = ("w2a8", "w4afloat", "wfloata8", "float")
    task = oracle.labelled_demo("digits-resnet", 2, *texts)
    plain = scores(oracle.labelled_demo("digits-resnet", 2), probes=3)
    found = scores(task, probes=3)
    for i, layer in enumerate(task.network.table.layers):
        errors = np.array([oracle.squared_error(task, layer, c) for c in task.candidates])
        assert np.allclose(found.values[i], 0.5 * plain.values[i] * errors, rtol=1e-4)
        assert np.allclose(found.stderr[i], 0.5 * plain.stderr[i] * errors, rtol=1e-4)
    assert (found.values[:, 2:] == 0).all()
    assert any("Weights alone" in note for note in found.notes)
    assert not any("Weights alone" in note for note in plain.notes)


# --- probes --------------------------------------------------------------------------------------


def test_a_layer_stops_when_its_error_is_small_and_the_others_go_on():
    x, y = oracle.samples(6, 6, classes=3, seed=1)
    task = oracle.double_task(oracle.Spare(), x, y)
    some = {"min_probes": 3, "tolerance": 0.3}
    found = scores(task, probes=1000, **some)
    floor = np.median(np.abs(found.values))
    assert (found.stderr <= 0.3 * np.maximum(np.abs(found.values), floor)).all()
    probes, products = found.forward_passes, found.backward_passes - found.forward_passes
    assert 3 < probes < 1000
    assert products < 2 * probes
    # `spare` and `last` stop; `used` goes on as if nobody had.
    every = scores(task, probes=probes, tolerance=0.0)
    same = np.isclose(every.values, found.values, rtol=1e-12, atol=0).tolist()
    assert dict(zip(found.layers, same, strict=True)) == {
        "spare": True,
        "used": True,
        "last": False,
    }
    shared = scores(task, probes=100, shared=True, **some)
    assert shared.backward_passes == 2 * shared.forward_passes


def test_too_few_probes_are_said_so_and_a_tolerance_of_zero_uses_them_all():
    task = tanh_task()
    short = scores(task, min_probes=2, probes=4, tolerance=0.001)
    assert any("After 4 probes" in note and "`0`" in note for note in short.notes)
    every = scores(task, min_probes=2, probes=6, tolerance=0.0)
    assert every.backward_passes == 6 + 2 * 6
    assert not any("After" in note for note in every.notes)


def test_separate_products_spread_less_than_shared_ones():
    task = tanh_task()
    own = scores(task, probes=100, tolerance=0.0)
    shared = scores(task, probes=100, tolerance=0.0, shared=True)
    assert (own.stderr < shared.stderr).all()


def test_the_seed_decides_the_probes():
    task = tanh_task()
    one, again, other = (scores(task, probes=5, seed=seed).values for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.allclose(one, other, rtol=1e-3)


# --- laws ----------------------------------------------------------------------------------------


def test_negative_traces_are_kept_and_named():
    model = oracle.mlp(5, 4, 3, activation=nn.Tanh)
    model[2].weight.data *= 30
    x, _ = oracle.samples(8, 5, classes=3)
    y = model(x).argmin(1)
    task = oracle.double_task(model, x, y, "w2afloat")
    dense = mean_traces(model, task.network, x, y)
    found = scores(task, probes=60, tolerance=0.0)
    assert dense[0] < 0
    assert found.values[0, 0] < 0
    assert any("Negative curvature" in note and "`0`" in note for note in found.notes)


@pytest.mark.parametrize("shared", [False, True])
def test_a_layer_that_is_not_read_scores_exactly_zero(shared):
    x, y = oracle.samples(6, 6, classes=3)
    task = oracle.double_task(oracle.Spare(), x, y, "w2a2")
    found = scores(task, probes=5, shared=shared)
    place = found.layers.index("spare")
    assert found.values[place, 0] == 0
    assert found.stderr[place, 0] == 0
    assert (np.delete(found.values, place, 0) != 0).all()


@pytest.mark.parametrize("name", ["digits-resnet", "digits-vit"])
def test_the_batch_size_does_not_matter(name):
    task = oracle.labelled_demo(name, 5, "w3afloat")
    one, many = (scores(task, probes=2, batch_size=size).values for size in (2, 5))
    assert np.allclose(one, many, rtol=1e-3, atol=1e-4 * np.abs(many).max())


def test_the_order_of_the_samples_does_not_matter():
    x, y = oracle.samples(6, 5, classes=3)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    model = oracle.mlp(5, 4, 3, activation=nn.Tanh)
    one, other = (
        scores(oracle.double_task(model, x[o], y[o]), probes=5, batch_size=4).values
        for o in (torch.arange(6), order)
    )
    assert np.allclose(one, other, rtol=1e-9)


def test_a_limit_on_the_samples_takes_the_first_ones_and_is_stated():
    task, few = tanh_task(n=9), scores(tanh_task(n=9), samples=4, probes=5)
    x, y = oracle.samples(9, 5, classes=3)
    model = oracle.mlp(5, 4, 3, activation=nn.Tanh)
    assert np.array_equal(
        few.values, scores(oracle.double_task(model, x[:4], y[:4]), probes=5).values
    )
    assert (few.n, scores(task, samples=0, probes=2).n) == (4, 9)


def test_an_interrupted_computation_goes_on_where_it_stopped_and_gives_the_same_numbers():
    whole = scores(tanh_task("w4afloat"), probes=12, min_probes=4, batch_size=4)
    parts = CountedParts()
    task = tanh_task("w4afloat", parts=parts)
    options = HessianTraceOptions(probes=12, min_probes=4, batch_size=4)
    work = hessian_trace(task, options)
    while len(parts.saved) < 6:
        next(work)
    next(work)
    work.close()
    resumed = finish(hessian_trace(task, options))
    assert parts.loaded == [f"probe-{k}" for k in range(6)]
    assert parts.saved == [f"probe-{k}" for k in range(whole.forward_passes)]
    assert np.array_equal(resumed.values, whole.values)
    assert np.array_equal(resumed.stderr, whole.stderr)


def test_progress_never_goes_back_and_ends_at_its_total():
    events = list(hessian_trace(tanh_task(), HessianTraceOptions(probes=5, batch_size=4)))
    done = [event.done for event in events]
    assert done == sorted(done)
    assert {event.total for event in events} == {events[-1].done}


def test_labels_are_required():
    with pytest.raises(DataError, match="`hessian_trace` needs labels"):
        scores(demo_task("digits-resnet", 2))
