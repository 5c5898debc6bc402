import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from analysis.models.network import build_network
from analysis.models.replay import Plan
from analysis.ptq.layer_inputs import Front, unfolding_of, why_not
from analysis.ptq.layer_products import Products
from tests.analysis.models import toys
from tests.analysis.models.toys import batch


@settings(max_examples=25, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2, 4]),
)
def test_rows_times_weights_are_the_convolution(kernel, stride, padding, dilation, groups):
    conv = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups, bias=False)
    module = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    x = batch(2, 4, 7, 6)
    network = build_network(module, x)
    layer = network.table.layers[0]
    unfolding = unfolding_of(network, layer, x)
    rows, matrix = unfolding.rows(x), unfolding.matrix(conv.weight.detach()).double()
    found = (rows @ matrix.mT).unflatten(1, (2, -1)).permute(1, 0, 3, 2)
    with torch.no_grad():
        expected = conv(x)
    assert found.reshape(expected.shape) == pytest.approx(expected.double(), abs=1e-5)


@pytest.mark.parametrize("padding", ["same", 2])
def test_rows_are_what_torch_unfolds(padding):
    conv = nn.Conv2d(3, 5, 3, padding=padding, dilation=2)
    network = build_network(
        nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(), batch(2, 3, 7, 6)
    )
    x = batch(3, 3, 7, 6, seed=5)
    unfolding = unfolding_of(network, network.table.layers[0], x)
    expected = F.unfold(x, 3, dilation=2, padding=2).mT.reshape(1, -1, 27)
    assert torch.equal(unfolding.rows(x), expected.double())


@pytest.mark.parametrize("dimensions", [1, 3])
def test_rows_of_other_dimensions_give_the_convolution_too(dimensions):
    kind = {1: nn.Conv1d, 3: nn.Conv3d}[dimensions]
    conv = kind(2, 4, 3, stride=2, padding=1, groups=2, bias=False)
    module = nn.Sequential(conv, nn.Flatten()).eval()
    x = batch(2, 2, *[5] * dimensions)
    network = build_network(module, x)
    unfolding = unfolding_of(network, network.table.layers[0], x)
    found = unfolding.rows(x) @ unfolding.matrix(conv.weight.detach()).double().mT
    with torch.no_grad():
        expected = conv(x)
    found = found.unflatten(1, (2, -1)).permute(1, 0, 3, 2).reshape(expected.shape)
    assert found == pytest.approx(expected.double(), abs=1e-5)


def test_rows_of_tokens_are_their_features():
    network = build_network(toys.separate_projections(), batch())
    layer = network.layer("q")
    z = batch(2, 64, 4, seed=3)
    unfolding = unfolding_of(network, layer, batch())
    assert torch.equal(unfolding.rows(z), z.reshape(1, 128, 4).double())


def test_the_input_of_a_layer_is_what_its_call_reads_under_a_plan():
    network = build_network(toys.residual(), batch())
    first, second, _ = network.table.layers
    x = batch(4, 3, 8, 8, seed=2)
    weight = torch.round(network.weight(first) * 4) / 4
    plan = Plan(weights={first.calls[0]: weight}, inputs={second.calls[0]: lambda z: z.round()})
    with torch.no_grad():
        z = F.relu(F.conv2d(x, weight, network.bias(first), padding=1))
    read = Front(network, 1.0).input_of(0, x, second.calls[0], plan)
    assert read == pytest.approx(z.round(), abs=1e-6)
    with torch.no_grad():
        plain = F.relu(F.conv2d(x, network.weight(first), network.bias(first), padding=1))
    assert Front(network, 1.0).input_of(0, x, second.calls[0]) == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize("name", ["residual_in_place", "dense", "self_attention", "assigned"])
def test_going_from_layer_to_layer_reads_what_whole_passes_read(name):
    network = build_network(toys.TOYS[name](), batch())
    x = [batch(4, 3, 8, 8, seed=2), batch(4, 3, 8, 8, seed=3)]
    plan = Plan()
    going, half = Front(network, 1.0), Front(network, 3e-2)  # the second keeps one batch at most
    for layer in sorted(network.table.layers, key=lambda layer: layer.calls):
        call = layer.calls[0]
        for number in range(2):
            whole = Front(network, 0.0).input_of(number, x[number], call, plan)
            assert torch.equal(going.input_of(number, x[number], call, plan), whole)
            assert torch.equal(half.input_of(number, x[number], call, plan), whole)
        plan = plan | Plan(weights={call: network.weight(layer) * 1.5})


def test_what_cannot_be_written_as_rows_is_said():
    twice = build_network(toys.twice(), batch())
    assert "called 2 times" in why_not(twice, twice.layer("again"))
    assert why_not(twice, twice.layer("first")) == ""
    up = build_network(toys.transposed(), batch())
    assert "conv_transpose2d" in why_not(up, up.layer("up"))


def test_the_error_from_products_is_that_of_the_outputs():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, 50, 6, generator=generator).double() for _ in range(2))
    w, q = (torch.randn(2, 3, 6, generator=generator).double() for _ in range(2))
    size = float((x @ w.mT).square().sum())
    products = Products(size, y.mT @ x, y.mT @ y, 50)
    expected = (x @ w.mT - y @ q.mT).norm() / (x @ w.mT).norm()
    assert products.error(w, q) == pytest.approx(float(expected))
    same = Products(size, x.mT @ x, x.mT @ x, 50)
    assert same.error(w, w) == pytest.approx(0.0, abs=1e-6)
    zero = torch.zeros(2, 6, 6).double()
    assert Products(0.0, zero, zero, 50).error(w, q) == 0.0
