"""Activation memory against hand counts, and against looking at every tensor at every call."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.models.cost import group_bits, peak_activation_bits, reference_peak_bits
from analysis.models.network import build_network
from analysis.models.schedule import largest, never_more
from analysis.models.vision_ops import import_torchvision
from analysis.records import Moment
from tests.analysis.models.toys import TOYS, built, conv, toy
from tests.reference import cifar_resnet20
from tests.reference.memory import Memory

# Values of one sample of toys: the image, a tensor of four channels on 8 x 8 pixels.
IMAGE, MAP = 3 * 64, 4 * 64


def peak(network, bits=8):
    return peak_activation_bits(network.table, [bits] * len(network.table.layers))


def test_a_chain_needs_what_a_layer_reads_and_what_it_makes():
    net = built(
        toy(
            lambda m, x: F.relu(m.b(F.relu(m.a(x)))),
            width=2,
            a=conv(3, 4),
            b=conv(4, 2),
        )
    )
    # a: image and map; b: map at 8 bits, and its result, which only a mean reads, in float.
    assert peak(net) == max((IMAGE + MAP) * 8, MAP * 8 + 2 * 64 * 32)
    assert peak(net, 4) == max((IMAGE + MAP) * 4, MAP * 4 + 2 * 64 * 32)


def test_a_chain_of_quantized_layers_by_hand():
    net = built(
        toy(
            lambda m, x: m.pool(m.c(F.relu(m.b(F.relu(m.a(x)))))).flatten(2),
            width=1,
            a=conv(3, 16),
            b=conv(16, 8),
            c=conv(8, 1),
            pool=nn.AdaptiveAvgPool2d(1),
        )
    )
    bits = {layer.name: b for layer, b in zip(net.table.layers, (8, 2, 4, 8), strict=True)}
    by_call = {
        "a": 3 * 64 * 8 + 16 * 64 * 2,
        "b": 16 * 64 * 2 + 8 * 64 * 4,
        "c": 8 * 64 * 4 + 64 * 32,
    }
    assert peak_activation_bits(net.table, list(bits.values())) == max(by_call.values())


def test_the_skip_of_a_residual_block_waits_in_memory():
    def body(m, x):
        x = F.relu(m.a(x))
        return F.relu(m.c(F.relu(m.b(x))) + x)

    plain = toy(lambda m, x: m.d(F.relu(m.c(F.relu(m.b(F.relu(m.a(x))))))), **_convs("abcd"))
    skipping = toy(lambda m, x: m.d(body(m, x)), **_convs("abcd"))
    # While c runs: what it reads and the skip at 8 bits, its sums, which only the addition reads.
    assert peak(built(skipping)) == 2 * MAP * 8 + MAP * 32
    # In the chain d needs most: what it reads, and its result in float.
    assert peak(built(plain)) == MAP * 8 + MAP * 32
    assert peak(built(skipping), 4) == 2 * MAP * 4 + MAP * 32


def test_an_activation_function_is_computed_where_its_argument_is_made():
    makers = (nn.ReLU(inplace=True), nn.ReLU(), nn.GELU(), nn.Hardswish(inplace=True))
    nets = [built(toy(lambda m, x: m.b(m.f(m.a(x))), a=conv(), b=conv(4), f=f)) for f in makers]
    assert {peak(net) for net in nets} == {MAP * 8 + MAP * 32}


def test_an_activation_whose_argument_is_read_again_has_memory_of_its_own():
    def body(m, x):
        y = m.a(x)
        return m.b(F.relu(y)) + y.mean(1, keepdim=True)

    # At b: y in float for the mean, relu(y) at 8 bits, and the one channel that b makes, in float.
    net = built(toy(body, width=1, a=conv(), b=conv(4, 1)))
    assert peak(net) == MAP * 32 + MAP * 8 + 64 * 32


def test_an_in_place_activation_of_a_quantized_tensor_overwrites_it():
    def body(m, x):
        y = m.a(x)
        z = m.b(y)
        return m.c(F.relu_(y)) + z

    # Two tensors of four channels, before and after the ReLU, are never there together; at c one
    # is, and the two channels in float that are added.
    net = built(toy(body, width=1, a=conv(), b=conv(4, 1), c=conv(4, 1)))
    assert peak(net, 16) == MAP * 16 + 2 * 64 * 32


def test_a_tensor_lives_until_the_last_of_several_readers():
    def body(m, x):
        x = F.relu(m.a(x))
        left, right = m.b(x), m.c(x)
        return torch.cat([left, right, m.d(x)], 1)

    net = built(toy(body, width=12, **_convs("abcd")))
    # At d: x at 8 bits and three results in float; at cat: three results and their copy.
    assert peak(net) == max(MAP * 8 + 3 * MAP * 32, 6 * MAP * 32)
    bits = [32] * 5
    assert peak_activation_bits(net.table, bits) == max(4 * MAP * 32, 6 * MAP * 32)


def test_what_only_a_max_pooling_reads_has_the_bits_of_its_result():
    net = built(
        toy(
            lambda m, x: m.b(F.max_pool2d(F.relu(m.a(x)), 2)), a=conv(3, 32), b=conv(32, 1), width=1
        )
    )
    average = built(
        toy(
            lambda m, x: m.b(F.avg_pool2d(F.relu(m.a(x)), 2)), a=conv(3, 32), b=conv(32, 1), width=1
        )
    )
    assert peak(net) == (32 * 64 + 32 * 16) * 8
    assert peak(average) == 32 * 64 * 32 + 32 * 16 * 8


def test_the_network_output_and_views_are_not_forgotten():
    net = built(TOYS["linear_norm"]())
    assert peak(net) == IMAGE * 8 + 6 * 32


@pytest.mark.parametrize("name", TOYS)
def test_every_network_agrees_with_looking_at_every_call(name):
    network = built(TOYS[name](), n=3)
    memory, draw = Memory(network), random.Random(0)
    groups = {layer.activation_group for layer in network.table.layers}
    for _ in range(12):
        bits = {group: draw.choice((1, 2, 4, 8, 16, 32)) for group in groups}
        own = [bits[layer.activation_group] for layer in network.table.layers]
        assert group_bits(network.table, own) == bits
        assert peak_activation_bits(network.table, own) == memory.peak_bits(bits)


@pytest.mark.parametrize("name", TOYS)
def test_no_moment_is_kept_that_another_one_covers(name):
    kept = built(TOYS[name]()).table.moments
    assert kept
    assert not any(never_more(a, b) for a in kept for b in kept if a is not b)


def test_the_number_of_samples_does_not_matter():
    for name in ("self_attention", "chunked", "residual"):
        assert built(TOYS[name](), n=2).table.moments == built(TOYS[name](), n=5).table.moments


def _moment(elements, unquantized, groups=(0, 1)):
    return Moment(at="", groups=groups, elements=elements, unquantized=unquantized)


def test_a_moment_is_covered_only_if_no_bits_make_it_larger():
    assert never_more(_moment((1, 2), 3), _moment((1, 2), 3))
    assert never_more(_moment((5, 0), 0), _moment((0, 0), 5))  # 5 b <= 5 * 32
    assert not never_more(_moment((6, 0), 0), _moment((0, 0), 5))
    assert not never_more(_moment((2, 0), 0), _moment((1, 9), 0))  # the second group at no bits
    assert never_more(_moment((2,), 1, (1,)), _moment((7, 2), 1))


def test_of_equal_moments_the_first_is_kept():
    first, second = _moment((1, 1), 0), _moment((1, 1), 0)
    assert largest([first, _moment((0, 1), 0), second]) == (first,)
    assert largest([]) == ()


def test_resnet20_needs_most_while_the_first_stage_adds():
    # 16 x 32 x 32 values: the skip and the argument of conv2 at 8 bits, the sums of conv2, which
    # only the addition reads and no quantizer sees, in 32: 6 x 16384 bytes = 0.09375 MiB.
    net = build_network(cifar_resnet20.build().eval(), torch.randn(2, 3, 32, 32))
    assert peak(net) == 6 * 16 * 32 * 32 * 8 == reference_peak_bits(net.table)
    assert peak(net) / 8 / 2**20 == 0.09375


@pytest.mark.slow
def test_published_networks_at_224_pixels():
    import_torchvision()
    from torchvision import models

    # 64 x 56 x 56 values of layer1: skip and argument at 8 bits, sums in 32. The stem needs less:
    # its 64 x 112 x 112 values feed a max pooling, so they lie in the 8 bits of what it makes.
    net = build_network(models.resnet18().eval(), torch.randn(2, 3, 224, 224))
    assert peak(net) == 6 * 64 * 56 * 56 * 8
    # The expanded 96 channels at 112 x 112 and the depthwise result at 56 x 56, both at 8 bits:
    # 1.436 MiB. The image is 0.144 MiB, and all additions come where maps are small.
    net = build_network(models.mobilenet_v2().eval(), torch.randn(2, 3, 224, 224))
    assert peak(net) == (96 * 112 * 112 + 96 * 56 * 56) * 8
    assert peak(net) / 8 / 2**20 == pytest.approx(1.4355, abs=1e-4)
    assert peak(net, 4) == peak(net) // 2


def _convs(names):
    return {name: conv(3 if name == "a" else 4) for name in names}
