from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.curvature.elements import element_scores, exact_squares, probed_squares
from analysis.curvature.jacobian import kept_inputs, sign_probes
from analysis.errors import DataflowError
from analysis.models.network import Network, build_network
from analysis.models.replay import Plan
from tests.analysis.models import toys
from tests.analysis.models.toys import batch, conv, toy
from tests.reference.work import finish


def one_by_one(network: Network, x: Tensor) -> dict[str, Tensor]:
    """The definition: a backward pass for every sample and class."""
    totals = {}
    for layer in network.table.layers:
        weight = network.weight(layer).detach().requires_grad_()
        plan = kept_inputs(network) | Plan(weights=dict.fromkeys(layer.calls, weight))
        total = torch.zeros(layer.weight_shape, dtype=torch.float64)
        for sample in x:
            logits = network(sample[None], plan)[0]
            for logit in logits:
                (found,) = torch.autograd.grad(logit, weight, retain_graph=True)
                total += found.double().square()
        totals[layer.name] = total
    return totals


def agrees(found: dict[str, Tensor], expected: dict[str, Tensor], rtol: float = 1e-3) -> bool:
    assert found.keys() == expected.keys()
    for name, total in expected.items():
        assert found[name].shape == total.shape
        assert total.max() > 0
        assert torch.allclose(found[name], total, rtol=rtol, atol=1e-6 * float(total.max())), name
    return True


def mlp(*widths: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def moved(**options: object) -> nn.Module:
    """A convolution that moves over its input in some way, between two plain ones."""
    torch.manual_seed(0)
    return toy(
        lambda m, x: m.last(F.relu(m.other(F.relu(m.first(x))))),
        first=conv(3, 4),
        other=nn.Conv2d(4, 8, **options),
        last=conv(8, 4),
    )


MOVES = {
    "strided": {"kernel_size": 3, "stride": 2, "padding": 1},
    "dilated": {"kernel_size": 3, "dilation": 2},
    "grouped": {"kernel_size": 3, "groups": 2, "padding": 1},
    "depthwise": {"kernel_size": 3, "groups": 4},
    "point": {"kernel_size": 1},
    "oblong": {"kernel_size": (1, 3), "stride": (2, 3), "padding": (0, 2), "dilation": (1, 2)},
    "remainder": {"kernel_size": 3, "stride": 3},
    "same": {"kernel_size": 3, "padding": "same"},
    "uneven": {"kernel_size": (2, 4), "padding": "same"},
    "mirrored": {"kernel_size": 3, "padding": 2, "padding_mode": "reflect"},
    "groups and strides": {"kernel_size": 3, "groups": 4, "stride": 2, "dilation": 2, "padding": 2},
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("move", MOVES)
def test_scores_of_convolutions_are_those_of_the_definition(move):
    x = batch(3, 3, 8, 8)
    network = build_network(moved(**MOVES[move]), x)
    assert agrees(exact_squares(network, x), one_by_one(network, x))


BODIES = (
    "residual", "residual_in_place", "assigned", "dense", "twice", "self_attention",
    "cross_attention", "separate_projections", "tokens", "chunked", "transposed", "softmax_end",
)  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_scores_are_those_of_the_definition_however_tensors_are_passed(name):
    x = batch(2, 3, 8, 8)
    network = build_network(getattr(toys, name)(), x)
    assert agrees(exact_squares(network, x), one_by_one(network, x))


@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_scores_do_not_depend_on_the_number_of_axes(axes, transposed):
    torch.manual_seed(0)
    kind = f"Conv{'Transpose' if transposed else ''}{axes}d"
    more = {"output_padding": 1} if transposed else {}
    other = getattr(nn, kind)(4, 6, 3, stride=2, padding=1, groups=2, **more)
    first = getattr(nn, f"Conv{axes}d")(2, 4, 3, padding=1)
    model = nn.Sequential(first, nn.ReLU(), other, nn.ReLU(), nn.Flatten(2))

    class Averaged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = model, nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x).mean(2))

    x = batch(3, 2, *[5] * axes)
    network = build_network(Averaged().eval(), x)
    assert agrees(exact_squares(network, x), one_by_one(network, x))


def test_the_last_linear_layer_has_the_squares_of_its_input_for_every_class():
    model = mlp(6, 9, 4)
    x = batch(7, 6)
    found = exact_squares(build_network(model.eval(), x), x)
    expected = model[:2](x).detach().double().square().sum(0).expand(4, -1)
    assert torch.allclose(found["2"], expected, rtol=1e-5)


def test_a_layer_that_is_called_twice_sums_its_gradients_before_they_are_squared():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.only = nn.Linear(1, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.only(self.only(x))

    x = torch.tensor([[1.0], [2.0]])
    network = build_network(Twice().eval(), x)
    weight = network.module.only.weight.item()
    # f = w^2 x has the derivative 2 w x.
    assert float(exact_squares(network, x)["only"]) == pytest.approx(4 * weight**2 * 5, rel=1e-5)


def test_signs_of_a_whole_batch_estimate_the_sum_over_its_samples():
    x = batch(6, 5)
    network = build_network(mlp(5, 7, 4).eval(), x)
    exact = exact_squares(network, x)
    count = 1000
    found = probed_squares(network, x, sign_probes(range(6), 4, count, 0))
    for name, scores in exact.items():
        # A squared sum of independent signs has a variance of at most twice its mean squared.
        error = (2 / count) ** 0.5 * scores
        assert bool(((found[name] - scores).abs() <= 5 * error + 1e-9).all())
        assert float((found[name].sum() / scores.sum() - 1).abs()) < 0.05


def test_one_sample_and_one_class_need_one_sign():
    x = batch(2, 5)
    network = build_network(mlp(5, 7, 1).eval(), x)
    found = probed_squares(network, x[:1], sign_probes(range(1), 1, 1, 3))
    assert agrees(found, exact_squares(network, x[:1]), rtol=1e-5)


def scores_of(network: Network, x: Tensor, **options: int):
    return finish(element_scores(network, lambda r: x[r.start : r.stop], len(x), **options))


def test_batches_add_up_and_the_record_says_that_scores_are_exact():
    x = batch(70, 5)
    network = build_network(mlp(5, 7, 3).eval(), x)
    found = scores_of(network, x, probes=3, seed=0)
    assert (found.n, found.probes) == (70, 0)
    whole = exact_squares(network, x)
    for name, scores in found.scores.items():
        assert np.allclose(scores, whole[name].numpy(), rtol=1e-4)


def test_more_classes_than_probes_are_estimated_and_depend_on_the_seed():
    x = batch(70, 5)
    network = build_network(mlp(5, 7, 4).eval(), x)
    found, again, other = (scores_of(network, x, probes=3, seed=seed) for seed in (0, 0, 1))
    assert found.probes == 3
    for name, scores in found.scores.items():
        assert np.array_equal(scores, again.scores[name])
        assert not np.array_equal(scores, other.scores[name])


def test_scoring_reports_its_progress_over_the_samples():
    x = batch(70, 5)
    network = build_network(mlp(5, 7, 3).eval(), x)
    work = element_scores(network, lambda r: x[r.start : r.stop], 70, probes=3, seed=0)
    events = list(work)
    assert [event.done for event in events] == [0, 32, 64, 70]
    assert {event.total for event in events} == {70}


def test_no_samples_and_infinite_scores_are_refused():
    x = batch(4, 5)
    network = build_network(mlp(5, 7, 3).eval(), x)
    with pytest.raises(DataflowError, match="at least one sample"):
        scores_of(network, x[:0], probes=3, seed=0)
    with pytest.raises(DataflowError, match="finite"):
        scores_of(network, x * 1e38, probes=3, seed=0)


def test_the_module_and_its_gradients_are_left_alone():
    x = batch(4, 5)
    model = mlp(5, 7, 3).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scores_of(build_network(model, x), x, probes=3, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
