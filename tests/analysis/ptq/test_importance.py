import pytest
import torch
from torch import nn

from analysis.curvature.fisher import fisher_elements
from analysis.models.network import build_network
from analysis.ptq.importance import WEIGHTINGS, Importance, importance
from analysis.ptq.teacher import Teacher
from tests.reference.work import finish

N = 20


def teacher_of(module: nn.Module) -> Teacher:
    x = torch.randn(N, 6, generator=torch.Generator().manual_seed(1))
    network = build_network(module.eval().requires_grad_(False), x[:2])
    calls = [layer.calls[0] for layer in network.table.layers]
    return Teacher(network, calls, lambda r: x[r.start : r.stop], N, 0.0)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    torch.manual_seed(0)
    return teacher_of(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))


def weighed(teacher: Teacher, weighting: str, memory_mib: float = 100.0) -> Importance:
    return finish(importance(teacher, weighting, probes=10, seed=0, memory_mib=memory_mib))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_outputs_that_are_off_by_as_much_as_they_vary_make_a_loss_of_one(teacher, weighting):
    z, _ = teacher.outputs(torch.arange(N))
    means = [each.mean(0, keepdim=True).expand_as(each) for each in z]
    errors = weighed(teacher, weighting).errors(z, means, torch.arange(N))
    assert errors.shape == (N, 2)
    assert float(errors.sum(1).mean()) == pytest.approx(1.0, rel=1e-4)


def test_without_a_weighting_all_layers_count_alike(teacher):
    z, _ = teacher.outputs(torch.arange(N))
    means = [each.mean(0, keepdim=True).expand_as(each) for each in z]
    errors = weighed(teacher, "none").errors(z, means, torch.arange(N))
    assert errors.mean(0).tolist() == pytest.approx([0.5, 0.5], rel=1e-4)


def test_balanced_weights_keep_the_layers_and_tell_the_samples_apart(teacher):
    even, balanced, attention = (
        weighed(teacher, name).layers for name in ("none", "balanced", "attention")
    )
    ratio = balanced / even
    share = attention / attention.mean(0)
    assert ratio / ratio.mean(0) == pytest.approx(share, rel=1e-4)
    assert weighed(teacher, "averaged").layers.std(0).tolist() == pytest.approx([0.0, 0.0])


def test_attention_is_the_squared_jacobian_norm_per_element(teacher):
    first, last = (layer.calls[0] for layer in teacher.network.table.layers)
    assert teacher.calls == (first, last)
    found = finish(teacher.attention(probes=10, seed=0))
    # The last layer's outputs are the logits: the squared norm of the identity, over 3 elements.
    assert found[:, 1].tolist() == pytest.approx([1.0] * N)
    weight = teacher.network.weight(teacher.network.table.layers[1])
    active = (teacher.outputs(torch.arange(N))[0][0].flatten(1) > 0).float()
    expected = active @ weight.square().sum(0) / 8
    assert found[:, 0].tolist() == pytest.approx(expected.tolist(), rel=1e-5)


@pytest.mark.parametrize("memory_mib", [100.0, 0.0], ids=["kept", "computed again"])
def test_fisher_weights_are_those_of_every_element(teacher, memory_mib):
    weights = weighed(teacher, "fisher", memory_mib)
    rows = torch.tensor([7, 2, 11])
    z, _ = teacher.outputs(rows)
    wanted = [torch.zeros_like(each) for each in z]
    expected = fisher_elements(
        teacher.network, teacher.calls, teacher.x[rows], probes=10, samples=[7, 2, 11], seed=0
    )
    sums = torch.stack(
        [(f * each**2).flatten(1).sum(1) for f, each in zip(expected, z, strict=True)], dim=1
    )
    errors = weights.errors(z, wanted, rows)
    assert torch.allclose(errors / errors.sum(), sums / sums.sum(), rtol=1e-4)


def test_a_layer_whose_outputs_never_vary_does_not_count():
    torch.manual_seed(0)
    dead = nn.Linear(8, 8)
    nn.init.zeros_(dead.weight)
    module = nn.Sequential(nn.Linear(6, 8), dead, nn.ReLU(), nn.Linear(8, 3))
    weights = weighed(teacher_of(module), "none").layers
    assert weights[0].tolist()[1:] == [0.0, 0.0]
    assert float(weights[0, 0]) > 0.0


def test_a_single_sample_counts_by_its_outputs():
    torch.manual_seed(0)
    x = torch.randn(1, 6)
    network = build_network(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), x)
    calls = [layer.calls[0] for layer in network.table.layers]
    teacher = Teacher(network, calls, lambda r: x[r.start : r.stop], 1, 0.0)
    z, _ = teacher.outputs(torch.arange(1))
    nothing = [torch.zeros_like(each) for each in z]
    errors = weighed(teacher, "none").errors(z, nothing, torch.arange(1))
    assert errors.tolist()[0] == pytest.approx([0.5, 0.5], rel=1e-4)
