from math import inf, isnan, nan

import numpy as np
import pytest
import torch

from analysis.distributions.explorer import clip_shares, explore
from analysis.distributions.grids import effective_levels, grid_error, levels_of
from analysis.errors import QuantizationError, UnknownNameError
from analysis.options import Options
from analysis.quant.estimators import RANGE_ESTIMATORS, plain_estimators
from analysis.quant.formats import FORMATS
from analysis.quant.ranges import Levels, Samples, squared_error
from analysis.quant.statistics import weight_samples
from analysis.registry import Registry
from tests.reference import grids as oracle


def levels(bits: int, symmetric: bool = True) -> Levels:
    return Levels(*FORMATS[f"int{bits}"].grid(signed=symmetric), symmetric=symmetric)


def ends(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def histogram(seed: int = 0) -> Samples:
    """Wide bins with a gap, exact values and an empty bin, in two channels of unlike widths."""
    generator = torch.Generator().manual_seed(seed)
    width = ends(0.0, 0.0, *[0.4] * 9)[None] * ends(1.0, 0.3)[:, None]
    values = (
        torch.cat([ends(0.0, 2.3), ends(-5, -4, -3, -1, 0, 1, 2, 3, 4) * 0.4 + 0.2])[None]
        * ends(1.0, 0.3)[:, None]
    )
    counts = torch.randint(0, 50, values.shape, generator=generator).double()
    counts[:, 5] = 0
    return Samples(values, counts, width)


def error_of(samples: Samples, low: torch.Tensor, high: torch.Tensor, grid: Levels):
    return grid_error(samples, low, high, grid, estimator="made", title="Made")


def explored(samples: Samples, name: str = "int4", signed: bool = True, **more: object):
    settings = {"title": "made", "per_channel": len(samples.values) > 1, "percentile": 99.0} | more
    return explore(samples, name, signed=signed, **settings)


# --- one range -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(("low", "high"), [(-0.7, 1.1), (0.0, 0.9), (-2.0, 0.3), (-9.0, 9.0)])
def test_the_split_of_raw_values_is_that_of_one_value_at_a_time(bits, low, high):
    x = normal(300)
    for symmetric in (True, False):
        lower = -high if symmetric else low
        found = error_of(Samples.of(x[None]), ends(lower), ends(high), levels(bits, symmetric))
        inside, outside, share = oracle.split_error(
            x.numpy(), oracle.grid(lower, high, bits, symmetric)
        )
        assert found.rounding == pytest.approx(inside, rel=1e-9, abs=1e-15)
        assert found.clipping == pytest.approx(outside, rel=1e-9, abs=1e-15)
        assert found.clipped == share


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3])
def test_the_split_of_bins_is_that_of_values_spread_over_them(bits, symmetric):
    samples, points = histogram(), 4000
    low, high = (-1.1, 1.1) if symmetric else (-0.63, 1.17)
    found = error_of(samples, ends(low, low / 3), ends(high, high / 3), levels(bits, symmetric))
    sums = np.zeros(3)
    for channel, factor in ((0, 1.0), (1, 1 / 3)):
        grid = oracle.grid(low * factor, high * factor, bits, symmetric)
        for x, n, width in zip(
            *(part[channel].tolist() for part in (samples.values, samples.counts, samples.width)),
            strict=True,
        ):
            values = oracle.spread(x, width, points if width else 1)
            sums += n * np.array(oracle.split_error(values, grid))
    expected = sums / float(samples.counts.sum())
    assert [found.rounding, found.clipping, found.clipped] == pytest.approx(expected, rel=1e-3)
    assert found.clipping > 0


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("limit", [0.02, 0.4, 1.7, 30.0])
def test_rounding_and_clipping_add_up_to_the_squared_error(bits, limit, symmetric):
    dead = torch.cat([normal(3, 5000), torch.zeros(1, 5000), torch.full((1, 5000), 0.3)]).double()
    for samples in (Samples.of(normal(5, 300)), histogram(), weight_samples(dead, 0)):
        high = limit * torch.linspace(1, 2, len(samples.values), dtype=torch.float64)
        low, grid = -high if symmetric else -0.3 * high, levels(bits, symmetric)
        found = error_of(samples, low, high, grid)
        whole = float(squared_error(samples, low, high, grid).sum() / samples.counts.sum())
        assert found.error == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_uniform_values_that_are_not_clipped_lose_a_twelfth_of_a_squared_step(bits):
    one_bin = Samples(ends(0.0)[None], ends(7.0)[None], ends(2.0)[None])
    # Half a step beyond the outermost levels is still rounded: the whole cells fit exactly.
    high = 1 / (1 + 0.5 / (2 ** (bits - 1) - 1))
    found = error_of(one_bin, ends(-high), ends(high), levels(bits))
    assert found.rounding == pytest.approx(found.step[0] ** 2 / 12, rel=1e-12)
    assert found.clipping == pytest.approx(0, abs=1e-15)
    assert found.clipped == pytest.approx(0, abs=1e-12)
    assert found.signal == pytest.approx(1 / 3)


def test_values_exactly_half_a_step_outside_are_rounded_not_clipped():
    samples = Samples.of(ends(1.5, 1.5000001, -2.5, -2.6)[None])
    found = error_of(samples, ends(-1.0), ends(1.0), levels(2))
    assert found.clipped == 0.5


def test_a_range_of_nothing_but_zeros_costs_nothing():
    found = error_of(Samples.of(torch.zeros(2, 4)), ends(0.0, 0.0), ends(0.0, 0.0), levels(4))
    assert (found.error, found.clipped, found.sqnr) == (0, 0, inf)


@pytest.mark.parametrize(("low", "high"), [(0.1, 1.0), (-1.0, -0.1), (-1.0, nan), (-inf, 1.0)])
def test_ranges_that_are_not_finite_or_miss_zero_are_refused(low, high):
    with pytest.raises(QuantizationError, match="finite and hold zero"):
        error_of(Samples.of(normal(1, 9)), ends(low), ends(high), levels(4, symmetric=False))


# --- every range ---------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [True, False])
def test_the_curve_is_the_error_of_ranges_cut_at_shares_of_the_reach(signed):
    for samples in (Samples.of(normal(3, 200)), histogram()):
        found = explored(samples, "int4", signed)
        assert found.levels == 16
        assert (found.share[0], found.share[-1]) == (pytest.approx(0.01), 1.0)
        grid = levels(4, signed)
        for i in (0, 40, 77, 95):
            limit = float(found.share[i]) * torch.maximum(-samples.low, samples.high)
            low = -limit if signed else torch.maximum(samples.low, -limit)
            high = limit if signed else torch.minimum(samples.high, limit)
            one = error_of(samples, low, high, grid)
            assert found.rounding[i] == pytest.approx(one.rounding, rel=1e-9)
            assert found.clipping[i] == pytest.approx(one.clipping, rel=1e-9, abs=1e-15)


def test_the_curve_does_not_depend_on_how_the_work_is_cut(monkeypatch):
    samples = Samples.of(normal(7, 300))
    whole = explored(samples)
    monkeypatch.setattr("analysis.distributions.explorer._BLOCK", 700)
    parts = explored(samples)
    assert parts.rounding == pytest.approx(whole.rounding, rel=1e-12)
    assert parts.clipping == pytest.approx(whole.clipping, rel=1e-12)


@pytest.mark.parametrize("signed", [True, False])
def test_min_max_is_the_end_of_the_curve_and_least_squares_at_or_below_it(signed):
    found = explored(Samples.of(normal(4, 500)), "int3", signed)
    by_name = {each.estimator: each for each in found.estimators}
    assert tuple(by_name) == plain_estimators()
    assert "hmse" not in by_name
    assert by_name["min_max"].error == pytest.approx(found.rounding[-1] + found.clipping[-1])
    assert by_name["min_max"].clipped == 0
    curve = found.rounding + found.clipping
    assert by_name["mse"].error <= curve.min() * (1 + 1e-9)
    assert found.best == int(np.argmin(curve))


def test_the_percentile_is_the_one_asked_for():
    x = torch.linspace(0, 100, 1001, dtype=torch.float64)
    for percent in (90.0, 99.0):
        found = explored(Samples.of(x[None]), signed=False, percentile=percent)
        chosen = next(each for each in found.estimators if each.estimator == "percentile")
        assert chosen.high[0] == pytest.approx(percent, abs=0.2)
        assert clip_shares(found)[found.estimators.index(chosen)] == pytest.approx(
            percent / 100, abs=0.002
        )


def test_an_estimator_that_fails_stands_among_the_others_with_its_reason(monkeypatch):
    registry: Registry = Registry("range estimator")
    registry.register("min_max", title="Min-max", answers="")(RANGE_ESTIMATORS["min_max"].function)

    @registry.register("picky", title="Picky", answers="")
    def picky(samples: Samples, grid: Levels, options: Options):
        raise QuantizationError("Picky needs prime numbers.")

    @registry.register("lost", title="Lost", answers="")
    def lost(samples: Samples, grid: Levels, options: Options):
        return -samples.high * nan, samples.high * nan

    monkeypatch.setattr("analysis.distributions.explorer.RANGE_ESTIMATORS", registry)
    found = explored(Samples.of(normal(2, 50)))
    assert [each.estimator for each in found.estimators] == ["min_max", "picky", "lost"]
    _, first, second = found.estimators
    assert first.title == "Picky: Picky needs prime numbers."
    assert "must be finite" in second.title
    for failed in (first, second):
        assert isnan(failed.error)
        assert isnan(failed.sqnr)
        assert failed.low.shape == (2,)
    assert np.isnan(clip_shares(found)).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("law", "name"), [("gauss", "int4"), ("laplace", "int4"), ("gauss", "int8")]
)
def test_the_analytic_share_of_a_large_sample_is_its_best_share(law, name):
    x = normal(1, 400_000)
    if law == "laplace":
        generator = torch.Generator().manual_seed(1)
        x = torch.empty_like(x).exponential_(generator=generator) * x.sign()
    for signed, values in ((True, x), (False, x), (False, x.relu())):
        found = explored(weight_samples(values, None), name, signed)
        share = getattr(found, law)
        # The minimum is flat: neighbouring shares of the curve are 5 % apart.
        assert share == pytest.approx(found.share[found.best], rel=0.12)
        samples = weight_samples(values, None)
        limit = share * torch.maximum(-samples.low, samples.high)
        low = -limit if signed else torch.maximum(samples.low, -limit).clamp_max(0)
        error = error_of(samples, low, limit, levels(FORMATS[name].bits, signed)).error
        # At 8 bits a handful of values decides where the best limit of a sample lies.
        assert error <= 1.05 * (found.rounding + found.clipping).min()


def test_zeros_do_not_move_the_analytic_optimum():
    x = normal(1, 3000)
    padded = torch.cat([x, torch.zeros(1, 9000, dtype=torch.float64)], 1)
    assert explored(Samples.of(padded)).gauss == pytest.approx(explored(Samples.of(x)).gauss)


def test_the_analytic_optimum_of_channels_is_the_mean_of_their_shares():
    x = normal(3, 400) * ends(1.0, 5.0, 0.1)[:, None]
    alone = [explored(Samples.of(row[None])).laplace for row in x]
    assert explored(Samples.of(x)).laplace == pytest.approx(np.mean(alone))


def test_values_without_deviation_have_no_analytic_optimum():
    for value in (0.0, 2.0):
        found = explored(Samples.of(torch.full((2, 5), value)))
        assert isnan(found.gauss)
        assert isnan(found.laplace)
        assert np.isfinite(found.rounding).all()


def test_one_dead_channel_leaves_the_others_as_they_are():
    x = normal(3, 400)
    x[1] = 0
    found, rest = explored(Samples.of(x)), explored(Samples.of(x[[0, 2]]))
    assert found.gauss == pytest.approx(rest.gauss)
    assert found.rounding * 3 == pytest.approx(rest.rounding * 2)
    assert clip_shares(found) == pytest.approx(clip_shares(rest))


def test_no_values_infinite_values_and_unknown_formats_are_refused():
    with pytest.raises(QuantizationError, match="at least one value"):
        explored(Samples.of(torch.zeros(1, 0)))
    for bad in (nan, inf):
        with pytest.raises(QuantizationError, match="NaN or infinite"):
            explored(Samples.of(ends(0.0, 1.0, bad)[None]))
    with pytest.raises(UnknownNameError, match="int4"):
        explored(Samples.of(normal(1, 9)), "int44")


def test_the_number_of_threads_is_put_back():
    torch.set_num_threads(2)
    explored(Samples.of(normal(2, 20)))
    assert torch.get_num_threads() == 2


# --- levels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_levels_are_those_of_the_grid(bits):
    assert levels_of(-1.3, 1.3, levels(bits)) == pytest.approx(oracle.grid(-1.3, 1.3, bits, True))
    found = levels_of(-0.4, 1.3, levels(bits, symmetric=False))
    assert found == pytest.approx(oracle.grid(-0.4, 1.3, bits, False))
    assert np.abs(found).min() == 0


def test_of_too_many_levels_some_are_drawn_with_both_ends():
    found, every = levels_of(-2.0, 2.0, levels(16)), oracle.grid(-2.0, 2.0, 16, True)
    assert len(found) == 256
    assert found[[0, -1]] == pytest.approx(every[[0, -1]])
    assert np.diff(found) == pytest.approx(4 / 255, rel=0.01)


def test_effective_levels_count_the_codes_that_occur():
    samples = Samples.of(
        torch.stack([ends(-1.0, -0.9, 0.0, 0.1, 1.0), ends(0.0, 0.0, 0.0, 0.0, 0.0)])
    )
    # Codes of the first are -3, -3, 0, 0, 3 of 8; those of the second all 0.
    found = effective_levels(samples, ends(-1.0, -1.0), ends(1.0, 1.0), levels(3))
    assert found.tolist() == [3 / 8, 1 / 8]


def test_effective_levels_of_a_histogram_are_about_those_of_its_values():
    x = normal(1, 20_000)
    for bits, slack in ((8, 0.02), (16, 0.05)):
        grid = levels(bits)
        raw = effective_levels(Samples.of(x), -x.amax(1), x.amax(1), grid)
        found = effective_levels(weight_samples(x, None), -x.amax(1), x.amax(1), grid)
        assert found == pytest.approx(raw, rel=slack)
