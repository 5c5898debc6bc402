import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.models.replay import Plan
from analysis.recalibration.pairs import find_pairs
from tests.analysis.models import toys
from tests.analysis.models.toys import conv, toy
from tests.analysis.recalibration.nets import chain, network_of


def pairs_of(module: nn.Module, *shape: int) -> list[tuple[str, str]]:
    return [(p.first, p.second) for p in find_pairs(network_of(module, *shape)).pairs]


def test_a_chain_of_relus_and_poolings_gives_a_pair_for_every_two_neighbours():
    module = chain(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 1), nn.LeakyReLU(0.1), nn.AvgPool2d(3, 1, padding=1),
        nn.Conv2d(6, 4, 1), nn.PReLU(4), nn.Dropout(),
        nn.Conv2d(4, 5, 1),
    )  # fmt: skip
    assert pairs_of(module) == [("0", "4"), ("4", "7"), ("7", "10")]


def test_every_other_layer_is_left_out_with_its_reason():
    for module, name, reason in (
        (toys.residual(), "conv1", "read by 2 calls"),
        (toys.residual(), "conv2", "`add` joins its output with another tensor"),
        (toys.residual(), "head", "its output is the network's"),
        (toys.twice(), "first", "the layer behind it is called 2 times"),
        (toys.twice(), "again", "called 2 times in one pass"),
        (toys.residual_in_place(), "conv1", "changed in place"),
        (toys.add_ignored(), "conv2", "changed in place"),
        (toys.dense(), "conv3", "`cat` joins"),
        (toys.chunked(), "first", "takes its output apart"),
        (chain(conv(), nn.GELU(), conv(4)), "0", "`gelu` behind it is not positively homogeneous"),
        (chain(conv(), nn.SiLU(), conv(4)), "0", "`silu`"),
        (chain(conv(), nn.PixelShuffle(2), conv(1)), "0", "mix its channels"),
        (toys.linear_norm(), "head", "its output is the network's"),
    ):
        alone = find_pairs(network_of(module)).alone
        assert reason in alone[name], (name, alone)


def test_a_batchnorm_that_was_not_folded_ends_the_way():
    module = toy(
        lambda m, x: m.second(F.relu(m.bn(F.relu(m.first(x))))),
        first=conv(), bn=nn.BatchNorm2d(4), second=conv(4),
    )  # fmt: skip
    assert "`batch_norm`" in find_pairs(network_of(module)).alone["first"]


def test_behind_a_flattening_every_feature_is_known_by_its_channel():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    (pair,) = find_pairs(network_of(module)).pairs
    assert torch.equal(pair.channels, torch.arange(4).repeat_interleave(36))


def test_channels_that_change_places_are_followed():
    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 5, 1)

        def forward(self, x):
            return self.b(F.channel_shuffle(F.relu(self.a(x)), 2)).mean((2, 3))

    (pair,) = find_pairs(network_of(Shuffled().eval())).pairs
    assert pair.channels.tolist() == [0, 3, 1, 4, 2, 5]


def test_channels_that_a_padding_adds_hold_none():
    module = toy(lambda m, x: m.b(F.pad(F.relu(m.a(x)), (0, 0, 0, 0, 1, 1))), a=conv(), b=conv(6))
    pairs = {p.first: p for p in find_pairs(network_of(module)).pairs}
    assert pairs["a"].channels.tolist() == [-1, 0, 1, 2, 3, -1]


def test_tokens_are_followed_along_their_last_axis():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 5)

        def forward(self, x):
            return self.b(F.relu(self.a(x.flatten(1, 2)))).mean(1)

    (pair,) = find_pairs(network_of(Tokens().eval())).pairs
    assert (pair.first, pair.second, pair.channels.tolist()) == ("a", "b", list(range(6)))


def test_a_transform_that_is_no_clip_ends_the_way():
    network = network_of(chain(conv(), nn.ReLU(), conv(4)))
    for slot, reason in (((0, 0), "transformed already"), ((1, 0), "is transformed")):
        plan = network.plan | Plan(outputs={slot: torch.sin})
        changed = type(network)(network.module, network.trace, network.table, plan, network.axes)
        assert reason in find_pairs(changed).alone["0"]


@pytest.mark.parametrize("limit", [nn.ReLU6(), nn.Hardtanh(-0.5, 0.01)])
def test_an_upper_limit_is_found_with_its_value(limit):
    network = network_of(chain(conv(), limit, conv(4)))
    (pair,) = find_pairs(network).pairs
    ((_, clip),) = pair.clips.items()
    assert float(clip.low) == pytest.approx(limit.min_val)
    assert float(clip.high) == pytest.approx(limit.max_val)


def test_clamp_s_limits_are_not_seen_so_it_ends_the_way():
    module = toy(lambda m, x: m.b(m.a(x).clamp(0, 6)), a=conv(), b=conv(4))
    assert "`clamp`" in find_pairs(network_of(module)).alone["a"]
