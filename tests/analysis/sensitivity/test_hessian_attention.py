import numpy as np
import pytest
import torch
from torch import nn

from analysis.models.demo import load as load_demo
from analysis.models.replay import Plan
from analysis.sensitivity.hessian_attention import HessianAttentionOptions, hessian_attention
from tests.analysis.models.toys import assigned, batch, residual_in_place, view_in_place
from tests.reference import attention as oracle
from tests.reference.sensitivity import demo_task, folded_copy, local_errors, make_task
from tests.reference.work import CountedParts, finish


def scores(task, **options):
    return finish(hessian_attention(task, HessianAttentionOptions(**options)))


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet"])
def test_norms_equal_the_brute_force_jacobian_on_the_demo_models(name):
    task = demo_task(name, 2)
    found = scores(task)
    assert found.exact
    assert found.backward_passes == 10
    plain = load_demo(name)
    names = tuple(layer.folded or layer.name for layer in task.network.table.layers)
    expected = oracle.attention(plain, names, task.inputs(range(2))).numpy()
    assert np.allclose(found.per_sample, expected, rtol=1e-3)
    assert np.allclose(found.values, expected.mean(0), rtol=1e-3)
    assert found.layers == task.network.table.names


def test_norms_equal_the_brute_force_jacobian_on_the_attention_demo():
    task = demo_task("digits-vit", 2)
    found = scores(task)
    model, x = load_demo("digits-vit"), task.inputs(range(2))
    modules = dict(model.named_modules())
    # The packed attention function never calls its output projection as a module.
    names = tuple(n for n in found.layers if n in modules and "attention" not in n)
    columns = [found.layers.index(name) for name in names]
    assert len(names) > 5
    expected = oracle.attention(model, names, x).numpy()
    assert np.allclose(found.per_sample[:, columns], expected, rtol=1e-3)


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet"])
def test_candidates_score_a_quarter_of_the_norm_times_the_mean_squared_error(name):
    task = demo_task(name, 3, "w2a8", "w4a4", "wfloata3", "float")
    found = scores(task)
    rows = 0.25 * found.per_sample[:, :, None] * local_errors(task)
    assert np.allclose(found.values, rows.mean(0), rtol=1e-3, atol=1e-12)
    assert np.allclose(found.stderr, rows.std(0, ddof=1) / 3**0.5, rtol=1e-3, atol=1e-12)
    assert (found.values[:, 3] == 0).all()
    assert found.unit == "nats"


@pytest.mark.parametrize("build", [assigned, residual_in_place, view_in_place])
def test_activations_that_are_changed_after_a_layer_read_them_do_not_disturb(build):
    task = make_task(build(), batch(2, 3, 8, 8))
    found, network, x = scores(task), task.network, task.inputs(range(2))

    def logits(call: int, offset: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return network(x, Plan(outputs={(call, 0): lambda z: z + offset.view_as(z[0])}))

    for i, layer in enumerate(network.table.layers):
        (call,) = layer.calls
        elements = torch.eye(int(np.prod(layer.output_shape)))
        plain = logits(call, torch.zeros(len(elements)))
        # These models are linear behind every layer: differences are derivatives.
        changes = torch.stack([logits(call, row) - plain for row in elements])
        expected = changes.double().square().sum((0, 2))
        assert np.allclose(found.per_sample[:, i], expected, rtol=2e-3)


def test_the_batch_size_does_not_matter():
    task = demo_task("digits-resnet", 5, "w3a4")
    one, many = scores(task, batch_size=1), scores(task, batch_size=5)
    assert np.allclose(one.per_sample, many.per_sample, rtol=1e-3)
    assert np.allclose(one.values, many.values, rtol=1e-3)
    few = [scores(task, batch_size=size, probes=4) for size in (1, 5)]
    assert np.allclose(few[0].per_sample, few[1].per_sample, rtol=1e-3)
    assert np.allclose(few[0].per_sample_stderr, few[1].per_sample_stderr, rtol=1e-3)


def test_permuting_the_samples_permutes_the_rows():
    x = torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    model = load_demo("digits-resnet")
    found = [scores(make_task(model, inputs)) for inputs in (x, x[order])]
    assert np.allclose(found[0].per_sample[order.numpy()], found[1].per_sample, rtol=1e-3)


def test_estimates_lie_within_four_standard_errors_and_their_errors_are_honest():
    task = demo_task("digits-resnet", 8)
    exact = scores(task).per_sample
    errors, stated = [], []
    for seed in range(12):
        found = scores(task, probes=9, seed=seed)
        assert not found.exact
        assert found.backward_passes == 9
        errors.append(found.per_sample - exact)
        stated.append(found.per_sample_stderr)
    errors, stated = np.array(errors), np.array(stated)
    mean_error = errors.mean(0)
    assert (np.abs(mean_error[:, :-1]) < 5 * np.sqrt((stated[..., :-1] ** 2).mean(0) / 12)).all()
    # Squared errors are as large as stated in the mean; the last layer's are zero on both sides.
    ratio = (errors[..., :-1] ** 2).sum() / (stated[..., :-1] ** 2).sum()
    assert 0.7 < ratio < 1.4
    assert np.allclose(errors[..., -1], 0, atol=1e-5)
    assert np.allclose(stated[..., -1], 0, atol=1e-4)


def test_the_last_linear_layer_has_as_many_as_there_are_classes():
    assert np.allclose(scores(demo_task("digits-resnet", 3)).per_sample[:, -1], 10.0)


@pytest.mark.parametrize("final", [nn.Softmax(1), nn.LogSoftmax(1)])
def test_a_softmax_at_the_end_is_cut_off(final):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval()
    x = torch.randn(4, 6)
    plain = scores(make_task(body, x))
    cut = scores(make_task(nn.Sequential(*body, final).eval(), x))
    assert np.array_equal(plain.per_sample, cut.per_sample)
    assert np.allclose(plain.per_sample[:, -1], 4.0)


def test_no_parameter_has_a_gradient_and_none_is_changed():
    task = demo_task("digits-resnet", 3, "w4a8")
    model = task.network.module
    before = {n: v.clone() for n, v in model.state_dict().items()}
    scores(task)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_an_interrupted_computation_goes_on_where_it_stopped_and_gives_the_same_numbers():
    whole = scores(demo_task("digits-resnet", 5, "w4a8"), batch_size=2)
    parts = CountedParts()
    task = demo_task("digits-resnet", 5, "w4a8", parts=parts)
    work = hessian_attention(task, HessianAttentionOptions(batch_size=2))
    while len(parts.saved) < 1:
        next(work)
    work.close()
    resumed = scores(task, batch_size=2)
    assert parts.saved == ["batch-0", "batch-1", "batch-2"]
    assert parts.loaded == ["batch-0"]
    assert np.array_equal(resumed.values, whole.values)
    assert np.array_equal(resumed.per_sample, whole.per_sample)


def test_progress_never_goes_back_and_ends_at_its_total():
    task = demo_task("digits-resnet", 5, "w4a8")
    events = list(hessian_attention(task, HessianAttentionOptions(batch_size=2)))
    done = [e.done for e in events]
    assert done == sorted(done)
    assert {e.total for e in events} == {events[-1].done}


def test_without_candidates_the_norms_themselves_are_the_scores():
    found = scores(demo_task("digits-resnet", 3))
    assert found.candidates == ()
    assert np.array_equal(found.values, found.per_sample.mean(0))
    assert found.per_sample_stderr is None


def test_the_oracle_folds_without_changing_the_outputs():
    task = demo_task("digits-mobilenet", 2)
    x = task.inputs(range(2))
    with torch.no_grad():
        assert torch.allclose(folded_copy(task.network)(x), task.network.module(x), atol=1e-3)
