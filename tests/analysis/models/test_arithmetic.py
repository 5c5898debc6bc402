"""Arithmetic outside the layers, counted by hand."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.errors import QuantizationError
from analysis.models.cost import arithmetic_effort, bops, reference_effort
from tests.analysis.models.toys import TOYS, built, conv, toy

MAP = 4 * 64


def outside(network, bits=8):
    """The effort beyond that of the layers."""
    own = [bits] * len(network.table.layers)
    return arithmetic_effort(network.table, own, own) - bops(network.table, own, own)


def test_activations_additions_and_poolings_count_what_they_read():
    def body(m, x):
        x = F.relu(m.a(x))
        return F.avg_pool2d(F.relu(m.b(x) + x), 2)

    net = built(toy(body, a=conv(), b=conv(4)))
    floats = MAP + MAP + MAP + MAP + MAP // 4  # two ReLUs, the addend, the pooling, the mean
    assert outside(net, 8) == floats * 32 + MAP * 8
    assert outside(net, 2) == floats * 32 + MAP * 2


def test_views_and_folded_norms_cost_nothing():
    net = built(toy(lambda m, x: m.bn(m.a(x)).flatten(2).transpose(1, 2).mT, a=conv(), bn=_norm()))
    assert outside(net) == MAP * 32  # the mean before the head


def test_products_of_activations_are_multiply_accumulates_of_32_bits():
    def body(m, x):
        t = m.a(x).flatten(2)
        return t @ (t.mT @ t)

    work = built(toy(body, a=conv())).table.arithmetic
    assert work.products == 64 * 4 * 64 + 4 * 64 * 64
    written = built(TOYS["separate_projections"]()).table.arithmetic  # as a single call
    assert written.products == 64 * 64 * 4 + 64 * 64 * 4


def test_a_product_counts_per_sample():
    two, five = (built(TOYS["self_attention"](), n).table.arithmetic for n in (2, 5))
    assert two == five


def test_calls_that_cannot_be_counted_are_refused_by_name():
    def body(m, x):
        t = m.a(x).flatten(2)
        return torch.einsum("nct,ndt->ncd", t, t)

    net = built(toy(body, a=conv()))
    with pytest.raises(QuantizationError, match=r"`einsum`.*Use bops"):
        reference_effort(net.table)
    with pytest.raises(QuantizationError, match="any call"):
        reference_effort(dataclasses.replace(net.table, arithmetic=None))


def _norm():
    return nn.BatchNorm2d(4)
