import pytest
import torch
from torch import nn

from analysis.models import demo
from analysis.models.channels import ChannelMoments, output_of
from analysis.models.network import Network, build_network
from analysis.models.recalibrated import gaussians
from analysis.models.replay import Plan
from analysis.models.vision_ops import import_torchvision
from analysis.quant.quantizer import symmetric_quantizer
from analysis.recalibration.pairs import find_pairs
from tests.analysis.models.toys import batch, conv, randomised
from tests.analysis.recalibration.nets import (
    chain,
    logits,
    network_of,
    recalibrate,
    relative_change,
    uneven,
)
from tests.reference.recalibration import read_ranges, written_ranges


def narrow_vgg() -> nn.Module:
    model = import_torchvision().models.get_model("vgg11_bn", weights=None, num_classes=5)
    model.classifier = nn.Sequential(
        nn.Linear(512 * 49, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, 12), nn.ReLU(True),
        nn.Dropout(), nn.Linear(12, 5),
    )  # fmt: skip
    return model


def published(name: str) -> tuple[Network, torch.Tensor]:
    torch.manual_seed(0)
    if name.startswith("digits"):
        shape, module = (1, 16, 16), demo.load(name)
    elif name == "vgg11_bn":
        shape, module = (3, 32, 32), randomised(narrow_vgg())
    else:
        models = import_torchvision().models
        shape, module = (3, 32, 32), randomised(models.get_model(name, weights=None))
    x = batch(4, *shape, seed=2)
    return build_network(module, x[:2]), x


NAMES = ["digits-resnet", "digits-mobilenet", "resnet18", "vgg11_bn", "mobilenet_v2"]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_stay_and_the_ranges_of_every_pair_become_equal(name):
    network, x = published(name)
    result, notes = recalibrate(network, "equalization", x)
    pairs = find_pairs(network).pairs
    assert len(pairs) == {"digits-resnet": 6, "digits-mobilenet": 11, "resnet18": 8,
                          "vgg11_bn": 10, "mobilenet_v2": 37}[name]  # fmt: skip
    assert relative_change(logits(network, x), logits(result, x)) < 1e-4
    assert f"{len(pairs)} pairs equalized" in notes
    uneven_before = 0.0
    for pair in pairs:
        repeats = len(pair.channels) // int(pair.channels.max() + 1)

        def ranges(net, pair=pair, repeats=repeats):
            first, second = (net.weight(net.layer(n)) for n in (pair.first, pair.second))
            written = torch.tensor(written_ranges(first))
            return written, torch.tensor(read_ranges(second, len(written), repeats=repeats))

        before, after = (torch.log(torch.stack(ranges(n))) for n in (network, result))
        uneven_before = max(uneven_before, float((before[0] - before[1]).abs().max()))
        torch.testing.assert_close(after[0], after[1], rtol=0, atol=4e-3)
    assert uneven_before > 0.3


def test_two_layers_get_the_geometric_mean_of_their_ranges():
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[4.0, -1.0], [0.5, 0.25], [0.0, 0.0]]))
        module[0].bias.copy_(torch.tensor([2.0, -3.0, 1.0]))
        module[2].weight.copy_(torch.tensor([[1.0, -2.0, 5.0], [0.5, 0.0, 1.0]]))
    network = build_network(module, batch(2, 2))
    result, _ = recalibrate(network, "equalization")
    first, second = result.layer("0"), result.layer("2")
    # s = sqrt(4 * 1) / 1 = 2 and sqrt(0.5 * 2) / 2 = 0.5; the third channel has no weights.
    expected = torch.tensor([[2.0, -0.5], [1.0, 0.5], [0.0, 0.0]])
    torch.testing.assert_close(result.weight(first), expected)
    torch.testing.assert_close(result.bias(first), torch.tensor([1.0, -6.0, 1.0]))
    expected = torch.tensor([[2.0, -1.0, 5.0], [1.0, 0.0, 1.0]])
    torch.testing.assert_close(result.weight(second), expected)
    assert torch.equal(result.bias(second), network.bias(second))


def test_no_channel_is_scaled_beyond_the_limit():
    module = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1e6], [1e-6]]))
        module[2].weight.fill_(1.0)
    network = build_network(module, batch(2, 1))
    result, _ = recalibrate(network, "equalization", limit=10.0)
    torch.testing.assert_close(result.weight(result.layer("0")), torch.tensor([[1e5], [1e-5]]))
    x = batch(5, 1, seed=2)
    torch.testing.assert_close(logits(result, x), logits(network, x))


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(4, 8, 3, groups=2), nn.ReLU(), nn.Conv2d(8, 4, 1, groups=4)),
        (nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)),
        (nn.ConvTranspose2d(4, 6, 2, groups=2), nn.ReLU(), nn.Conv2d(6, 4, 1)),
        (nn.LeakyReLU(), nn.ConvTranspose2d(4, 6, 2, groups=2), nn.Conv2d(6, 4, 1)),
        (nn.Conv2d(4, 6, 1), nn.PReLU(6), nn.Upsample(scale_factor=2), nn.Conv2d(6, 4, 3)),
    ],
    ids=["grouped", "depthwise", "transposed", "into transposed", "prelu, upsampled"],
)  # fmt: skip
def test_grouped_and_transposed_layers_are_scaled_channel_by_channel(layers):
    torch.manual_seed(1)
    module = chain(nn.Conv2d(3, 4, 1), nn.ReLU(), *layers)
    uneven(module, "0")
    network = network_of(module)
    result, _ = recalibrate(network, "equalization")
    weights = len(network.table.layers)
    assert len(find_pairs(network).pairs) == weights - 1
    for layer in network.table.layers:
        assert not torch.equal(result.weight(layer), network.weight(layer))
    x = batch(4, 3, 8, 8, seed=2)
    assert relative_change(logits(network, x), logits(result, x)) < 1e-5


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """A weight rounded to 8 bits per tensor."""
    return symmetric_quantizer(weight.abs().max()[None], (-128, 127))(weight)


def sqnr(weight: torch.Tensor) -> float:
    """SQNR of a weight rounded to 8 bits per tensor, of its worst output channel, in dB."""
    signal = weight.flatten(1).square().sum(1)
    noise = (rounded(weight) - weight).flatten(1).square().sum(1)
    return float(10 * torch.log10(signal / noise).min())


def rounding_error(network: Network, x: torch.Tensor) -> float:
    weights = {la.calls[0]: rounded(network.weight(la)) for la in network.table.layers}
    with torch.no_grad():
        error = network(x, Plan(weights=weights)) - network(x)
        return float(error.square().mean() / network(x).square().mean())


def test_channels_made_uneven_on_both_sides_lose_less_per_tensor_once_equalized():
    module = chain(conv(3, 16), nn.ReLU(), conv(16, 16), nn.ReLU(), conv(16, 16))
    even, x = network_of(module), batch(16, 3, 8, 8, seed=4)
    before = logits(even, x)
    with torch.no_grad():
        factor = torch.exp2(torch.linspace(-4, 4, 16))
        for first, second in ((module[0], module[2]), (module[2], module[4])):
            first.weight *= factor[:, None, None, None]
            first.bias *= factor
            second.weight /= factor[:, None, None]
    network = network_of(module)
    assert relative_change(before, logits(network, x)) < 1e-5
    result, _ = recalibrate(network, "equalization")
    assert rounding_error(result, x) < rounding_error(network, x) / 10
    for name in ("0", "2"):
        layer = network.layer(name)
        assert sqnr(result.weight(layer)) > sqnr(network.weight(layer)) + 10


def test_upper_limits_are_scaled_with_their_channels_where_values_reach_them():
    module = uneven(
        chain(conv(3, 6), nn.ReLU6(), conv(6, 6), nn.Hardtanh(-1, 1), conv(6)), "0", "2"
    )
    network, x = network_of(module), batch(4, 3, 8, 8, seed=2) * 5
    result, notes = recalibrate(network, "equalization", x)
    assert "upper limit now differs by channel" in notes
    with torch.no_grad():
        reached = (module[0](x) > 6).double().mean()
    assert 0.02 < reached < 0.9
    assert relative_change(logits(network, x), logits(result, x)) < 1e-5
    _, after = result.capture(x)
    tops = after.outputs[1, 0].amax((0, 2, 3))
    assert float(tops.max() / tops.min()) > 1.2


def test_pairs_around_an_upper_limit_are_left_alone_on_request():
    network = network_of(uneven(chain(conv(3, 6), nn.ReLU6(), conv(6)), "0"))
    result, notes = recalibrate(network, "equalization", capped="leave")
    assert "`0`: an activation with an upper limit follows" in notes
    assert "stays as it is" in notes
    assert not result.plan.outputs
    for layer in network.table.layers:
        assert torch.equal(result.weight(layer), network.weight(layer))


def test_equalizing_once_more_changes_nothing():
    network, x = published("digits-mobilenet")
    once, _ = recalibrate(network, "equalization", x)
    twice, _ = recalibrate(once, "equalization", x)
    for layer in network.table.layers:
        torch.testing.assert_close(twice.weight(layer), once.weight(layer), rtol=3e-3, atol=1e-6)
    assert relative_change(logits(network, x), logits(twice, x)) < 1e-5


def test_too_few_rounds_are_admitted():
    network, x = published("digits-mobilenet")
    _, notes = recalibrate(network, "equalization", x, iterations=1)
    assert "After 1 round scales still change by" in notes
    _, notes = recalibrate(network, "equalization", x)
    assert "still change" not in notes


def test_what_batchnorm_says_of_a_layer_s_output_is_scaled_with_it():
    network, x = published("digits-mobilenet")
    result, _ = recalibrate(network, "equalization", x)
    for name in ("blocks.0.expand.0", "blocks.1.depthwise.0", "blocks.0.project.0"):
        (call,) = network.layer(name).calls
        before, after = ChannelMoments(), ChannelMoments()
        before.add(output_of(network, x, call), 1)
        after.add(output_of(result, x, call), 1)
        old, new = gaussians(network)[name], gaussians(result)[name]
        scale = (after.variance / before.variance).sqrt()
        torch.testing.assert_close(new.std / old.std, scale, rtol=1e-4, atol=0)
        torch.testing.assert_close(new.mean, old.mean * scale, rtol=1e-4, atol=1e-5)
        assert (name == "blocks.0.project.0") == bool((scale - 1).abs().max() < 1e-4)


def test_the_user_s_module_and_the_first_network_stay_as_they_were():
    network, x = published("digits-mobilenet")
    state = {k: v.clone() for k, v in network.module.state_dict().items()}
    before, plain = logits(network, x), network.module(x)
    recalibrate(network, "equalization", x)
    assert all(torch.equal(v, state[k]) for k, v in network.module.state_dict().items())
    assert torch.equal(logits(network, x), before)
    assert torch.equal(network.module(x), plain)


def test_a_transformer_has_no_pair_and_stays_as_it_is():
    network, x = published("digits-vit")
    result, notes = recalibrate(network, "equalization", x)
    assert "`gelu` behind it is not positively homogeneous" in notes
    assert "No pair of layers can be equalized" in notes
    assert torch.equal(logits(result, x), logits(network, x))
