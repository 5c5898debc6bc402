import pytest
import torch
from torch import nn

from analysis.models import demo
from analysis.models.channels import ChannelMoments, output_of
from analysis.models.network import build_network
from analysis.models.recalibrated import gaussians
from tests.analysis.models.toys import batch, conv, randomised
from tests.analysis.recalibration.nets import (
    chain,
    logits,
    network_of,
    recalibrate,
    relative_change,
)
from tests.reference.recalibration import renormalized


def normalized_chain() -> nn.Module:
    return chain(
        conv(bias=False), nn.BatchNorm2d(4), nn.ReLU(), conv(4), nn.BatchNorm2d(4, eps=0.1),
        nn.ReLU(), conv(4),
    )  # fmt: skip


def test_statistics_of_the_same_data_change_nothing():
    x = batch(32, 3, 8, 8, seed=3)
    module = renormalized(normalized_chain(), ["1", "4"], [x])
    network = network_of(module)
    result, notes = recalibrate(network, "batchnorm_reestimation", x, batch_size=10)
    assert "2 layers re-estimated; channels multiplied by 1 to 1." in notes
    for layer in network.table.layers:
        torch.testing.assert_close(
            result.weight(layer), network.weight(layer), rtol=1e-5, atol=1e-6
        )
        torch.testing.assert_close(result.bias(layer), network.bias(layer), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["chain", "digits-resnet", "digits-mobilenet"])
def test_it_is_the_model_whose_batchnorms_hold_the_data_s_statistics(name):
    if name == "chain":
        module, x = normalized_chain(), batch(24, 3, 8, 8, seed=3)
    else:
        module, x = randomised(demo.load(name)), batch(64, 1, 16, 16, seed=3)
    x = x * 2 + 0.7
    network = build_network(module, x[:2])
    result, _ = recalibrate(network, "batchnorm_reestimation", x, batch_size=20)
    norms = [n for n, m in module.named_modules() if isinstance(m, nn.BatchNorm2d)]
    order = sorted(network.table.layers, key=lambda a: a.calls[0])
    names = [a.folded for a in order if a.folded]
    assert sorted(names) == sorted(norms)
    expected = renormalized(module, names, [x[:20], x[20:]])
    with torch.no_grad():
        torch.testing.assert_close(logits(result, x), expected(x), rtol=1e-3, atol=1e-3)
    assert relative_change(logits(network, x), logits(result, x)) > 0.05


def test_means_return_to_beta_and_deviations_to_gamma():
    network, x = network_of(normalized_chain()), batch(24, 3, 8, 8, seed=3) * 3 + 1
    result, notes = recalibrate(network, "batchnorm_reestimation", x)
    assert "`6`: it has no folded BatchNorm" in notes
    for index, call in ((1, 0), (4, 3)):
        norm, moments = network.module[index], ChannelMoments()
        moments.add(output_of(result, x, call), 1)
        before = ChannelMoments()
        before.add(nn.functional.conv2d(x, network.module[0].weight, padding=1), 1)
        torch.testing.assert_close(moments.mean, norm.bias.double(), rtol=0, atol=1e-5)
        std = moments.variance.sqrt()
        assert bool((std <= norm.weight.abs()).all())
        if index == 1:
            share = (before.variance / (before.variance + norm.eps)).sqrt()
            torch.testing.assert_close(std, norm.weight.double().abs() * share, rtol=1e-5, atol=0)


def test_after_equalization_the_same_function_results():
    module, x = randomised(demo.load("digits-mobilenet")), batch(64, 1, 16, 16, seed=3)
    network = build_network(module, x[:2])
    plain, _ = recalibrate(network, "batchnorm_reestimation", x)
    equalized, _ = recalibrate(network, "equalization", x)
    both, _ = recalibrate(equalized, "batchnorm_reestimation", x)
    torch.testing.assert_close(logits(both, x), logits(plain, x), rtol=1e-3, atol=1e-3)
    for name, wanted in gaussians(equalized).items():
        (call,) = network.layer(name).calls
        moments = ChannelMoments()
        moments.add(output_of(both, x, call), 1)
        torch.testing.assert_close(moments.mean, wanted.mean, rtol=1e-4, atol=1e-4)


def test_a_channel_that_hardly_varies_keeps_its_scale():
    module = normalized_chain()
    with torch.no_grad():
        module[0].weight[2] *= 1e-4
    network, x = network_of(module), batch(24, 3, 8, 8, seed=3)
    result, notes = recalibrate(network, "batchnorm_reestimation", x)
    assert "What hardly varies keeps its scale: 1 channel." in notes
    layer = network.layer("0")
    assert torch.equal(result.weight(layer)[2], network.weight(layer)[2])
    assert not torch.allclose(result.weight(layer)[1], network.weight(layer)[1])
    mean = output_of(result, x, 0)[:, 2].mean()
    assert float(mean) == pytest.approx(float(module[1].bias[2].detach()), abs=1e-5)


def test_a_network_without_batchnorm_stays_as_it_is():
    network = network_of(chain(conv(), nn.ReLU(), conv(4)))
    result, notes = recalibrate(network, "batchnorm_reestimation")
    assert "No layer has a folded BatchNorm" in notes
    assert result.bias(result.layer("0")) is network.bias(network.layer("0")) or torch.equal(
        result.bias(result.layer("0")), network.bias(network.layer("0"))
    )
