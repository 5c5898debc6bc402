from concurrent.futures import ThreadPoolExecutor
from math import log2

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.compiled import compiled
from analysis.distributions.streaming import Accumulator, binned, weight_distribution
from analysis.distributions.tally import BINS, SPARE, tally
from analysis.errors import QuantizationError
from tests.reference.distributions import check, histogram, rows


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def described(chunks, axis=None, workers=None):
    accumulator = Accumulator("values", workers)
    for chunk in chunks:
        accumulator.update(chunk, axis)
    return accumulator.finish()


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((3, 5, 7, 6), 1),
        ((3, 5, 7, 6), -1),
        ((3, 5, 7, 6), 0),
        ((3, 5, 7, 6), None),
        ((40, 700), 1),
        ((2, 600, 9), 1),
        ((2, 3, 300, 310), 1),
        ((530_000,), None),
        ((1, 1), 1),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tensor_is_described_as_in_two_passes(shape, axis, dtype):
    values = torch.randn(*shape, generator=generator(), dtype=dtype) * 3 - 1
    values[values > 4] = 0
    check(described([values], axis), rows(values, axis))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_described_exactly(dtype):
    values = torch.randn(4, 6, 50, generator=generator()).to(dtype)
    check(described([values], 1), rows(values, 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x[:, :, ::2],
        lambda x: x.transpose(2, 3),
        lambda x: x.expand(4, -1, -1, -1, -1)[1:].flatten(0, 1),
    ],
)
def test_any_memory_layout_is_read_right(change):
    values = change(torch.randn(3, 4, 10, 8, generator=generator()))
    check(described([values], 1), rows(values, 1))


def test_the_order_and_size_of_chunks_change_no_count_and_no_extreme():
    values = (
        torch.randn(60, 5, 20, generator=generator()) * torch.logspace(-3, 2, 60)[:, None, None]
    )
    whole = described([values], 1)
    shuffled = values[torch.randperm(60, generator=generator(1))]
    for chunks in (values.split(1), values.split(7), values.flip(0).split(1), shuffled.split(11)):
        found = described(chunks, 1)
        for name in ("count", "zeros", "start", "width"):
            assert getattr(found, name) == getattr(whole, name)
        assert np.array_equal(found.counts, whole.counts)
        exact = [0, 1, 5, 6]
        assert np.array_equal(found.channels[exact], whole.channels[exact])
        np.testing.assert_allclose(found.channels, whole.channels, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.statistics, whole.statistics, rtol=1e-5, atol=1e-7)


reals = st.floats(-(2.0**60), 2.0**60, width=32).filter(lambda x: x == 0 or abs(x) > 2.0**-60)


@settings(max_examples=200)
@given(st.lists(st.lists(reals, min_size=1, max_size=6), min_size=1, max_size=6))
def test_counts_are_exact_and_bins_fine_whatever_comes(chunks):
    tensors = [torch.tensor(chunk, dtype=torch.float32) for chunk in chunks]
    values = torch.cat(tensors).double().numpy()
    found = described(tensors)
    assert np.array_equal(found.counts, histogram(found, values))
    assert log2(found.width).is_integer()
    assert (found.start / found.width).is_integer()
    assert found.counts[0] > 0
    assert found.counts[-1] > 0
    assert len(found.counts) <= BINS
    if found.range:
        narrowest = max(2.0**-120, np.abs(values).max() * 2.0**-22)
        assert len(found.counts) > BINS / 2 or found.width <= narrowest * 2


def test_more_than_half_of_the_bins_are_used():
    shares = []
    for seed in range(30):
        values = torch.randn(50, generator=generator(seed)) * 1.1**seed + seed
        shares.append(len(described([values]).counts) / BINS)
    assert 0.5 < min(shares) < 0.6
    assert 0.9 < max(shares) <= 1


def test_values_far_from_zero_and_near_each_other_lie_in_bins_of_their_precision():
    values = 1000 + torch.arange(0, 9) * 2.0**-13
    found = described([values.double()])
    assert found.width == 2.0**-12
    assert found.counts.tolist() == [2, 2, 2, 2, 1]
    check(found, rows(values, None))


def test_a_wider_value_merges_bins_two_by_two():
    values = torch.arange(BINS).float()
    narrow, wide = described([values]), described([values, torch.tensor([1023.0])])
    assert (narrow.width, narrow.counts.tolist()) == (1.0, [1.0] * BINS)
    assert (wide.width, wide.counts.tolist()) == (2.0, [2.0] * 256 + [0.0] * 255 + [1.0])


def test_two_values_have_the_kurtosis_of_a_coin_and_a_grid_that_of_a_uniform_one():
    coin = described([torch.tensor([-1.0, 1.0, 1.0, -1.0])])
    assert coin.statistics.tolist() == [-1, 1, 0, 1, 1, pytest.approx(-1, abs=0.01), 1]
    n = 1001
    grid = described([torch.arange(n).float()])
    assert grid.value("std") == pytest.approx(((n**2 - 1) / 12) ** 0.5, rel=1e-6)
    assert grid.value("kurtosis") == pytest.approx(1.8 - 2.4 / (n**2 - 1), rel=1e-5)


def test_moments_survive_an_offset_and_an_unusual_first_chunk():
    noise = torch.randn(400_000, generator=generator())
    offset = (noise * 0.5 + 3000).float()
    check(described(offset.split(90_000)), rows(offset, None))
    late = torch.cat([torch.full((5000,), -40.0), noise])
    check(described([late[:5000], *late[5000:].split(50_000)]), rows(late, None))
    # The sample that the first sums are taken about is all zero.
    start = torch.cat([torch.zeros(1, 2, 500), 1000 + noise[:63_000].view(63, 2, 500)])
    check(described([start], 1), rows(start, 1))
    small = noise * 1e-20
    check(described([small]), rows(small, None))


@pytest.mark.parametrize("value", [0.0, 2.5, -1.25, 1e-30, -3e30])
def test_a_constant_tensor_has_one_bin_and_no_kurtosis(value):
    found = described([torch.full((4, 3), value)] * 2, 1)
    constant = torch.tensor(value).item()
    for column in (found.statistics, *found.channels.T):
        assert column[[0, 1, 2, 3, 5, 6]].tolist() == [constant] * 3 + [0] + [constant] * 2
        assert np.isnan(column[4])
    assert found.counts.tolist() == [24.0]
    assert found.start <= constant < found.start + found.width
    assert found.width >= abs(constant) / 128
    assert found.zeros == (24 if value == 0 else 0)
    assert found.dead.all()


def test_constant_channels_beside_others_are_dead_and_exact():
    values = torch.randn(50, 3, 40, generator=generator())
    values[:, 1] = 0.1
    found = described(values.split(9), 1)
    assert found.dead.tolist() == [False, True, False]
    constant = torch.tensor(0.1).item()
    assert found.channels[:4, 1].tolist() == [constant, constant, constant, 0]
    assert np.isnan(found.channels[4, 1])
    check(found, rows(values, 1))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (torch.zeros(0, 3), "is empty"),
        (torch.arange(6), "holds whole numbers (int64)"),
        (torch.ones(3, dtype=torch.uint8), "holds whole numbers (uint8)"),
        (torch.ones(3) > 0, "holds truth values (bool)"),
        (torch.ones(3, dtype=torch.complex64), "holds complex numbers (complex64)"),
        (torch.tensor([1.0, float("nan"), float("inf")]), "holds NaN"),
        (torch.tensor([1.0, float("inf")]), "holds infinite values"),
        (torch.tensor([1.0, float("-inf")]), "holds infinite values"),
        (torch.tensor([float("inf"), float("-inf")]), "holds infinite values"),
    ],
)
def test_what_cannot_be_described_says_why(values, reason):
    accumulator = Accumulator("scores")
    accumulator.update(values)
    assert accumulator.reason == reason
    with pytest.raises(QuantizationError, match="must hold finite floating-point") as error:
        accumulator.finish()
    assert f"`scores` {reason}." in str(error.value)


def test_a_reason_stays_and_an_empty_chunk_is_none():
    accumulator = Accumulator("values")
    accumulator.update(torch.zeros(0))
    accumulator.update(torch.ones(3))
    assert accumulator.reason == ""
    accumulator.update(torch.tensor([float("nan")]))
    accumulator.update(torch.ones(3))
    assert accumulator.reason == "holds NaN"


def test_several_threads_give_the_same_numbers():
    values = torch.randn(6, 70, 4000, generator=generator())
    with ThreadPoolExecutor(3) as workers:
        many = described(values.split(4), 1, workers)
    one = described(values.split(4), 1)
    assert np.array_equal(many.statistics, one.statistics)
    assert np.array_equal(many.channels, one.channels)
    assert np.array_equal(many.counts, one.counts)


def test_tables_grow_before_their_counts_overflow():
    accumulator = Accumulator("values")
    accumulator.update(torch.full((10,), 0.5))
    accumulator._table[:, 0] += 2**31 - 20  # as if so many had come
    accumulator._count += 2**31 - 20
    accumulator.update(torch.full((30,), 0.5))
    assert accumulator.finish().counts.tolist() == [2.0**31 + 20]


def test_torch_keeps_its_number_of_threads():
    torch.set_num_threads(2)
    described([torch.randn(100)])
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("axis", [0, 1, None])
def test_a_weight_is_described_along_its_channels(axis):
    weight = torch.nn.Parameter(torch.randn(6, 4, 3, 3, generator=generator()))
    found = weight_distribution(weight, axis, "conv.weight")
    assert found.title == "conv.weight"
    check(found, rows(weight.detach(), axis))


@pytest.mark.parametrize("most", [2, 3, 40, 256, 511, 512, 1000])
def test_merged_bars_hold_the_same_values(most):
    values = torch.randn(3000, generator=generator()) + 0.3
    found = described([values])
    edges, counts = binned(found, most)
    assert len(edges) == len(counts) + 1
    assert 1 <= len(counts) <= most
    assert len(counts) > most / 4 or len(counts) == len(found.counts)
    width = edges[1] - edges[0]
    assert log2(width / found.width).is_integer()
    assert np.array_equal(edges, np.arange(len(edges)) * width + edges[0])
    expected, _ = np.histogram(values.double().numpy(), edges)
    assert np.array_equal(counts, expected)


def test_one_bar_for_all_is_refused():
    with pytest.raises(ValueError, match="at least 2, got 1"):
        binned(described([torch.randn(5)]), 1)


def test_quantiles_among_the_zeros_of_a_relu_are_zero():
    x = torch.randn(4, 3, 50, generator=torch.Generator().manual_seed(0)).relu()
    found = weight_distribution(x, 1, "relu")
    assert found.value("q01") == 0
    assert found.value("q99") > 0
    assert (
        weight_distribution(x * 0 + (torch.arange(600).reshape(x.shape) > 596), 1, "rare").value(
            "q99"
        )
        == 0
    )


def test_every_place_of_a_wide_window_is_told_apart_and_zeros_are_in_theirs():
    counts, powers = np.zeros((1, BINS + SPARE), np.int32), np.zeros((4, 1))
    values = np.arange(-3, BINS - 3, dtype=np.float32)[None, None]
    tally(values, np.float32(1), -3, np.zeros(1, np.float32), counts, powers)
    expected = np.ones(BINS)
    expected[3] = 0  # zero is counted behind the bins
    np.testing.assert_array_equal(counts[0, :BINS], expected)
    assert counts[0, BINS:].sum() == 1
    exact = [sum(int(v) ** p for v in values.ravel()) for p in range(1, 5)]
    np.testing.assert_allclose(powers[:, 0], exact, rtol=1e-6)


def test_what_was_compiled_is_not_kept_where_nothing_can_be_written(monkeypatch):
    asked = []

    def njit(*, cache=False, **options):
        asked.append(cache)
        if cache:
            raise RuntimeError("no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    assert compiled(len) is len
    assert asked == [True, False]
