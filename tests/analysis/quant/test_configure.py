import re

import numpy as np
import pytest
import torch
from torch import nn

from analysis.errors import QuantizationError, UnknownNameError
from analysis.models.demo import load as load_demo
from analysis.models.network import Network, build_network
from analysis.quant.configure import (
    check_allocation,
    fake_quantized,
    plan_of,
    quantize_nearest,
)
from analysis.quant.statistics import ActivationStatistics, collect_statistics
from analysis.records import Allocation, Candidate, QuantSettings
from tests.reference.cifar_resnet20 import CifarResNet20
from tests.reference.work import finish


class Residual(nn.Module):
    """One stem whose output is read by a convolution and by the addition behind it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(2, 3, 3, padding=1)
        self.body = nn.Conv2d(3, 3, 3, padding=1)
        self.up = nn.ConvTranspose2d(3, 5, 2, stride=2)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        x = self.stem(x).relu()
        x = x + self.body(x)
        return self.fc(self.up(x).mean((2, 3)))


def prepared(model: nn.Module, x: torch.Tensor) -> tuple[Network, ActivationStatistics]:
    network = build_network(model.eval(), x)
    return network, finish(collect_statistics(network, lambda: [x], 1))


def images(n: int = 6) -> torch.Tensor:
    return torch.randn(n, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def uniform(network: Network, text: str, **other: str) -> Allocation:
    names = network.table.names
    chosen = [Candidate.parse(other.get(name, text)) for name in names]
    return Allocation(layers=names, candidates=tuple(chosen))


# --- allocations that do not fit -----------------------------------------------------------------


def test_missing_unknown_and_repeated_layers_are_named():
    network, _ = prepared(Residual(), images())
    candidate = Candidate.parse("w4a8")
    for layers, text in (
        (("stem", "body", "up"), "1 missing (fc)"),
        (("stem", "body", "up", "fc", "head"), "1 unknown (head)"),
        (("stem", "body", "up", "fc", "fc"), "every layer of the model once"),
    ):
        allocation = Allocation(layers=layers, candidates=(candidate,) * len(layers))
        with pytest.raises(QuantizationError, match=re.escape(text)):
            check_allocation(network, allocation)


def test_layers_that_read_one_tensor_must_share_its_activation_format():
    network, statistics = prepared(load_demo("digits-resnet"), torch.rand(4, 1, 16, 16))
    shared = next(names for names in network.table.groups.values() if len(names) > 1)
    mixed = uniform(network, "w4a8", **{shared[0]: "w4a4"})
    with pytest.raises(QuantizationError, match="share its activation format"):
        quantize_nearest(network, mixed, statistics, QuantSettings())
    weights = uniform(network, "w4a8", **{shared[0]: "w2a8"})
    quantize_nearest(network, weights, statistics, QuantSettings())


def test_an_unknown_scope_or_estimator_is_refused():
    network, statistics = prepared(Residual(), images())
    for settings in (QuantSettings(scope="layer"), QuantSettings(weight_range="msee")):
        with pytest.raises(UnknownNameError):
            quantize_nearest(network, uniform(network, "w4a8"), statistics, settings)


# --- quantizers ----------------------------------------------------------------------------------


def test_float_candidates_leave_everything_untouched():
    network, statistics = prepared(Residual(), images())
    found = quantize_nearest(network, uniform(network, "float"), statistics, QuantSettings())
    assert (found.weights, found.activations, found.ranges) == ({}, {}, ())
    plan = plan_of(network, found, QuantSettings())
    assert torch.equal(network(images(), plan), network(images()))


def test_weights_have_a_scale_per_output_channel_on_the_axis_of_their_layer():
    network, statistics = prepared(Residual(), images())
    found = quantize_nearest(network, uniform(network, "w4a8"), statistics, QuantSettings())
    axes = {name: (q.axis, len(q.scale)) for name, q in found.weights.items()}
    assert axes == {"stem": (0, 3), "body": (0, 3), "up": (1, 5), "fc": (0, 4)}
    settings = QuantSettings(per_channel=False)
    found = quantize_nearest(network, uniform(network, "w4a8"), statistics, settings)
    assert {(q.axis, len(q.scale)) for q in found.weights.values()} == {(None, 1)}


def test_activations_are_unsigned_behind_a_relu_and_affine_elsewhere():
    network, statistics = prepared(Residual(), images())
    found = quantize_nearest(network, uniform(network, "w4a4"), statistics, QuantSettings())
    by_layer = {layer.name: found.activations[layer.inputs[0]] for layer in network.table.layers}
    assert float(by_layer["body"].zero_point) == 0.0
    assert 0.0 < float(by_layer["stem"].zero_point) < 15.0
    assert {(q.qmin, q.qmax) for q in by_layer.values()} == {(0, 15)}


@pytest.mark.parametrize("estimator", ["min_max", "mse", "percentile"])
def test_clipped_shares_are_those_of_the_values_themselves(estimator):
    x = images(60)
    network, statistics = prepared(Residual(), x)
    settings = QuantSettings(weight_range=estimator, activation_range=estimator, percentile=90.0)
    found = quantize_nearest(network, uniform(network, "w3a3"), statistics, settings)
    shares = {(r.role, r.name): r.clipped for r in found.ranges}
    for layer in network.table.layers:
        q, weight = found.weights[layer.name], network.weight(layer).double()
        scale = q.scale.double().reshape([-1 if i == q.axis else 1 for i in range(weight.dim())])
        steps = weight / scale
        share = float(((steps > q.qmax + 0.5) | (steps < q.qmin - 0.5)).double().mean())
        assert shares["weight", layer.name] == pytest.approx(share, abs=1e-9)
    with torch.no_grad():
        values = network.module.stem(x).relu().double()
    (tensor,) = [t for t in network.table.tensors if "body" in t.readers]
    q = found.activations[tensor.id]
    share = float((values > (q.qmax + 0.5) * q.scale.double()).double().mean())
    assert shares["activation", tensor.produced_by] == pytest.approx(share, abs=2e-3)
    if estimator == "min_max":
        assert set(shares.values()) == {0.0}
    else:
        assert max(shares.values()) > 0.0


def test_ranges_record_the_scales_in_use():
    network, statistics = prepared(Residual(), images())
    found = quantize_nearest(network, uniform(network, "w4a8"), statistics, QuantSettings())
    record = next(r for r in found.ranges if (r.role, r.name) == ("weight", "up"))
    assert record.format == "int4"
    assert np.array_equal(record.scale, found.weights["up"].scale.double().numpy())


# --- scope ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["tensor", "layer_input"])
def test_scopes_differ_in_what_the_residual_addition_sees(scope):
    x = images()
    network, statistics = prepared(Residual(), x)
    settings = QuantSettings(scope=scope)
    found = quantize_nearest(network, uniform(network, "w3a3"), statistics, settings)
    model, weights = network.module, {n: q for n, q in found.weights.items()}
    reads = {layer.name: found.activations[layer.inputs[0]] for layer in network.table.layers}

    def weight(name: str) -> torch.Tensor:
        return weights[name](model.get_submodule(name).weight)

    with torch.no_grad():
        f = nn.functional
        stem = f.conv2d(reads["stem"](x), weight("stem"), model.stem.bias, padding=1).relu()
        seen = reads["body"](stem)
        body = f.conv2d(seen, weight("body"), model.body.bias, padding=1)
        added = reads["up"]((seen if scope == "tensor" else stem) + body)
        up = f.conv_transpose2d(added, weight("up"), model.up.bias, stride=2).mean((2, 3))
        expected = f.linear(reads["fc"](up), weight("fc"), model.fc.bias)
        assert torch.equal(network(x, plan_of(network, found, settings)), expected)


def test_without_further_readers_both_scopes_agree_bit_for_bit():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    network, statistics = prepared(model, x)
    found = quantize_nearest(network, uniform(network, "w3a3"), statistics, QuantSettings())
    outputs = [
        network(x, plan_of(network, found, QuantSettings(scope=scope)))
        for scope in ("tensor", "layer_input")
    ]
    assert torch.equal(*outputs)


def test_values_a_method_computed_itself_are_used_instead_of_rounded_ones():
    x = images()
    network, statistics = prepared(Residual(), x)
    found = quantize_nearest(network, uniform(network, "w4afloat"), statistics, QuantSettings())
    found.weight_values = {
        layer.name: torch.zeros_like(network.weight(layer)) for layer in network.table.layers
    }
    outputs = network(x, plan_of(network, found, QuantSettings()))
    assert torch.equal(outputs, network.module.fc.bias.expand(len(x), -1))


# --- the context ---------------------------------------------------------------------------------


def state(model: nn.Module) -> dict[str, object]:
    hooks = [
        (name, len(m._forward_hooks), len(m._forward_pre_hooks), sorted(vars(m)))
        for name, m in model.named_modules()
    ]
    return {
        "hooks": hooks,
        "pointers": [(n, p.data_ptr(), p.requires_grad) for n, p in model.named_parameters()],
        "values": {n: v.numpy().tobytes() for n, v in model.state_dict().items()},
    }


@pytest.mark.parametrize("name", ["digits-resnet", "digits-mobilenet"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_restored_bit_for_bit_even_when_the_body_raises(name, fails):
    x = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    model = load_demo(name)
    network, statistics = prepared(model, x)
    before, plain = state(model), model(x)
    found = quantize_nearest(network, uniform(network, "w3a4"), statistics, QuantSettings())
    plan = plan_of(network, found, QuantSettings())
    expected = network(x, plan)
    try:
        with fake_quantized(network, plan) as live:
            assert live is model
            assert torch.equal(live(x), expected)
            assert not torch.equal(live(x), plain)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert state(model) == before
    assert torch.equal(model(x), plain)


def test_nested_use_is_refused_and_the_outer_block_goes_on():
    x = images()
    network, statistics = prepared(Residual(), x)
    found = quantize_nearest(network, uniform(network, "w3a4"), statistics, QuantSettings())
    plan = plan_of(network, found, QuantSettings())
    plain = network.module(x)
    with fake_quantized(network, plan) as model:
        quantized = model(x)
        with (
            pytest.raises(QuantizationError, match="leave the other block"),
            fake_quantized(network, plan),
        ):
            pass
        assert torch.equal(model(x), quantized)
    assert torch.equal(network.module(x), plain)


# --- real weights --------------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.parametrize("estimator", ["mse", "entropy"])
def test_eight_bits_keep_the_predictions_of_a_trained_network(shared_data, estimator):
    path = shared_data / "weights" / "cifar10_resnet20.th"
    weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model = CifarResNet20().eval()
    model.load_state_dict({key.removeprefix("module."): v for key, v in weights.items()})
    pixels = np.load(shared_data / "cifar10" / "train_3805.npz")["x"][:100]
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    x = (torch.tensor(pixels) / 255 - mean) / std
    network, statistics = prepared(model, x[:64])
    settings = QuantSettings(weight_range=estimator, activation_range=estimator)
    found = quantize_nearest(network, uniform(network, "w8a8"), statistics, settings)
    with torch.no_grad():
        plain = network(x).argmax(1)
        same = network(x, plan_of(network, found, settings)).argmax(1) == plain
    assert float(same.double().mean()) >= 0.96


def test_the_network_runs_its_own_plans_inside_the_block():
    x = images()
    network, statistics = prepared(Residual(), x)
    settings = QuantSettings()
    coarse = quantize_nearest(network, uniform(network, "w2a2"), statistics, settings)
    plan = plan_of(network, coarse, settings)
    with torch.no_grad():
        plain, quantized = network(x), network(x, plan)
        with fake_quantized(network, plan) as module:
            assert torch.equal(module(x), quantized)
            assert torch.equal(network(x), plain)
            assert torch.equal(network(x, plan), quantized)
