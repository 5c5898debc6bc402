import pytest
import torch
from torch import nn

from analysis.models import demo
from analysis.models.channels import output_of
from analysis.models.network import Network, build_network
from analysis.models.recalibrated import gaussians
from tests.analysis.models.toys import batch, randomised
from tests.analysis.recalibration.nets import (
    chain,
    logits,
    network_of,
    recalibrate,
    relative_change,
)


def high(module: nn.Module, *norms: str) -> nn.Module:
    """Raise the means of some BatchNorms' channels far above zero: 4 deviations and more."""
    with torch.no_grad():
        for name in norms:
            norm = module.get_submodule(name)
            norm.bias.copy_(torch.linspace(-1, 8, len(norm.bias)) * norm.weight.abs())
    return module


def pointwise(*between: nn.Module, kernel: int = 1, padding: int = 0) -> nn.Module:
    return chain(
        nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), *between, nn.Conv2d(6, 4, kernel, padding=padding)
    )


def test_a_constant_of_beta_less_three_gamma_moves_into_the_next_bias():
    module = high(pointwise(nn.ReLU()), "1")
    network = network_of(module)
    result, notes = recalibrate(network, "absorption")
    norm = module[1]
    constant = (norm.bias - 3 * norm.weight.abs()).clamp_min(0).detach()
    assert 0 < int((constant > 0).sum()) < 6
    first, second = network.layer("0"), network.layer("3")
    torch.testing.assert_close(result.bias(first), network.bias(first) - constant)
    gain = module[3].weight.detach().flatten(1) @ constant
    torch.testing.assert_close(result.bias(second), network.bias(second) + gain)
    for layer in (first, second):
        assert torch.equal(result.weight(layer), network.weight(layer))
    torch.testing.assert_close(gaussians(result)["0"].mean, norm.bias.double() - constant)
    assert f"`0`: {int((constant > 0).sum())} of 6 channels gave up to" in notes


@pytest.mark.parametrize(
    "between",
    [
        [nn.ReLU()],
        [nn.ReLU6()],
        [nn.ReLU(), nn.MaxPool2d(2)],
        [nn.ReLU(), nn.AvgPool2d(2)],
        [nn.MaxPool2d(2), nn.ReLU(), nn.Dropout()],
    ],
    ids=["relu", "relu6", "max pool", "average pool", "pool first"],
)
def test_where_no_value_lies_below_the_constant_outputs_stay(between):
    network = network_of(high(pointwise(*between), "1"))
    x = batch(64, 3, 8, 8, seed=3)
    result, _ = recalibrate(network, "absorption", x, source="minimum", batch_size=24)
    assert not torch.equal(result.bias(result.layer("0")), network.bias(network.layer("0")))
    assert relative_change(logits(network, x), logits(result, x)) < 1e-5
    lowest = output_of(result, x, 0).amin((0, 2, 3))
    before = output_of(network, x, 0).amin((0, 2, 3))
    tops = torch.tensor(6.0 if isinstance(between[0], nn.ReLU6) else 1e9)
    torch.testing.assert_close(
        lowest, before - before.clamp_min(0).minimum(tops), atol=1e-5, rtol=0
    )


def test_a_relu6_s_limit_falls_by_what_its_channel_gave_up():
    module = high(pointwise(nn.ReLU6()), "1")
    network, x = network_of(module), batch(8, 3, 8, 8, seed=3) * 6
    result, _ = recalibrate(network, "absorption", x, source="minimum")
    constant = network.bias(network.layer("0")) - result.bias(result.layer("0"))
    _, after = result.capture(x)
    _, before = network.capture(x)
    relu6 = 2
    assert float((before.outputs[relu6, 0] == 6).double().mean()) > 0.02
    moved = after.outputs[relu6, 0] + constant[:, None, None]
    torch.testing.assert_close(moved, before.outputs[relu6, 0], atol=1e-5, rtol=0)


def test_the_change_is_small_at_three_deviations_and_is_told():
    module = high(pointwise(nn.ReLU()), "1")
    with torch.no_grad():  # statistics that fit what the layer gives
        x = batch(128, 3, 8, 8, seed=3)
        z = module[0](x)
        module[1].running_mean.copy_(z.mean((0, 2, 3)))
        module[1].running_var.copy_(z.var((0, 2, 3)))
    network = network_of(module)
    result, notes = recalibrate(network, "absorption", x)
    change = relative_change(logits(network, x), logits(result, x))
    assert 0 < change < 0.01
    assert f"change by at most {change:.2g} of the largest" in notes
    layer = network.layer("3").calls[0]
    before, after = output_of(network, x, layer), output_of(result, x, layer)
    rms = float((after - before).double().square().mean().sqrt() / before.double().std())
    assert f"changes by {rms:.2%} of its deviation" in notes


def test_a_zero_padded_reader_is_refused_or_corrected_where_asked():
    module = high(pointwise(nn.ReLU(), kernel=3, padding=1), "1")
    network, x = network_of(module), batch(16, 3, 8, 8, seed=3)
    call = network.layer("3").calls[0]
    before = output_of(network, x, call)
    kept, notes = recalibrate(network, "absorption", x, source="minimum")
    assert "in places only, as at the border of a zero padding" in notes
    assert "Nothing can be absorbed" in notes
    assert torch.equal(logits(kept, x), logits(network, x))
    interior, _ = recalibrate(network, "absorption", x, source="minimum", padding="interior")
    error = output_of(interior, x, call) - before
    torch.testing.assert_close(error[..., 1:-1, 1:-1], torch.zeros(16, 4, 6, 6), atol=1e-4, rtol=0)
    assert error.abs().max() > 0.1
    mean, _ = recalibrate(network, "absorption", x, source="minimum", padding="mean")
    error_of_mean = output_of(mean, x, call) - before
    torch.testing.assert_close(error_of_mean.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    assert error_of_mean.square().mean() < error.square().mean()


def test_without_batchnorm_the_calibration_set_tells_how_low_a_channel_goes():
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        module[0].bias.copy_(torch.tensor([9.0, 5.0, 0.5, -3.0]))
    network, x = build_network(module, batch(2, 3)), batch(500, 3, seed=2)
    result, _ = recalibrate(network, "absorption", x, deviations=2.0, batch_size=99)
    with torch.no_grad():
        z = module[0](x)
    expected = (z.mean(0) - 2 * z.std(0)).clamp_min(0)
    torch.testing.assert_close(module[0].bias.detach() - result.bias(result.layer("0")), expected)
    assert (expected > 0).any()
    assert (expected == 0).any()


def test_calls_that_do_not_pass_a_constant_on_are_named():
    for between, reason in (
        ([nn.LeakyReLU()], "`leaky_relu` behind it does not pass a constant on"),
        ([], "no ReLU lies between"),
        ([nn.Hardtanh(-1, 1)], "lets negative values pass"),
    ):
        network = network_of(high(pointwise(*between), "1"))
        result, notes = recalibrate(network, "absorption")
        assert reason in notes
        for layer in network.table.layers:
            assert torch.equal(result.bias(layer), network.bias(layer))


def mobilenet() -> tuple[Network, torch.Tensor]:
    """The demo with a few BatchNorms whose channels stay above zero."""
    module = randomised(demo.load("digits-mobilenet"))
    high(module, *(f"blocks.{i}.depthwise.1" for i in range(5)))
    x = batch(64, 1, 16, 16, seed=3)
    return build_network(module, x[:2]), x


def test_layers_in_a_row_absorb_and_receive():
    network, x = mobilenet()
    equalized, _ = recalibrate(network, "equalization", x)
    result, notes = recalibrate(equalized, "absorption", x, source="minimum")
    assert relative_change(logits(network, x), logits(result, x)) < 1e-4
    changed = {
        a.name for a in network.table.layers if not torch.equal(result.bias(a), equalized.bias(a))
    }
    assert {f"blocks.{i}.depthwise.0" for i in range(5)} <= changed
    assert "in places only" in notes  # expansions, read by padded depthwise layers
