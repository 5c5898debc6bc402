import math

import numpy as np
import pytest
import torch

from analysis.initialization.initializers import INITIALIZERS
from analysis.initialization.measuring import describe_rows, measure, offsets, one_thread, refolded
from analysis.initialization.networks import ARCHITECTURES, build_lab_network, initialize
from analysis.models.network import Network, build_network
from analysis.records.initialization import FOLLOWED, KEPT
from tests.reference.initialization import (
    folded_by_hand,
    outputs_of_layers,
    small_data,
    statistics_by_hand,
)


def images(n: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


def network_then_trained(name: str) -> Network:
    """A network whose BatchNorms and weights have moved since its calls were observed."""
    generator = torch.Generator().manual_seed(1)
    model = build_lab_network(name)
    initialize(model, INITIALIZERS["he_normal"], generator)
    network = build_network(model.eval(), images(2))
    model.train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        model(images(16, seed=3))
    model.eval()
    return network


def as_dict(row: np.ndarray) -> dict[str, float]:
    return dict(zip(KEPT, row.tolist(), strict=True))


# --- one tensor ----------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [1, 7, 100, 101, 1000])
def test_statistics_are_those_of_their_definitions(values):
    channels = torch.randn(5, values, generator=torch.Generator().manual_seed(values)) * 3 + 1
    if values > 1:
        channels[2] = 0.5
    found, low, high = describe_rows(channels)
    for name, wanted in statistics_by_hand(channels.numpy()).items() if values > 1 else ():
        assert as_dict(found)[name] == pytest.approx(wanted, rel=1e-4, abs=1e-5), name
    assert low.tolist() == channels.amin(1).tolist()
    assert high.tolist() == channels.amax(1).tolist()


def test_equal_channels_have_full_precision_and_one_wide_channel_takes_it_from_the_others():
    k = 8
    line = torch.linspace(-1, 1, 11)
    equal, wide = line.repeat(k, 1), line.repeat(k, 1)
    wide[3] *= 10
    assert as_dict(describe_rows(equal)[0])["acp"] == pytest.approx(1.0)
    assert as_dict(describe_rows(wide)[0])["acp"] == pytest.approx((1 + (k - 1) / 10) / k)


def test_dead_channels_are_counted_and_left_out_of_the_precision():
    rows = torch.stack([torch.linspace(0, 2, 5), torch.full((5,), 1.0), torch.linspace(0, 1, 5)])
    found = as_dict(describe_rows(rows)[0])
    assert found["dead"] == 1
    assert found["acp"] == pytest.approx(0.75)


def test_a_constant_tensor_has_no_kurtosis_and_no_precision():
    found = as_dict(describe_rows(torch.full((3, 4), 0.3))[0])
    assert (found["std"], found["dead"]) == (0.0, 3)
    assert math.isnan(found["kurtosis"])
    assert math.isnan(found["acp"])
    assert as_dict(describe_rows(torch.zeros(2, 2))[0])["mean"] == 0.0


def test_fourth_powers_of_huge_values_stay_finite():
    rows = torch.randn(4, 5000, generator=torch.Generator().manual_seed(0))
    plain, huge = as_dict(describe_rows(rows)[0]), as_dict(describe_rows(rows * 1e30)[0])
    assert huge["kurtosis"] == pytest.approx(plain["kurtosis"], rel=1e-4)
    assert huge["std"] == pytest.approx(plain["std"] * 1e30, rel=1e-4)


# --- a network -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_followed_is_what_a_network_folded_by_hand_holds(name):
    network = network_then_trained(name)
    x = images(seed=7)
    twin = folded_by_hand(network.module)
    names = network.table.names
    pre = outputs_of_layers(twin, x.double(), names)
    found = measure(refolded(network), x)
    assert not found.broken
    starts = offsets(network)
    for place, layer in enumerate(names):
        tensors = {"weight": twin.get_submodule(layer).weight, "pre_activation": pre[layer]}
        for role, tensor in tensors.items():
            rows = tensor if role == "weight" else tensor.movedim(1, 0)
            rows = rows.detach().flatten(1).numpy()
            row = FOLLOWED.index(role)
            wanted = statistics_by_hand(rows)
            for statistic, value in as_dict(found.statistics[row, place]).items():
                assert value == pytest.approx(wanted[statistic], rel=1e-3, abs=1e-4), statistic
            own = slice(starts[place], starts[place + 1])
            assert found.channel_low[row, own] == pytest.approx(rows.min(1), abs=1e-4)
            assert found.channel_high[row, own] == pytest.approx(rows.max(1), abs=1e-4)


def test_folding_again_follows_the_training():
    network = network_then_trained("regular")
    x = images(seed=7)
    with torch.no_grad():
        wanted = network.module(x)
        assert torch.allclose(refolded(network)(x), wanted, atol=1e-4)
        assert not torch.allclose(network(x), wanted, atol=1e-2)


@pytest.mark.parametrize("name", ["separable", "separable_residual"])
def test_post_activations_are_behind_the_shortcut_and_the_last_layer_has_none(name):
    network = network_then_trained(name)
    x = images(seed=7)
    unit = "units.1"
    wanted = outputs_of_layers(network.module, x, [unit])[unit]
    found = measure(refolded(network), x)
    place = network.table.names.index(f"{unit}.pointwise")
    row = as_dict(found.statistics[FOLLOWED.index("post_activation"), place])
    assert row["low"] == 0.0
    assert row["high"] == pytest.approx(wanted.max().item(), rel=1e-4)
    assert row["mean"] == pytest.approx(wanted.mean().item(), rel=1e-4)
    assert np.isnan(found.statistics[FOLLOWED.index("post_activation"), -1]).all()


def test_tensors_that_are_not_finite_are_named_and_the_weights_still_seen():
    network = network_then_trained("regular_nobn")
    with torch.no_grad():
        for layer in network.table.layers[1:]:
            network.module.get_parameter(layer.weight_name).mul_(1e15)
    found = measure(refolded(network), images())
    assert found.broken == "`units.2.conv` (pre-activation)"
    assert np.isfinite(found.statistics[FOLLOWED.index("weight")]).all()
    assert np.isnan(found.statistics[FOLLOWED.index("pre_activation"), 3]).all()


def test_the_number_of_threads_is_put_back():
    torch.set_num_threads(2)
    seen = []

    @one_thread()
    def failing() -> None:
        seen.append(torch.get_num_threads())
        raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert seen == [1]
    assert torch.get_num_threads() == 2


def test_small_data_keeps_its_digest():
    assert small_data().digest == small_data().digest != small_data(evaluation=50).digest
