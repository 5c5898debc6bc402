import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.models.activations import activation_after
from analysis.models.network import build_network
from analysis.models.vision_ops import import_timm, import_torchvision
from tests.analysis.models import toys
from tests.analysis.models.toys import built, conv, toy


def found(network):
    """By layer, what its post-activation is called or why there is none."""
    result = {}
    for layer in network.table.layers:
        slot, reason = activation_after(network.trace, layer, network.plan.skip)
        assert (slot is None) == bool(reason)
        result[layer.name] = reason or network.trace.describe(slot)
    return result


def after(body):
    """The answer for the first convolution of a toy."""
    network = built(toy(body, first=conv(), second=conv(4), bn=nn.BatchNorm2d(4)))
    return found(network)["first"]


FUNCTIONS = {
    "relu": F.relu,
    "relu_": lambda y: y.relu_(),
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "hardtanh in place": lambda y: F.hardtanh(y, inplace=True),
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "gelu": F.gelu,
    "silu": lambda y: F.silu(y, inplace=True),
    "mish": F.mish,
    "softplus": F.softplus,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "tanh method": lambda y: y.tanh(),
    "prelu": lambda y: F.prelu(y, torch.full((1,), 0.2)),
    "clamp": lambda y: y.clamp(0, 6),
    "threshold": lambda y: F.threshold(y, 0.1, 0.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_activation_function_is_known(name):
    answer = after(lambda m, x: m.second(FUNCTIONS[name](m.first(x))))
    assert answer.strip("_").startswith(name.split()[0].strip("_"))


def test_the_function_behind_a_folded_batchnorm_and_views_is_found():
    assert after(lambda m, x: m.second(F.relu(m.bn(m.first(x))))) == "relu"
    assert (
        after(lambda m, x: m.second(F.relu(m.first(x).flatten(2)).unflatten(2, (8, 8)))) == "relu"
    )
    assert after(lambda m, x: m.second(F.relu(F.dropout(m.first(x), 0.5, False)))) == "relu"


def test_a_product_with_the_own_sigmoid_is_an_activation():
    def silu(m, x):
        y = m.first(x)
        return m.second(y * y.sigmoid())

    def gated(m, x):
        y = m.first(x)
        return m.second(x.mean(1, keepdim=True) * y.sigmoid() + y)

    assert after(silu) == "mul"
    assert after(gated) == "several calls read its output (`sigmoid`, `add`)"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            lambda m, x: m.second(F.relu(m.first(x) + x.mean(1, keepdim=True))),
            "its output is added to another tensor first",
        ),
        (
            lambda m, x: m.second(m.first(x).add_(1.0)),
            "its output is added to another tensor first",
        ),
        (
            lambda m, x: m.second(m.first(x)),
            "no activation function follows, `conv2d` reads its output",
        ),
        (
            lambda m, x: m.second(F.relu(F.max_pool2d(m.first(x), 2))),
            "no activation function follows, `max_pool2d` reads its output",
        ),
        (
            lambda m, x: (lambda y: m.second(F.relu(y)) + y)(m.first(x)),
            "several calls read its output (`relu`, `add`)",
        ),
        (lambda m, x: (m.first(x), m.second(x.repeat(1, 2, 1, 1)[:, :4]))[1], ""),
    ],
)
def test_what_has_no_activation_says_why(body, reason):
    assert after(body) == (reason or "nothing reads its output")


def test_the_last_layer_makes_the_output_also_where_a_softmax_is_cut_off():
    for model in (toys.residual(), toys.softmax_end()):
        assert list(found(built(model)).values())[-1] == "its output is the network's"


def test_shared_layers_answer_for_their_first_call():
    assert found(built(toys.twice()))["again"] == "relu"


def test_resnet18_has_one_behind_the_first_convolution_of_every_block():
    model = import_torchvision().models.resnet18(weights=None).eval()
    answers = found(build_network(model, torch.randn(2, 3, 32, 32)))
    assert answers["conv1"] == "relu in relu"
    for stage in range(1, 5):
        for block in range(2):
            name = f"layer{stage}.{block}"
            assert answers[f"{name}.conv1"] == f"relu in {name}.relu"
            assert answers[f"{name}.conv2"] == "its output is added to another tensor first"
    assert answers["fc"] == "its output is the network's"


def test_mobilenet_v3_mixes_functions():
    model = import_torchvision().models.mobilenet_v3_small(weights=None).eval()
    answers = found(build_network(model, torch.randn(2, 3, 32, 32)))
    assert answers["features.0.0"] == "hardswish in features.0.2"
    assert answers["features.1.block.0.0"] == "relu in features.1.block.0.2"
    assert answers["features.1.block.1.fc2"].startswith("hardsigmoid")
    assert "`conv2d`" in answers["features.1.block.2.0"]
    assert answers["classifier.0"] == "hardswish in classifier.1"


def test_transformers_have_one_in_every_perceptron_only():
    vit = import_torchvision().models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=10).eval()
    answers = found(build_network(vit, torch.randn(2, 3, 32, 32)))
    with_one = [name for name, answer in answers.items() if " in " in answer]
    assert with_one == [f"encoder.layers.encoder_layer_{i}.mlp.0" for i in range(2)]


@pytest.mark.parametrize(
    ("name", "ends", "function"),
    [("convnext_atto", ".fc1", "gelu"), ("efficientnet_b0", ".conv_dw", "silu")],
)
def test_timm_models_have_one_where_their_blocks_do(name, ends, function):
    model = import_timm().create_model(name, num_classes=10).eval()
    answers = found(build_network(model, torch.randn(2, 3, 32, 32)))
    inner = [answer for layer, answer in answers.items() if layer.endswith(ends)]
    assert len(inner) > 10
    assert all(answer.startswith(f"{function} in ") for answer in inner)
