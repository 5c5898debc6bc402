import pytest
import torch
from torch import nn

from analysis.curvature.fisher import fisher_elements
from analysis.models.network import build_network
from tests.analysis.models import toys
from tests.analysis.models.toys import batch, built


def linear_pair():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)).eval()
    x = batch(5, 6)
    return build_network(module, x), module, x


def closed_form(module: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Diagonals of V^T (diag(p) - p p^T) V per sample, V the way from each layer to the logits."""
    with torch.no_grad():
        p = torch.softmax(module(x).double(), 1)
    matrix = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    v = module[1].weight.detach().double()
    return (v.mT @ matrix @ v).diagonal(dim1=1, dim2=2), matrix.diagonal(dim1=1, dim2=2)


def test_of_a_linear_softmax_model_it_is_the_diagonal_of_the_closed_form():
    network, module, x = linear_pair()
    calls = [layer.calls[0] for layer in network.table.layers]
    found = fisher_elements(network, calls, x, probes=3, samples=range(5), seed=0)
    for own, expected in zip(found, closed_form(module, x), strict=True):
        assert own.double().flatten(1).numpy() == pytest.approx(expected.numpy(), rel=1e-5)


def test_drawn_labels_agree_with_every_label_within_four_standard_errors():
    network, module, x = linear_pair()
    last = network.table.layers[-1].calls
    found = [
        fisher_elements(network, last, x, probes=2, samples=range(5), seed=seed)[0]
        for seed in range(400)
    ]
    draws = torch.stack(found).double().flatten(2)
    _, expected = closed_form(module, x)
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - expected).abs() <= 4 * error).all()
    assert (draws.std(0) > 0).all()


def test_what_is_drawn_depends_on_the_number_of_the_sample_and_not_on_its_batch():
    network, _, x = linear_pair()
    calls = [layer.calls[0] for layer in network.table.layers]
    whole = fisher_elements(network, calls, x, probes=2, samples=range(5), seed=3)
    part = fisher_elements(network, calls, x[[4, 1]], probes=2, samples=[4, 1], seed=3)
    for own, expected in zip(part, whole, strict=True):
        assert own.numpy() == pytest.approx(expected[[4, 1]].numpy(), rel=1e-5)


@pytest.mark.parametrize("make", [toys.residual, toys.residual_in_place, toys.self_attention])
def test_outputs_of_any_call_have_weights_with_samples_first(make):
    network = built(make(), 3)
    calls = [c.index for c in network.trace.calls if (c.index, 0) in network.axes]
    x = batch(3, 3, 8, 8, seed=4)
    found = fisher_elements(network, calls, x, probes=5, samples=range(3), seed=0)
    for own in found:
        assert len(own) == 3
        assert (own >= 0).all()
    logits = found[calls.index(network.trace.output[0])]
    with torch.no_grad():
        p = torch.softmax(network(x), 1)
    assert logits.flatten(1).numpy() == pytest.approx((p * (1 - p)).numpy(), rel=1e-4)
