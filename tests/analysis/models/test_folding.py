import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.errors import DataflowError
from analysis.models import demo
from analysis.models.dataflow import observe
from analysis.models.folding import fold_batchnorm
from analysis.models.network import build_network
from analysis.models.vision_ops import import_timm, import_torchvision
from tests.analysis.models import toys
from tests.analysis.models.toys import batch, built, conv, randomised, toy


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    kind, _, model = name.partition(":")
    if kind == "demo":
        return demo.load(model)
    if kind == "timm":
        return import_timm().create_model(model)
    return import_torchvision().models.get_model(model, weights=None)


@pytest.mark.parametrize(
    ("name", "shape", "norms"),
    [
        ("demo:digits-resnet", (1, 16, 16), 15),
        ("demo:digits-mobilenet", (1, 16, 16), 17),
        ("demo:digits-vit", (1, 16, 16), 0),
        ("torchvision:resnet18", (3, 64, 64), 20),
        ("torchvision:mobilenet_v2", (3, 64, 64), 52),
        ("torchvision:squeezenet1_1", (3, 64, 64), 0),
        ("torchvision:efficientnet_b0", (3, 64, 64), 49),
        pytest.param("torchvision:vit_b_16", (3, 224, 224), 0, marks=pytest.mark.slow),
        ("timm:vit_tiny_patch16_224", (3, 224, 224), 0),
        ("timm:convnext_atto", (3, 64, 64), 0),
        ("timm:mobilenetv3_small_050", (3, 64, 64), 34),
    ],
)
def test_folding_every_batchnorm_leaves_the_outputs_as_they_are(name, shape, norms):
    network = build_network(randomised(make(name)), batch(2, *shape))
    x = batch(2, *shape, seed=2)
    with torch.no_grad():
        expected, got = network.module(x), network(x)
    largest = expected.abs().max()
    assert largest > 1e-3  # an error relative to nothing would say nothing
    assert (got - expected).abs().max() / largest < 1e-4
    assert len(network.plan.skip) == norms
    assert sum(bool(layer.folded) for layer in network.table.layers) == norms


@pytest.mark.parametrize("make_toy", [toys.residual, toys.transposed, toys.linear_norm])
def test_folded_weights_equal_the_textbook_formula(make_toy):
    network = built(make_toy())
    folded = [layer for layer in network.table.layers if layer.folded]
    assert folded
    for layer in folded:
        norm = network.module.get_submodule(layer.folded)
        plain = network.module.get_submodule(layer.name)
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shape = [1] * plain.weight.dim()
        shape[layer.channel_axis] = -1
        bias = 0 if plain.bias is None else plain.bias
        torch.testing.assert_close(network.weight(layer), plain.weight * gain.reshape(shape))
        torch.testing.assert_close(
            network.bias(layer), (bias - norm.running_mean) * gain + norm.bias
        )


def test_a_batchnorm_without_affine_part_is_folded():
    network = built(
        toy(lambda m, x: m.bn(m.first(x)), first=conv(), bn=nn.BatchNorm2d(4, affine=False))
    )
    first = network.layer("first")
    norm = network.module.get_submodule("bn")
    assert first.folded == "bn"
    gain = torch.rsqrt(norm.running_var + norm.eps)
    torch.testing.assert_close(
        network.weight(first), network.module.first.weight * gain.reshape(-1, 1, 1, 1)
    )
    assert network.table.params_after_folding == network.table.params_before_folding


def _read_twice(m: nn.Module, x: Tensor) -> Tensor:
    y = m.first(x)
    return m.bn(y) + y


def _written(m: nn.Module, x: Tensor) -> Tensor:
    y = m.first(x)
    y[:, :1] = 0
    return m.bn(y)


def _conv_used_twice(m: nn.Module, x: Tensor) -> Tensor:
    return m.bn(m.second(m.second(m.first(x))))


def _flattened_tokens(m: nn.Module, x: Tensor) -> Tensor:
    return m.bn(m.fc(m.first(x).flatten(2).transpose(1, 2))).transpose(1, 2)


@pytest.mark.parametrize(
    ("body", "children", "reason"),
    [
        (lambda m, x: m.bn(F.relu(m.first(x))), {}, "follows `relu`"),
        (lambda m, x: m.first(m.bn(x)), {"bn": nn.BatchNorm2d(3)}, "reads the network's input"),
        (_read_twice, {}, "has other readers"),
        (_written, {}, "follows `setitem_`"),
        (_conv_used_twice, {"second": conv(4)}, "weight of `second` is used more than once"),
        (
            _flattened_tokens,
            {"fc": nn.Linear(4, 64), "bn": nn.BatchNorm1d(64)},
            "another axis than the outputs",
        ),
        (
            lambda m, x: m.bn(m.up(m.first(x))),
            {"up": nn.ConvTranspose2d(4, 4, 3, groups=2)},
            "grouped transposed convolution",
        ),
        (
            lambda m, x: m.bn(m.second(m.first(x))),
            {"second": toys.StandardisedConv(4, 4, 3)},
            "not a layer with a weight of its own",
        ),
    ],
)
def test_a_batchnorm_that_cannot_be_folded_is_kept_with_its_reason(body, children, reason):
    width = 64 if "fc" in children else 4
    module = toy(body, width, **({"first": conv(), "bn": nn.BatchNorm2d(4)} | children))
    network = built(module)
    skipped = {s.name: s for s in network.table.skipped}
    assert reason in skipped["bn"].reason
    assert skipped["bn"].num_params == sum(p.numel() for p in module.bn.parameters())
    assert network.plan.skip == frozenset()
    x = batch(seed=3)
    with torch.no_grad():
        assert torch.equal(network(x), module(x))


@pytest.mark.parametrize("affine", [True, False])
def test_a_batchnorm_without_running_statistics_is_not_folded_and_its_network_refused(affine):
    norm = nn.BatchNorm2d(4, affine=affine, track_running_stats=False)
    module = toy(lambda m, x: m.bn(m.first(x)), first=conv(), bn=norm)
    folding = fold_batchnorm(module, observe(module, batch()))
    assert folding.folded == {}
    assert "statistics of the batch" in folding.kept["bn"]
    # Its outputs depend on what else is in the batch: no score of a sample means anything.
    with pytest.raises(DataflowError, match="must not influence each other"):
        built(module)


def test_a_batchnorm_that_normalises_in_training_mode_is_not_folded():
    module = toy(lambda m, x: m.bn(m.first(x)), first=conv(), bn=nn.BatchNorm2d(4))
    module.bn.train()
    folding = fold_batchnorm(module, observe(module, batch()))
    assert folding.folded == {}
    assert "statistics of the batch" in folding.kept["bn"]


def test_one_batchnorm_after_two_convolutions_is_folded_into_both_and_counted_once():
    network = built(
        toy(
            lambda m, x: m.bn(m.left(x)) + m.bn(m.right(x)),
            left=conv(bias=False),
            right=conv(bias=False),
            bn=nn.BatchNorm2d(4),
        )
    )
    assert [network.layer(name).folded for name in ("left", "right")] == ["bn", "bn"]
    before = network.table.params_before_folding
    assert before == 2 * 108 + 8 + 25
    # Both convolutions gain a bias of 4, the BatchNorm's 8 go.
    assert network.table.params_after_folding == before
    assert network.table.params_after_folding == sum(n.num_params for n in network.table.layers)


def test_a_batchnorm_that_is_folded_once_and_kept_once_keeps_its_parameters():
    network = built(
        toy(lambda m, x: m.bn(F.relu(m.bn(m.first(x)))), first=conv(), bn=nn.BatchNorm2d(4))
    )
    assert network.layer("first").folded == "bn"
    assert {s.name: s.num_params for s in network.table.skipped} == {"bn": 8}
    assert network.table.params_after_folding == network.table.params_before_folding


def test_a_softmax_at_the_end_is_cut_off():
    network = built(toys.softmax_end())
    x = batch(seed=3)
    with torch.no_grad():
        logits, inner, outer = network(x), network.module[0](x), network.module(x)
    torch.testing.assert_close(logits, inner)
    torch.testing.assert_close(logits.softmax(1), outer)
    assert not torch.allclose(logits, outer)


@pytest.mark.parametrize(
    "end",
    [
        lambda z: F.log_softmax(z, dim=1),
        lambda z: torch.softmax(z, 1),
        lambda z: torch.softmax(input=z, dim=1),
        lambda z: z.softmax(-1),
    ],
)
def test_every_way_to_write_a_softmax_is_cut_off(end):
    class Ended(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(192, 5)

        def forward(self, x: Tensor) -> Tensor:
            return end(self.fc(x.flatten(1)))

    network = built(Ended().eval())
    x = batch(seed=3)
    with torch.no_grad():
        assert torch.equal(network(x), network.module.fc(x.flatten(1)))


def test_a_softmax_inside_the_network_is_not_cut_off():
    module = toy(lambda m, x: torch.softmax(m.first(x), 1), first=conv())
    x = batch(seed=3)
    with torch.no_grad():
        assert torch.equal(built(module)(x), module(x))
