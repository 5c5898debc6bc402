from itertools import pairwise
from math import log10

import numpy as np
import pytest
import torch

from analysis.errors import OptionError
from analysis.options import build
from analysis.quant.estimators import RANGE_ESTIMATORS
from analysis.quant.formats import FORMATS
from analysis.quant.quantizer import affine_quantizer, symmetric_quantizer
from analysis.quant.ranges import Levels, Samples, squared_error
from analysis.quant.statistics import weight_samples
from tests.reference import quantization as oracle

LAWS = ("gauss", "laplace", "relu", "uniform")
# The others need to know how much every element counts.
UNSCORED = [method.name for method in RANGE_ESTIMATORS if not method.needs]
SIZES = (100, 1000, 10_000, 100_000, 1_000_000)


def draw(law: str, n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if law == "uniform":
        return torch.rand(n, generator=generator, dtype=torch.float64) * 2 - 1
    x = torch.randn(n, generator=generator, dtype=torch.float64)
    if law == "relu":
        return x.relu()
    if law == "laplace":
        sign = torch.randint(0, 2, (n,), generator=generator) * 2 - 1
        return sign * torch.empty(n, dtype=torch.float64).exponential_(generator=generator)
    return x


def levels(bits: int, symmetric: bool = True) -> Levels:
    return Levels(*FORMATS[f"int{bits}"].grid(signed=symmetric), symmetric=symmetric)


def estimate(name: str, samples: Samples, grid: Levels, **options: float):
    method = RANGE_ESTIMATORS[name]
    return method.function(samples, grid, build(method.options, options))


def quantized(x: torch.Tensor, low: torch.Tensor, high: torch.Tensor, grid: Levels):
    codes = (grid.qmin, grid.qmax)
    if grid.symmetric:
        return symmetric_quantizer(high, codes)(x)
    return affine_quantizer(low, high, codes)(x)


def sqnr(name: str, law: str, n: int, bits: int) -> float:
    x, grid = draw(law, n), levels(bits, symmetric=law != "relu")
    samples = Samples.of(x[None]) if n <= 10_000 else weight_samples(x, None)
    low, high = estimate(name, samples, grid)
    return oracle.sqnr_db(x.numpy(), quantized(x, low, high, grid).numpy())


# --- squared error -------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_squared_error_equals_the_definition_on_raw_values(bits):
    x = draw("gauss", 500)
    samples = Samples.of(x[None])
    for limit in (0.3, 2.0, 5.0):
        high = torch.tensor([limit], dtype=torch.float64)
        found = float(squared_error(samples, -high, high, levels(bits))) / len(x)
        assert found == pytest.approx(oracle.symmetric_error(x.numpy(), limit, bits), rel=1e-9)
        low = torch.tensor([-0.7], dtype=torch.float64)
        found = float(squared_error(samples, low, high, levels(bits, symmetric=False))) / len(x)
        assert found == pytest.approx(oracle.affine_error(x.numpy(), -0.7, limit, bits), rel=1e-9)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("limit", [0.3, 2.0, 5.0])
def test_squared_error_of_a_histogram_is_that_of_its_values(bits, limit):
    x = draw("gauss", 200_000)
    high = torch.tensor([limit], dtype=torch.float64)
    found = float(squared_error(weight_samples(x, None), -high, high, levels(bits))) / len(x)
    assert found == pytest.approx(oracle.symmetric_error(x.numpy(), limit, bits), rel=0.01)


def test_exact_zeros_of_a_histogram_cost_nothing():
    x = torch.cat([torch.zeros(50_000, dtype=torch.float64), draw("gauss", 5_000)])
    high = torch.tensor([4.0], dtype=torch.float64)
    for bits in (8, 16):
        found = float(squared_error(weight_samples(x, None), -high, high, levels(bits))) / len(x)
        assert found == pytest.approx(oracle.symmetric_error(x.numpy(), 4.0, bits), rel=0.03)


# --- mse -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "slack"), [(2, 1.01), (3, 1.01), (4, 1.01), (8, 1.03)])
@pytest.mark.parametrize("law", LAWS)
def test_mse_is_within_one_percent_of_a_fine_search(law, bits, slack):
    # At 8 bits the error of 2,000 values jumps with every limit: a finer grid has more luck.
    x = draw(law, 2000, seed=bits)
    grid = levels(bits, symmetric=law != "relu")
    low, high = estimate("mse", Samples.of(x[None]), grid)
    found = oracle.sqnr_db(x.numpy(), quantized(x, low, high, grid).numpy())
    search = oracle.best_unsigned_limit if law == "relu" else oracle.best_symmetric_limit
    _, least = search(x.numpy(), bits)
    best = 10 * log10(float(x.square().mean()) / least)
    assert found >= best - 10 * log10(slack)


def test_mse_finds_a_range_far_below_an_outlier():
    x = torch.cat([draw("gauss", 100_000), torch.tensor([200.0], dtype=torch.float64)])
    _, high = estimate("mse", Samples.of(x[None]), levels(2))
    _, least = oracle.best_symmetric_limit(x.numpy(), 2, steps=1000)
    assert oracle.symmetric_error(x.numpy(), float(high), 2) <= 1.01 * least


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_mse_of_an_affine_range_is_within_one_percent_of_a_fine_search(bits):
    x = draw("laplace", 400)
    x = torch.where(x < 0, 0.2 * x, x)
    low, high = (float(v) for v in estimate("mse", Samples.of(x[None]), levels(bits, False)))
    found = oracle.affine_error(x.numpy(), low, high, bits)
    bottom, top = float(x.min()), float(x.max())
    least = min(
        oracle.affine_error(x.numpy(), bottom * i / 60, top * j / 120, bits)
        for i in range(61)
        for j in range(1, 121)
    )
    assert found <= 1.01 * least


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_mse_is_never_worse_than_min_max(bits, symmetric):
    grid = levels(bits, symmetric)
    for samples in (
        Samples.of(torch.stack([draw(law, 300) for law in LAWS])),
        weight_samples(torch.stack([draw(law, 5000) for law in LAWS]), 0),
    ):
        best = squared_error(samples, *estimate("mse", samples, grid), grid)
        full = squared_error(samples, *estimate("min_max", samples, grid), grid)
        assert bool((best <= full).all())


@pytest.mark.parametrize("law", LAWS)
def test_more_bits_never_increase_the_error(law):
    # The search has a grid of its own: one percent of slack, the distance to a fine search.
    samples = Samples.of(draw(law, 1500)[None])
    errors = []
    for bits in (2, 3, 4, 5, 6, 7, 8, 16):
        grid = levels(bits, symmetric=law != "relu")
        errors.append(float(squared_error(samples, *estimate("mse", samples, grid), grid)))
    assert all(b <= 1.01 * a for a, b in pairwise(errors))


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_uniform_values_have_six_decibels_per_bit(bits):
    # Exactly 20 log10 of the steps; min-max leaves the lowest code of a symmetric grid unused.
    for name in ("min_max", "mse"):
        found = sqnr(name, "uniform", 100_000, bits)
        assert 20 * log10(2**bits - 2) - 0.1 <= found <= 20 * log10(2**bits) + 0.1
    assert sqnr("min_max", "uniform", 100_000, bits) == pytest.approx(
        20 * log10(2**bits - 2), abs=0.1
    )
    low, high = torch.tensor([-1.0]).double(), torch.tensor([1.0]).double()
    x, grid = draw("uniform", 100_000), levels(bits, symmetric=False)
    found = oracle.sqnr_db(x.numpy(), quantized(x, low, high, grid).numpy())
    assert found == pytest.approx(20 * log10(2**bits - 1), abs=0.1)
    assert found == pytest.approx(6.02 * bits, abs=0.6)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("law", ["gauss", "laplace"])
def test_mse_finds_the_best_clipping_of_a_density(law, bits):
    at = np.linspace(-14, 14, 20_001)
    density = np.exp(-np.abs(at)) if law == "laplace" else np.exp(-(at**2) / 2)
    limit, error = oracle.best_limit_for_density(density, at, bits)
    _, high = estimate("mse", weight_samples(draw(law, 1_000_000), None), levels(bits))
    assert float(high) == pytest.approx(limit, rel=0.05)
    assert oracle.expected_error(density, at, float(high), bits) <= 1.01 * error


# --- min-max and percentile ----------------------------------------------------------------------


def test_min_max_is_exact_and_holds_zero():
    rows = torch.tensor([[-2.0, 1.0, 0.5], [0.5, 1.0, 3.0], [-3.0, -1.0, -0.5]])
    low, high = estimate("min_max", Samples.of(rows), levels(4, symmetric=False))
    assert (low.tolist(), high.tolist()) == ([-2.0, 0.0, -3.0], [1.0, 3.0, 0.0])
    low, high = estimate("min_max", Samples.of(rows), levels(4))
    assert (low.tolist(), high.tolist()) == ([-2.0, -3.0, -3.0], [2.0, 3.0, 3.0])


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0, 99.9, 100.0])
def test_percentiles_equal_those_of_numpy(percent):
    x = draw("gauss", 3001)
    _, high = estimate("percentile", Samples.of(x[None]), levels(8), percent=percent)
    assert float(high) == np.percentile(x.abs().numpy(), percent, method="inverted_cdf")
    low, high = estimate("percentile", Samples.of(x[None]), levels(8, False), percent=percent)
    assert float(high) == max(np.percentile(x.numpy(), percent, method="inverted_cdf"), 0)
    assert float(low) == min(-np.percentile(-x.numpy(), percent, method="inverted_cdf"), 0)


def test_percentiles_of_counted_values_are_those_of_the_values_written_out():
    values = torch.tensor([[0.0, 1.0, 2.0, 5.0, 9.0]], dtype=torch.float64)
    counts = torch.tensor([[500.0, 300.0, 190.0, 0.0, 10.0]], dtype=torch.float64)
    written = Samples.of(values.repeat_interleave(counts.long()[0], dim=1))
    counted = Samples(values, counts, torch.zeros_like(values))
    for percent in (50.0, 80.0, 99.0, 99.5, 100.0):
        grid = levels(4, symmetric=False)
        expected = estimate("percentile", written, grid, percent=percent)
        assert estimate("percentile", counted, grid, percent=percent) == expected


def test_a_percentage_below_fifty_is_refused():
    with pytest.raises(OptionError, match="50"):
        build(RANGE_ESTIMATORS["percentile"].options, {"percent": 10.0})


# --- entropy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("law", LAWS)
def test_entropy_is_nearly_lossless_at_eight_bits(law, n):
    best = sqnr("mse", law, n, 8)
    assert sqnr("entropy", law, n, 8) >= best - 3.0
    assert best > 34


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("law", LAWS)
def test_entropy_is_sensible_at_four_bits_and_better_with_more_of_them(law, n):
    found = [sqnr("entropy", law, n, bits) for bits in (4, 6, 8)]
    assert found == sorted(found)
    assert found[0] >= sqnr("min_max", law, n, 4) - 0.5
    assert found[0] >= sqnr("mse", law, n, 4) - 4.5


def test_entropy_clips_a_lone_outlier():
    x = torch.cat([draw("gauss", 100_000), torch.tensor([100.0], dtype=torch.float64)])
    _, high = estimate("entropy", weight_samples(x, None), levels(4))
    assert 2.0 < float(high) < 7.0


def test_zeros_of_a_relu_do_not_move_the_entropy_range():
    positive = draw("gauss", 100_000).abs()
    many = torch.cat([positive, torch.zeros(300_000, dtype=torch.float64)])
    for bits in (4, 8):
        grid = levels(bits, symmetric=False)
        ranges = [estimate("entropy", weight_samples(x, None), grid) for x in (positive, many)]
        assert float(ranges[0][1]) == pytest.approx(float(ranges[1][1]), rel=1e-9)


def test_entropy_of_few_values_is_the_full_range():
    rows = draw("gauss", 4 * 27).reshape(4, 27)
    for bits in (4, 8, 16):
        found = estimate("entropy", Samples.of(rows), levels(bits))
        full = estimate("min_max", Samples.of(rows), levels(bits))
        assert torch.equal(found[1], full[1])


def test_the_divergence_is_that_of_the_definition_less_its_mean_without_loss():
    from analysis.quant.entropy import _divergence

    counts = [9.0, 0.0, 4.0, 7.0, 12.0, 3.0, 6.0, 2.0]
    found, noise = _divergence(
        torch.tensor([counts], dtype=torch.float64), 6, torch.zeros(1, dtype=torch.float64), 3
    )
    n = sum(counts)
    p = [9 / n, 0, 4 / n, 7 / n, 12 / n, (3 + 6 + 2) / n]
    kept = 9 + 4 + 7 + 12 + 3
    q = [9 / kept, 0, 5.5 / kept, 5.5 / kept, 7.5 / kept, 7.5 / kept]
    assert float(found) == pytest.approx(oracle.kl_divergence(p, q) - 2 / (2 * n))
    assert float(noise) == pytest.approx((2 * 2) ** 0.5 / (2 * n))


# --- every estimator -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNSCORED)
@pytest.mark.parametrize("symmetric", [True, False])
def test_rows_do_not_see_each_other(name, symmetric):
    rows = torch.stack(
        [draw(law, 600) * scale for law, scale in zip(LAWS, (1, 9, 0.1, 3), strict=True)]
    )
    grid = levels(4, symmetric)
    together = estimate(name, Samples.of(rows), grid)
    for i, row in enumerate(rows):
        alone = estimate(name, Samples.of(row[None]), grid)
        for side in (0, 1):
            assert float(together[side][i]) == pytest.approx(float(alone[side]), rel=1e-9)


@pytest.mark.parametrize("name", UNSCORED)
@pytest.mark.parametrize("symmetric", [True, False])
def test_ranges_scale_with_the_values(name, symmetric):
    x, grid = draw("gauss", 2000), levels(4, symmetric)
    once = estimate(name, Samples.of(x[None]), grid)
    eightfold = estimate(name, Samples.of(8 * x[None]), grid)
    for a, b in zip(once, eightfold, strict=True):
        assert float(b) == pytest.approx(8 * float(a), rel=1e-9)


@pytest.mark.parametrize("name", UNSCORED)
@pytest.mark.parametrize("count", [30, 5000])
def test_constant_and_zero_rows_have_a_finite_range(name, count):
    rows = torch.stack([torch.zeros(count), torch.full((count,), 0.3), torch.full((count,), -0.3)])
    for symmetric in (True, False):
        grid = levels(8, symmetric)
        low, high = estimate(name, weight_samples(rows, 0), grid)
        assert bool(low.isfinite().all())
        assert bool(high.isfinite().all())
        for i, row in enumerate(rows):
            result = quantized(row, low[i : i + 1], high[i : i + 1], grid)
            assert torch.allclose(result, row, atol=0.3 / 255)


@pytest.mark.parametrize("name", UNSCORED)
def test_many_channels_give_what_each_gives_alone(name):
    weight = torch.randn(130, 4500, generator=torch.Generator().manual_seed(0))
    samples = weight_samples(weight, 0)
    _, high = estimate(name, samples, levels(4))
    for i in (0, 64, 129):
        _, alone = estimate(name, weight_samples(weight[i : i + 1], 0), levels(4))
        assert float(high[i]) == pytest.approx(float(alone), rel=1e-9)
