import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import QuantizationError
from analysis.quant.formats import FORMATS
from analysis.quant.quantizer import Quantizer, affine_quantizer, symmetric_quantizer
from tests.reference.quantization import fake_quantize, fake_quantize_all

BITS = [int(name.removeprefix("int")) for name in FORMATS]


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def signed(bits: int, *limits: float, axis: int | None = None) -> Quantizer:
    return symmetric_quantizer(tensor(*limits), FORMATS[f"int{bits}"].grid(signed=True), axis)


def unsigned(bits: int, low: float, high: float) -> Quantizer:
    grid = FORMATS[f"int{bits}"].grid(signed=False)
    return affine_quantizer(tensor(low), tensor(high), grid)


def every_quantizer(bits: int) -> list[Quantizer]:
    return [
        signed(bits, 0.37),
        unsigned(bits, 0.0, 2.9),
        unsigned(bits, -1.3, 2.9),
        unsigned(bits, -1.3, 0.0),
    ]


@pytest.mark.parametrize("bits", BITS)
def test_codes_are_fixed_points(bits):
    for q in every_quantizer(bits):
        codes = torch.arange(q.qmin, q.qmax + 1).float()
        assert len(codes) == 2**bits
        assert torch.equal(q.codes(q.values(codes)), codes)
        assert torch.equal(q(q.values(codes)), q.values(codes))


@pytest.mark.parametrize("bits", BITS)
def test_codes_are_fixed_points_of_every_channel(bits):
    q = signed(bits, 0.37, 5.0, 1e-6, axis=0)
    codes = torch.arange(q.qmin, q.qmax + 1).float().expand(3, -1)
    assert torch.equal(q.codes(q.values(codes)), codes)
    assert torch.equal(q(q.values(codes)), q.values(codes))


@pytest.mark.parametrize("bits", BITS)
def test_agrees_with_the_definition_element_by_element(bits):
    x = torch.randn(3, 40, generator=torch.Generator().manual_seed(bits)).double()
    for q in every_quantizer(bits):
        scale, zero = q.scale.double().numpy(), q.zero_point.numpy()
        expected = fake_quantize_all(x.numpy(), scale, zero, q.qmin, q.qmax, None)
        assert np.array_equal(q(x).numpy(), expected)
        q = Quantizer(q.scale.repeat(3), q.zero_point.repeat(3), q.qmin, q.qmax, axis=0)
        assert np.array_equal(q(x).numpy(), expected)


def test_ties_round_to_the_even_code():
    q = Quantizer(torch.tensor([0.5]), torch.tensor([0.0]), -8, 7, axis=0)
    x = torch.tensor([[0.25, 0.75, 1.25, -0.25, -0.75]])
    assert q.codes(x).tolist() == [[0.0, 2.0, 2.0, 0.0, -2.0]]


@pytest.mark.parametrize("bits", BITS)
def test_agrees_with_torch_where_the_scale_is_a_power_of_two(bits):
    x = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(7)) * 3
    qmin, qmax = FORMATS[f"int{bits}"].grid(signed=True)
    scale = torch.tensor([2.0**-3, 2.0 ** (1 - bits)])
    zero = torch.zeros(2)
    torchs = torch.fake_quantize_per_channel_affine(x, scale, zero.int(), 0, qmin, qmax)
    assert torch.equal(Quantizer(scale, zero, qmin, qmax, axis=0)(x), torchs)


@pytest.mark.parametrize("zero_point", [0, 3, 8])
def test_the_fused_path_equals_the_formula_where_the_scale_is_a_power_of_two(zero_point):
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(7)) * 3
    q = Quantizer(torch.tensor([0.25]), torch.tensor([float(zero_point)]), 0, 15)
    ties = torch.arange(-40, 40) * 0.125
    for values in (x, ties):
        assert torch.equal(q(values), q.values(q.codes(values)))


def test_the_fused_path_differs_from_the_formula_by_one_step_and_only_at_ties():
    x = torch.randn(1_000_000, generator=torch.Generator().manual_seed(1))
    q = Quantizer(torch.tensor([0.013]), torch.tensor([0.0]), -128, 127)
    steps = (q(x) - q.values(q.codes(x))).abs() / q.scale
    differ = steps > 0.5
    assert float(steps.max()) < 1.001
    assert int(differ.sum()) < 100
    exact = (x[differ].double() / q.scale.double()) % 1
    assert bool(((exact - 0.5).abs() < 1e-4).all())


@given(
    x=st.floats(-1, 1, width=32), bits=st.sampled_from(BITS), limit=st.floats(2.0**-10, 1, width=32)
)
def test_error_is_at_most_half_a_step_inside_the_range(x, bits, limit):
    for q in (signed(bits, limit), unsigned(bits, -limit, limit), unsigned(bits, 0.0, limit)):
        levels = q.values(torch.tensor([float(q.qmin), float(q.qmax)]))
        inside = x * torch.tensor(1.0) if levels[0] <= x <= levels[1] else levels[0] * 0.3
        error = (q(inside.reshape(1)) - inside).abs()
        assert float(error) <= float(q.scale) / 2 * (1 + 1e-3) + 1e-7


@given(x=st.floats(-100, 100, width=32), bits=st.sampled_from(BITS))
def test_values_outside_go_to_the_outermost_level_and_are_called_clipped(x, bits):
    q = unsigned(bits, -0.5, 1.0)
    low, high = q.values(torch.tensor([float(q.qmin), float(q.qmax)])).tolist()
    half = float(q.scale) / 2
    if x > high + half * 1.01:
        assert float(q(torch.tensor([x]))) == pytest.approx(high)
    if x < low - half * 1.01:
        assert float(q(torch.tensor([x]))) == pytest.approx(low)
    outside = x > high + half or x < low - half
    near_edge = min(abs(x - high - half), abs(x - low + half)) < 1e-4 * half
    assert near_edge or bool(q.clipped(torch.tensor([x]))) == outside


@pytest.mark.parametrize("bits", BITS)
def test_zero_is_exactly_representable(bits):
    ranges = [(0.0, 1.0), (-0.3, 1.0), (-1.0, 0.3), (-1.0, 0.0), (0.2, 0.9), (-0.9, -0.2), (0, 0)]
    for low, high in ranges:
        q = unsigned(bits, low, high)
        assert float(q(torch.zeros(1))) == 0.0
        assert q.qmin <= float(q.zero_point) <= q.qmax
        assert float(q.zero_point) == int(q.zero_point)


def test_a_minimum_of_zero_or_more_gives_an_unsigned_grid_and_another_an_affine_one():
    assert unsigned(4, 0.0, 3.0).zero_point.tolist() == [0.0]
    assert unsigned(4, 0.5, 3.0).zero_point.tolist() == [0.0]
    assert unsigned(4, 0.5, 3.0).scale.tolist() == pytest.approx([0.2])
    assert unsigned(4, -1.0, 2.0).zero_point.tolist() == [5.0]
    assert unsigned(4, -3.0, 0.0).zero_point.tolist() == [15.0]


def test_the_largest_code_of_a_symmetric_grid_represents_the_limit():
    q = signed(4, 1.4)
    assert float(q(torch.tensor([1.4]))) == pytest.approx(1.4)
    assert float(q(torch.tensor([-9.0]))) == pytest.approx(-1.6)
    assert q.zero_point.tolist() == [0.0]


@pytest.mark.parametrize("bits", BITS)
def test_constant_channels_keep_their_value_and_zero_channels_stay_zero(bits):
    x = torch.stack([torch.full((5,), 0.7), torch.zeros(5), torch.full((5,), -0.7)])
    result = signed(bits, 0.7, 0.0, 0.7, axis=0)(x)
    assert torch.allclose(result, x, rtol=1e-6, atol=0)
    assert torch.equal(result[1], x[1])


@pytest.mark.parametrize("axis", [0, 1])
def test_each_channel_has_its_own_scale_whatever_its_axis(axis):
    x = torch.randn(3, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    limits = (0.5, 1.0, 2.0)
    result = signed(4, *limits, axis=axis)(x)
    for channel, limit in enumerate(limits):
        own = x.select(axis, channel)
        assert torch.equal(result.select(axis, channel), signed(4, limit)(own))


def test_sixteen_bits_hold_a_value_to_half_of_two_to_the_minus_15():
    x = torch.linspace(-1, 1, 10_001)
    assert float((signed(16, 1.0)(x) - x).abs().max()) <= 2.0**-16 * 1.01


def test_values_that_are_not_numbers_do_not_become_numbers():
    x = torch.tensor([float("nan"), 1.0])
    assert signed(4, 1.0)(x).isnan().tolist() == [True, False]
    assert signed(4, 1.0, axis=0)(x[None]).isnan().tolist() == [[True, False]]
    found = signed(4, 1.0)(x.requires_grad_())
    assert found.isnan().tolist() == [True, False]
    assert torch.autograd.grad(found.sum(), x)[0][1] == 1.0


def test_values_far_beyond_a_tiny_range_are_clipped_to_their_own_side():
    q = unsigned(8, 0.0, 0.0)
    far = torch.tensor([1e30, -1e30])
    assert torch.equal(q(far), q.values(torch.tensor([255.0, 0.0])))


def test_a_scale_that_is_not_positive_is_refused():
    with pytest.raises(QuantizationError, match="positive, got 0"):
        Quantizer(torch.tensor([1.0, 0.0]), torch.zeros(2), 0, 3, axis=0)


def test_shape_and_type_are_kept():
    for kind in (torch.float32, torch.float64):
        x = torch.ones(2, 3, dtype=kind)
        for q in (signed(4, 1.0), signed(4, 1.0, 1.0, axis=0)):
            assert (q(x).dtype, q(x).shape) == (kind, x.shape)


def test_the_oracle_rounds_half_to_even():
    assert [fake_quantize(v, 1.0, 0, -8, 7) for v in (0.5, 1.5, 2.5)] == [0.0, 2.0, 2.0]
