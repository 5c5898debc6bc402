from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.attribution.layers import (
    CONDUCTANCE,
    GRADIENT_X_ACTIVATION,
    INFLUENCE,
    Attribution,
    attributions,
    find_places,
    out_of_place,
)
from analysis.models.demo import load
from analysis.models.network import build_network
from tests.analysis.models import toys
from tests.reference import attention as oracle

METHODS = {
    "gradient × activation": GRADIENT_X_ACTIVATION,
    "conductance": CONDUCTANCE,
    "influence": INFLUENCE,
}


def normal(*shape: int, seed: int = 0, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def found_by(model: nn.Module, x: torch.Tensor, method: Attribution, steps: int = 4):
    network = build_network(model, torch.cat([x, x])[:2])
    places, _ = find_places(network, x[:2], method)
    names = network.table.names
    return {names[place.layer]: a for place, a in attributions(network, method, places, x, steps)}


def skipped_by(model: nn.Module, x: torch.Tensor, method: Attribution) -> dict[str, str]:
    network = build_network(model, x[:2])
    return {each.name: each.reason for each in find_places(network, x[:2], method)[1]}


# --- closed forms --------------------------------------------------------------------------------


def chain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)).double().eval()


def test_a_linear_chain_has_its_products_as_gradients():
    model, x = chain(), normal(7, 6, dtype=torch.float64)
    z = [x]
    for layer in model:
        z.append(layer(z[-1]))
    rows = torch.eye(3, dtype=torch.float64)[z[-1].argmax(1)]
    gradients = [rows @ model[2].weight @ model[1].weight, rows @ model[2].weight, rows]
    zero = [torch.zeros(1, 6, dtype=torch.float64)]
    for layer in model:
        zero.append(layer(zero[-1]))
    expected = {
        "gradient × activation": [g * a for g, a in zip(gradients, z[1:], strict=True)],
        "influence": gradients,
        "conductance": [g * (a - b) for g, a, b in zip(gradients, z[1:], zero[1:], strict=True)],
    }
    for name, method in METHODS.items():
        for steps in (2, 5):
            found = found_by(model, x, method, steps)
            for layer, value in enumerate(expected[name]):
                assert torch.allclose(found[str(layer)].flatten(1), value, rtol=1e-9)


def test_conductance_sums_to_what_the_output_gains_along_the_path():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))
    model = model.double().eval()
    x = normal(5, 6, dtype=torch.float64)
    with torch.no_grad():
        top = model(x).argmax(1)[:, None]
        gain = (model(x) - model(torch.zeros_like(x))).gather(1, top)[:, 0]
    errors = []
    for steps in (50, 200, 800):
        found = found_by(model, x, CONDUCTANCE, steps)
        errors.append([float((a.flatten(1).sum(1) - gain).abs().max()) for a in found.values()])
    errors = np.array(errors)
    # The rule takes gradients at the left of every step: its error falls with their number.
    assert (errors[1] <= errors[0] / 3 + 1e-9).all()
    assert (errors[2] <= errors[1] / 3 + 1e-9).all()
    assert errors[2].max() < 1e-2


# --- against one sample at a time ----------------------------------------------------------------


def slow(model: nn.Module, name: str, sample: torch.Tensor, kind: str, steps: int) -> torch.Tensor:
    """Attribution of one sample, step by step."""
    target = int(model(sample[None]).argmax())

    def gradient(alpha: float) -> torch.Tensor:
        return oracle.jacobian(model, name, alpha * sample)[target]

    def output(alpha: float) -> torch.Tensor:
        return oracle.output_of(model, name, alpha * sample).flatten()

    if kind == "gradient × activation":
        return gradient(1.0) * output(1.0)
    if kind == "influence":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return sum(w / 2 * gradient((1 + t) / 2) for t, w in zip(nodes, weights, strict=True))
    ends = pairwise(k / steps for k in range(steps + 1))
    return sum(gradient(a) * (output(b) - output(a)) for a, b in ends)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("digits-resnet", ("conv1", "layer2.0.downsample.0", "layer3.1.conv2", "fc")),
        ("digits-vit", ("patch_embed", "blocks.2.fc1", "head")),
    ],
)
def test_attributions_are_those_of_one_sample_at_a_time_at_folded_outputs(kind, name, layers):
    model, x = load(name), normal(2, 1, 16, 16)
    found = found_by(model, x, METHODS[kind], steps=3)
    network = build_network(model, x)
    for layer in layers:
        at = network.layer(layer).folded or layer
        for n, sample in enumerate(x):
            expected = slow(model, at, sample, kind, 3)
            assert torch.allclose(
                found[layer][n].flatten(),
                expected,
                rtol=1e-3,
                atol=1e-4 * float(expected.abs().max()),
            )


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_samples_do_not_mix(method):
    model, x = load("digits-resnet"), normal(5, 1, 16, 16)
    together = found_by(model, x, method)
    for n in range(5):
        alone = found_by(model, x[n : n + 1], method)
        for name, a in together.items():
            tolerance = 1e-4 * float(a.abs().max())
            assert torch.allclose(a[n], alone[name][0], rtol=1e-3, atol=tolerance)


# --- where layers are ----------------------------------------------------------------------------


def test_layers_are_attributed_to_behind_their_batch_normalization():
    model, x = load("digits-resnet"), normal(2, 1, 16, 16)
    network = build_network(model, x)
    places, skipped = find_places(network, x, CONDUCTANCE)
    assert skipped == ()
    assert [p.layer for p in places] == list(range(16))
    assert places[0].module is model.bn1
    assert places[-1].module is model.fc
    assert not any(p.inert for p in places)


def test_packed_attention_is_left_out_with_its_reason():
    found = skipped_by(load("digits-vit"), normal(2, 1, 16, 16), GRADIENT_X_ACTIVATION)
    assert len(found) == 8
    assert all("no module of its own" in reason for reason in found.values())
    assert "never called" in found["blocks.0.attention.out_proj"]


def test_modules_that_are_called_twice_are_left_out():
    found = skipped_by(toys.twice(), toys.batch(), GRADIENT_X_ACTIVATION)
    assert list(found) == ["again"]
    assert "2 times" in found["again"]


def test_a_module_with_a_bare_parameter_is_a_place_of_its_own():
    model = toys.functional()
    assert skipped_by(model, toys.batch(), CONDUCTANCE) == {}
    found = found_by(model, toys.batch(), GRADIENT_X_ACTIVATION)
    sample = toys.batch()[0]
    expected = slow(model, "own", sample, "gradient × activation", 1)
    assert torch.allclose(found["own.kernel"][0].flatten(), expected, rtol=1e-3, atol=1e-6)


def test_a_module_that_changes_its_layers_output_is_no_place():
    class Activated(nn.Linear):
        def forward(self, x):
            return F.relu(super().forward(x))

    torch.manual_seed(0)
    found = skipped_by(
        nn.Sequential(Activated(6, 5), nn.Linear(5, 3)).eval(), normal(4, 6), INFLUENCE
    )
    assert list(found) == ["0"]
    assert "something else" in found["0"]


class Windows(nn.Module):
    """Two windows per sample share the first axis of a layer's output."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(3, 4), nn.Linear(8, 3)

    def forward(self, x):
        return self.b(self.a(x.reshape(-1, 3)).tanh().reshape(len(x), 8))


def test_rows_that_are_no_samples_are_left_out_where_captum_would_mix_them():
    model, x = Windows().eval(), normal(4, 6)
    assert skipped_by(model, x, GRADIENT_X_ACTIVATION) == {}
    for method in (CONDUCTANCE, INFLUENCE):
        found = skipped_by(model, x, method)
        assert list(found) == ["a"]
        assert "mix samples" in found["a"]
    rows = found_by(model, x, GRADIENT_X_ACTIVATION)["a"]
    for n in range(4):
        alone = found_by(model, x[n : n + 1], GRADIENT_X_ACTIVATION)["a"]
        assert torch.allclose(rows[n].flatten(), alone.flatten(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_layers_that_cannot_reach_the_outputs_get_exact_zeros(method):
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.used, self.unused = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            self.unused(x)
            return self.used(x)

    found = found_by(Dead().eval(), normal(4, 3), method)
    assert found["unused"].shape[0] == 4
    assert (found["unused"] == 0).all()
    assert (found["used"] != 0).any()


# --- nothing is left behind ----------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("trainable", [True, False])
def test_activations_in_place_do_not_disturb(method, trainable):
    model, other = toys.residual(), toys.residual()
    model.load_state_dict(other.state_dict())
    model.requires_grad_(trainable)
    other.relu.inplace = False
    x = toys.batch(3, 3, 8, 8)
    for (name, a), (_, b) in zip(
        found_by(model, x, method).items(), found_by(other, x, method).items(), strict=True
    ):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-7), name
    assert model.relu.inplace


def test_in_place_flags_come_back_even_after_an_error():
    model = toys.residual()

    def fail() -> None:
        with out_of_place(model):
            assert not model.relu.inplace
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert model.relu.inplace


def test_a_failing_attribution_leaves_the_module_as_it_was():
    model, x = toys.residual(), toys.batch()
    network = build_network(model, x)
    places, _ = find_places(network, x, CONDUCTANCE)

    def broken(module, modules, x, target, steps):
        assert not module.relu.inplace
        raise RuntimeError("on purpose")
        yield

    work = attributions(network, Attribution(broken, rows=True), places, x, 2)
    with pytest.raises(RuntimeError, match="on purpose"):
        next(work)
    assert model.relu.inplace


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_module_is_left_as_it_was_also_between_two_results(method):
    model, x = toys.residual(), toys.batch()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    network = build_network(model, x)
    places, _ = find_places(network, x, method)
    for _ in attributions(network, method, places, x, 3):
        assert model.relu.inplace
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert x.grad is None
    assert not x.requires_grad
