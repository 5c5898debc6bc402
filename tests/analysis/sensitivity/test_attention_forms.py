import numpy as np
import pytest
import torch
from torch import nn

from analysis.models.demo import load as load_demo
from analysis.sensitivity import METRICS
from tests.reference.attention import jacobian, output_of
from tests.reference.sensitivity import demo_task, folded_copy, make_task, quantize_layer
from tests.reference.work import finish

FORMS = ("hessian_attention", "hessian_attention_diagonal", "hessian_attention_channel")


def scores(task, metric, **options):
    method = METRICS[metric]
    return finish(method.function(task, method.options(**options)))


def layer_error(task, layer, candidate, sample):
    """Error (elements) of a layer's output on its float input, one sample."""
    plain, changed = folded_copy(task.network), folded_copy(task.network)
    quantize_layer(changed, task.network, task.statistics, layer, candidate, task.settings)
    seen = []
    plain.get_submodule(layer.name).register_forward_pre_hook(
        lambda _m, inputs: seen.append(inputs[0].clone())
    )
    before = output_of(plain, layer.name, sample)
    with torch.no_grad():
        after = changed.get_submodule(layer.name)(seen[0])[0]
    return after - before


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet"])
def test_the_diagonal_form_sums_squared_jacobian_times_squared_error(name):
    task = demo_task(name, 2, "w2a8")
    found = scores(task, "hessian_attention_diagonal")
    plain, x = load_demo(name), task.inputs(range(2))
    for i in (0, 3, len(found.layers) - 1):
        layer = task.network.table.layers[i]
        expected = 0.0
        for sample in x:
            h = jacobian(plain, layer.folded or layer.name, sample).double().square().sum(0)
            error = layer_error(task, layer, task.candidates[0], sample).double().flatten()
            expected += 0.25 * float((h * error.square()).sum()) / 2
        assert found.values[i, 0] == pytest.approx(expected, rel=5e-3)


def test_the_channel_form_takes_the_largest_channel_and_means_over_positions():
    task = demo_task("digits-resnet", 2, "w2a8")
    found = scores(task, "hessian_attention_channel")
    plain, x = load_demo("digits-resnet"), task.inputs(range(2))
    for i in (1, 5, len(found.layers) - 1):
        layer = task.network.table.layers[i]
        shape = layer.output_shape
        weights, total = [], 0.0
        for sample in x:
            h = jacobian(plain, layer.folded or layer.name, sample).double().square().sum(0)
            weight = float(h.reshape(shape[0], -1).mean(1).max())
            error = layer_error(task, layer, task.candidates[0], sample).double()
            weights.append(weight)
            total += weight * float(error.square().reshape(shape[0], -1).sum(0).mean()) / 2
        assert np.allclose(found.per_sample[:, i], weights, rtol=5e-3)
        assert found.values[i, 0] == pytest.approx(total, rel=5e-3)


def test_the_forms_agree_where_errors_and_jacobians_are_even():
    # One output element per layer: trace, diagonal and channel see the same.
    body = nn.Sequential(nn.Linear(3, 1), nn.Linear(1, 1)).eval()
    torch.manual_seed(1)
    task = make_task(body, torch.randn(5, 3), "w2a4")
    trace, diagonal, channel = (scores(task, form) for form in FORMS)
    assert np.allclose(trace.values, diagonal.values, rtol=1e-5)
    assert np.allclose(trace.values, 0.25 * channel.values, rtol=1e-5)


def test_the_diagonal_form_sees_where_errors_are_harmless():
    # The second output of the first layer is read by nobody.
    body = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)).eval()
    with torch.no_grad():
        body[0].weight.copy_(torch.tensor([[1.0, -1.0], [0.3, 0.9]]))
        body[1].weight.copy_(torch.tensor([[1.0, 0.0], [0.5, 0.0]]))
    task = make_task(body, torch.randn(4, 2), "w2afloat")
    trace, diagonal = (scores(task, form) for form in FORMS[:2])
    # Row (1, -1) is on the grid: all of the error lies on the element that is not read.
    assert diagonal.values[0, 0] == pytest.approx(0.0, abs=1e-12)
    assert trace.values[0, 0] > 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_shares_per_image_sum_to_one_and_do_not_see_the_scale_of_a_sample(form):
    task = demo_task("digits-resnet", 4, "w4a8")
    plain, shares = scores(task, form), scores(task, form, per_image=True)
    assert np.allclose(shares.per_sample.sum(1), 1.0)
    expected = plain.per_sample / plain.per_sample.sum(1, keepdims=True)
    assert np.allclose(shares.per_sample, expected, rtol=1e-6)
    assert shares.unit == "share × squared error"


@pytest.mark.parametrize("form", FORMS)
def test_forms_do_not_depend_on_the_batch_size_and_take_packed_attention(form):
    task = demo_task("digits-vit", 4, "w3a6")
    one, many = (scores(task, form, batch_size=size) for size in (1, 4))
    assert np.allclose(one.values, many.values, rtol=1e-2)
    few = [scores(task, form, batch_size=size, probes=4) for size in (1, 3)]
    assert np.allclose(few[0].values, few[1].values, rtol=1e-2)


@pytest.mark.parametrize("form", FORMS)
def test_few_probes_estimate_the_exact_scores(form):
    task = demo_task("digits-resnet", 6, "w4a8")
    exact = scores(task, form).values
    found = np.mean([scores(task, form, probes=9, seed=s).values for s in range(4)], axis=0)
    if form != "hessian_attention_channel":  # a maximum of estimates is not unbiased
        assert np.allclose(found, exact, rtol=0.15)
    assert (found > 0).all()
