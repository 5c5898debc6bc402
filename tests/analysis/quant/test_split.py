"""A weight in coarse and fine parts: exact sums, closed forms, costs counted by hand."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.allocation import allocation_costs
from analysis.allocation_file import uniform_allocation
from analysis.errors import QuantizationError
from analysis.models.network import build_network
from analysis.quant.intervals import weight_quantizer
from analysis.quant.quantizer import Quantizer
from analysis.quant.split import (
    Split,
    added_bits,
    added_macs,
    at_centre,
    centre_of,
    check_whole,
    coarse_part,
    costs_with,
    why_whole,
)
from analysis.records import Candidate, QuantSettings
from tests.analysis.models import toys
from tests.analysis.models.toys import batch

MIN_MAX = QuantSettings(weight_range="min_max")
MIB = 8 * 2**20


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def identity_heavy(channels: int = 16, sigma: float = 0.0135) -> Tensor:
    """Taps that an identity branch was merged into: ones on the diagonal of the centre."""
    weight = sigma * drawn(channels, channels, 3, 3)
    weight[range(channels), range(channels), 1, 1] += 1
    return weight


def sqnr(weight: Tensor, values: Tensor) -> float:
    weight = weight.double()
    error = (values.double() - weight).square().sum()
    return float(10 * torch.log10(weight.square().sum() / error))


def parts(weight: Tensor, bits: int, axis: int | None) -> tuple[Split, Quantizer]:
    coarse, codes = coarse_part(weight, axis)
    rest = weight - at_centre(coarse.values(codes), weight)
    fine = weight_quantizer(rest, axis, f"int{bits}", MIN_MAX)
    return Split(coarse, codes, fine.codes(rest)), fine


@pytest.mark.parametrize("axis", [0, None])
@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (8, 1, 5, 5), (3, 2, 7), (2, 3, 3, 1, 5)])
def test_the_coarse_part_and_the_rest_are_the_weight_exactly(shape, axis):
    weight = drawn(*shape) * drawn(shape[0], *[1] * (len(shape) - 1), seed=1).exp()
    coarse, codes = coarse_part(weight, axis)
    centre = at_centre(coarse.values(codes), weight)
    rest = weight - centre
    assert torch.equal(centre + rest, weight)
    middle = tuple(k // 2 for k in shape[2:])
    for index in product(*map(range, shape[2:])):
        own = rest[(slice(None), slice(None), *index)]
        if index != middle:
            assert torch.equal(own, weight[(slice(None), slice(None), *index)])
        else:  # half a step of 254 over the range of the centre taps at most
            limit = centre_of(weight).abs()
            limit = limit.max() if axis is None else limit.flatten(1).amax(1)[:, None]
            assert (own.abs() <= limit / 254 * (1 + 1e-5)).all()


@pytest.mark.parametrize("axis", [0, None])
def test_codes_of_the_coarse_part_are_those_of_a_one_by_one_convolution(axis):
    weight = drawn(5, 4, 3, 3)
    split, fine = parts(weight, 4, axis)
    assert split.coarse_codes.shape == (5, 4, 1, 1)
    assert (split.coarse.qmin, split.coarse.qmax) == (-128, 127)
    assert split.coarse_codes.abs().max() == 127
    x = drawn(2, 4, 9, 9, seed=2)
    both = F.conv2d(x, fine.values(split.codes), padding=1, stride=2) + F.conv2d(
        x, split.coarse.values(split.coarse_codes), stride=2
    )
    assert torch.allclose(
        F.conv2d(x, split.values(fine), padding=1, stride=2), both, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("bits", "plain", "split"), [(8, 31.2, 56.3), (6, 19.1, 44.0)])
def test_an_identity_heavy_kernel_wins_decibels_per_tensor(bits, plain, split):
    weight = identity_heavy()
    nearest = weight_quantizer(weight, None, f"int{bits}", MIN_MAX)(weight)
    own, fine = parts(weight, bits, None)
    assert sqnr(weight, nearest) == pytest.approx(plain, abs=0.6)
    assert sqnr(weight, own.values(fine)) == pytest.approx(split, abs=0.6)


def test_at_four_bits_the_small_taps_are_no_longer_rounded_to_zero():
    weight = identity_heavy()
    nearest = weight_quantizer(weight, None, "int4", MIN_MAX)(weight)
    own, fine = parts(weight, 4, None)
    beside = torch.ones(3, 3, dtype=torch.bool)
    beside[1, 1] = False
    assert (nearest[..., beside] == 0).all()
    # All that is left of the signal's rest is noise: sum of the small taps' squares.
    assert sqnr(weight, nearest) == pytest.approx(15.9, abs=0.6)
    assert sqnr(weight, own.values(fine)) == pytest.approx(31.1, abs=0.6)


def test_the_gain_is_the_ratio_of_the_two_ranges():
    uniform = torch.rand(32, 32, 3, 3, generator=torch.Generator().manual_seed(3)) * 2 - 1
    weight = 0.05 * uniform
    centre_of(weight)[range(32), range(32)] += 1
    nearest = weight_quantizer(weight, None, "int8", MIN_MAX)
    own, fine = parts(weight, 8, None)
    ratio = 20 * torch.log10(nearest.scale / fine.scale).item()
    gain = sqnr(weight, own.values(fine)) - sqnr(weight, nearest(weight))
    assert ratio > 20
    assert gain == pytest.approx(ratio, abs=0.3)


def test_a_kernel_without_any_spread_wins_its_centre_taps_alone():
    weight = torch.rand(64, 64, 3, 3, generator=torch.Generator().manual_seed(4)) * 2 - 1
    nearest = weight_quantizer(weight, None, "int4", MIN_MAX)(weight)
    own, fine = parts(weight, 4, None)
    gain = sqnr(weight, own.values(fine)) - sqnr(weight, nearest)
    # One of nine taps is nearly exact: 10 log10(9 / 8).
    assert gain == pytest.approx(0.51, abs=0.1)


def test_only_convolutions_with_odd_kernels_have_a_centre():
    table = toys.built(toys.residual()).table
    conv, linear = (
        next(layer for layer in table.layers if layer.kind == kind) for kind in ("conv2d", "linear")
    )
    assert why_whole(conv) == ""
    assert "centre tap" in why_whole(linear)
    for kernel, there in [((1, 1), False), ((4, 4), False), ((3, 2), False), ((1, 7), True)]:
        other = replace(conv, weight_shape=(*conv.weight_shape[:2], *kernel))
        assert (why_whole(other) == "") == there
    assert why_whole(replace(conv, kind="conv_transpose2d")) == ""
    assert why_whole(replace(linear, weight_shape=(4, 3, 3))) != ""


def test_costs_count_both_parts():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.last = nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.conv(x)).mean((2, 3))

    table = build_network(Two().eval(), batch(2, 3, 8, 8)).table
    allocation = uniform_allocation(table, Candidate.parse("w4a6"), pin_first_last=False)
    plain = allocation_costs(table, allocation)
    split = parts(drawn(4, 3, 3, 3), 4, 0)[0]
    both = costs_with(table, allocation, plain, {"conv": split})
    layer = table.layers[0]
    taps, macs = 4 * 3, 4 * 3 * 64
    assert (added_bits(layer), added_macs(layer)) == (8 * taps, macs)
    bits = 4 * (108 + 8) + 32 * (4 + 2)
    eight = 8 * (108 + 8) + 32 * (4 + 2)
    assert plain.size_mib * MIB == pytest.approx(bits)
    assert both.size_mib * MIB == pytest.approx(bits + 8 * taps)
    assert both.size_ratio == pytest.approx((bits + 8 * taps) / eight)
    assert both.compression == pytest.approx(32 * (116 + 6) / (bits + 8 * taps))
    assert both.bops == pytest.approx(plain.bops + macs * 8 * 6)
    assert both.bops_ratio == pytest.approx(both.bops / ((108 + 8) * 64 * 64))
    assert both.avg_weight_bits == pytest.approx((4 * 116 + 8 * taps) / 116)
    assert both.scales_mib * MIB == pytest.approx(32 * (4 + 2 + 4))
    assert both.avg_activation_bits == plain.avg_activation_bits
    assert costs_with(table, allocation, plain, {}) == plain


def test_what_holds_one_set_of_codes_refuses_two_parts():
    split = parts(drawn(4, 3, 3, 3), 4, 0)[0]
    check_whole({}, "A table")
    with pytest.raises(QuantizationError, match=r"^A table must get one set of codes.*`a`, `b`"):
        check_whole({"a": split, "b": split}, "A table")
