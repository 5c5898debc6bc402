import pytest
import torch
from torch import nn

from analysis.errors import UnknownNameError
from analysis.initialization.initializers import INITIALIZERS
from analysis.initialization.networks import (
    ARCHITECTURES,
    build_lab_network,
    initialize,
    layer_kind,
    weighted_layers,
)
from analysis.models.network import build_network


def made(name: str, seed: int = 0, **options: int) -> nn.Module:
    model = build_lab_network(name, **options)
    initialize(model, INITIALIZERS["he_normal"], torch.Generator().manual_seed(seed))
    return model.eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_reads_digits_and_colour_images(name):
    assert made(name)(torch.rand(3, 1, 16, 16)).shape == (3, 10)
    assert made(name, in_channels=3, classes=7)(torch.rand(2, 3, 32, 32)).shape == (2, 7)


def test_architectures_come_in_eight_kinds():
    assert set(ARCHITECTURES) == {
        base + residual + norm
        for base in ("regular", "separable")
        for residual in ("", "_residual")
        for norm in ("", "_nobn")
    }
    with pytest.raises(UnknownNameError, match="did you mean"):
        build_lab_network("seperable")


def test_separable_networks_have_two_layers_where_regular_ones_have_one():
    regular = [layer_kind(m) for _, m in weighted_layers(made("regular"))]
    separable = [layer_kind(m) for _, m in weighted_layers(made("separable"))]
    assert regular == ["regular"] * 5 + ["linear"]
    assert separable == ["regular"] + ["depthwise", "pointwise"] * 4 + ["linear"]


def test_a_separable_network_takes_about_a_sixth_of_the_macs():
    x = torch.rand(2, 1, 16, 16)
    macs = [
        sum(layer.macs for layer in build_network(made(name), x).table.layers)
        for name in ("regular", "separable")
    ]
    assert 5 < macs[0] / macs[1] < 8


@pytest.mark.parametrize("base", ["regular", "separable"])
def test_a_residual_network_has_the_weights_of_the_plain_one_and_other_outputs(base):
    plain, residual = made(base), made(f"{base}_residual")
    for (name, a), (other, b) in zip(
        plain.named_parameters(), residual.named_parameters(), strict=True
    ):
        assert name == other
        assert torch.equal(a, b)
    x = torch.rand(2, 1, 16, 16)
    assert not torch.allclose(plain(x), residual(x), atol=1e-3)


def test_a_shortcut_is_added_before_the_last_activation_of_a_unit():
    unit = made("separable_residual").units[1]
    x = torch.rand(2, 16, 8, 8)
    inner = unit.pointwise(torch.relu(unit.depthwise(x)))
    assert torch.allclose(unit(x), torch.relu(inner + x), atol=1e-4)


def test_initializing_zeroes_biases_and_makes_batchnorms_the_identity():
    model = made("regular")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3.0)
    model.train()
    model(torch.rand(4, 1, 16, 16))
    initialize(model, INITIALIZERS["he_normal"], torch.Generator().manual_seed(0))
    fresh = made("regular").state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, fresh[name]), name
        if name.endswith("norm.weight") or name.endswith("running_var"):
            assert bool((value == 1).all())
        if name.endswith("bias") or name.endswith("running_mean"):
            assert bool((value == 0).all())


def test_without_batchnorm_convolutions_have_biases():
    assert all(m.bias is not None for _, m in weighted_layers(made("separable_nobn")))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in made("separable_nobn").modules())
    assert [m.bias is not None for _, m in weighted_layers(made("regular"))] == [False] * 5 + [True]


def test_building_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    made("regular", seed=5)
    assert torch.equal(before, torch.random.get_rng_state())
