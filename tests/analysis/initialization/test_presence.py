import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from analysis.initialization.initializers import INITIALIZERS, Fans
from analysis.initialization.networks import build_lab_network, initialize
from analysis.initialization.presence import expected_ranges, layer_fans, moved
from analysis.models.network import build_network
from analysis.records import LayerTable


class Kinds(nn.Module):
    """One layer of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(12, 12, 5, padding=2, groups=12)
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2, groups=3)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        x = self.depthwise(self.grouped(self.stem(x).relu()).relu()).relu()
        return self.fc(self.up(x).relu().mean((2, 3)))


def table_of(model: nn.Module, *shape: int) -> LayerTable:
    return build_network(model.eval(), torch.rand(2, *shape)).table


def test_fans_are_read_off_the_layer_table():
    table = table_of(Kinds(), 3, 6, 6)
    wanted = {
        "stem": Fans(27, 72),
        "grouped": Fans(18, 27),
        "depthwise": Fans(25, 25),
        "up": Fans(16, 8),
        "fc": Fans(6, 4),
    }
    assert {layer.name: layer_fans(table, layer) for layer in table.layers} == wanted


def test_groups_that_cannot_be_told_are_a_reason_not_a_guess():
    table = table_of(Kinds(), 3, 6, 6)
    odd = tuple(dataclasses.replace(t, shape=(7, *t.shape[1:])) for t in table.tensors)
    table = dataclasses.replace(table, tensors=odd)
    found = {(e.layer, e.initializer): e for e in expected_ranges(table)}
    assert found["grouped", "he_normal"].expected is not None
    assert found["grouped", "glorot_uniform"].expected is None
    assert "groups" in found["grouped", "glorot_uniform"].reason
    ratios = moved(table, INITIALIZERS["glorot_normal"], *np.ones((3, 5)))
    assert math.isnan(ratios.std[1])
    assert not ratios.inherited[1]
    assert ratios.std[4] == pytest.approx(1 / math.sqrt(2 / 10))


def test_every_layer_is_expected_from_every_initializer():
    table = table_of(Kinds(), 3, 6, 6)
    found = expected_ranges(table)
    assert [(e.initializer, e.layer) for e in found] == [
        (name, layer) for name in INITIALIZERS for layer in table.names
    ]
    he = next(e for e in found if (e.initializer, e.layer) == ("he_normal", "stem"))
    assert he.expected.std == pytest.approx(math.sqrt(2 / 27))


def observed(model: nn.Module, table: LayerTable) -> np.ndarray:
    weights = [model.get_parameter(layer.weight_name).detach() for layer in table.layers]
    return np.array([[w.std().item(), w.min().item(), w.max().item()] for w in weights]).T


def test_a_network_as_it_was_drawn_has_not_moved():
    model = build_lab_network("regular")
    for name in ("he_normal", "glorot_uniform", "orthogonal"):
        initialize(model, INITIALIZERS[name], torch.Generator().manual_seed(0))
        table = table_of(model, 1, 16, 16)
        found = moved(table, INITIALIZERS[name], *observed(model, table))
        assert found.std == pytest.approx(np.ones(6), rel=0.1)
        assert found.range == pytest.approx(np.ones(6), rel=0.25)
        assert found.largest == pytest.approx(np.ones(6), rel=0.35)
        assert found.widest.max() < 1.1
        assert sum(found.inherited) >= 5


def test_a_layer_that_grew_says_by_how_much_and_that_it_was_not_inherited():
    model = build_lab_network("regular")
    initialize(model, INITIALIZERS["glorot_uniform"], torch.Generator().manual_seed(0))
    table = table_of(model, 1, 16, 16)
    std, low, high = observed(model, table)
    before = moved(table, INITIALIZERS["glorot_uniform"], std, low, high)
    grown = np.where(np.arange(6) == 2, 5.0, 1.0)
    after = moved(table, INITIALIZERS["glorot_uniform"], std * grown, low * grown, high * grown)
    assert after.std / before.std == pytest.approx(grown)
    assert after.range / before.range == pytest.approx(grown)
    assert after.widest[2] > 4
    assert not after.inherited[2]
