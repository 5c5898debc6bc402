from math import exp, pi, sqrt

import numpy as np
import pytest

from analysis.distributions.analytic import GRIDS, expected_error, optimal_clip
from analysis.errors import QuantizationError
from tests.reference import grids as oracle

DENSITIES = {
    "gauss": lambda x: exp(-x * x / 2) / sqrt(2 * pi),
    "laplace": lambda x: exp(-sqrt(2) * abs(x)) / sqrt(2),
}
# Optimal uniform mid-rise quantizers of a unit Gaussian: limit and error.
TEXTBOOK = {
    2: (1.991, 0.1188),
    3: (2.344, 0.03744),
    4: (2.682, 0.01154),
    5: (3.010, 3.495e-3),
    6: (3.330, 1.040e-3),
    7: (3.640, 3.043e-4),
    8: (3.938, 8.769e-5),
}


def levels(grid: str, bits: int, clip: float) -> np.ndarray:
    if grid == "symmetric":
        return oracle.grid(-clip, clip, bits, symmetric=True)
    if grid == "unsigned":
        return oracle.grid(0.0, clip, bits, symmetric=False)
    if grid == "affine":  # a hair wider, so that the zero point is no tie
        return oracle.grid(-clip * (1 + 1e-12), clip, bits, symmetric=False)
    step = 2 * clip / 2**bits
    return (np.arange(2**bits) - (2**bits - 1) / 2) * step


@pytest.mark.parametrize("bits", TEXTBOOK)
def test_the_mid_rise_grid_reproduces_the_textbook_table(bits):
    clip, error = TEXTBOOK[bits]
    found = optimal_clip("gauss", bits, "mid_rise")
    assert found.clip == pytest.approx(clip, abs=6e-4)
    assert found.error == pytest.approx(error, rel=6e-4)


@pytest.mark.parametrize("law", DENSITIES)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("bits", "clip"), [(2, 0.7), (2, 2.5), (3, 1.9), (5, 4.0)])
def test_expected_errors_equal_integrals_over_every_cell(law, grid, bits, clip):
    density = DENSITIES[law]
    if grid == "unsigned":
        density = lambda x: 2 * DENSITIES[law](x) if x >= 0 else 0.0  # noqa: E731
    expected = oracle.expected_error(density, levels(grid, bits, clip))
    assert expected_error(law, bits, grid, clip) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("law", DENSITIES)
def test_the_short_form_for_many_levels_agrees_with_the_cells(law, monkeypatch):
    short = expected_error(law, 10, "unsigned", 8.0)
    monkeypatch.setattr("analysis.distributions.analytic._MANY", 1 << 12)
    cells = expected_error(law, 10, "unsigned", 8.0)
    assert short != cells
    assert short == pytest.approx(cells, rel=1e-5)


@pytest.mark.parametrize("law", DENSITIES)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
def test_no_other_limit_is_better(law, grid, bits):
    found = optimal_clip(law, bits, grid)
    assert found.error == expected_error(law, bits, grid, found.clip)
    for clip in np.geomspace(0.05, 60, 150):
        assert expected_error(law, bits, grid, float(clip)) >= found.error * (1 - 1e-12)


@pytest.mark.parametrize("law", DENSITIES)
@pytest.mark.parametrize("grid", GRIDS)
def test_more_bits_reach_further_and_lose_less(law, grid):
    found = [optimal_clip(law, bits, grid) for bits in (2, 3, 4, 5, 6, 7, 8, 16)]
    assert np.all(np.diff([each.clip for each in found]) > 0)
    assert np.all(np.diff([each.error for each in found]) < 0)


@pytest.mark.parametrize(("law", "bits"), [("gauss", 4), ("laplace", 4), ("gauss", 8)])
def test_the_optimum_is_that_of_a_large_sample(law, bits):
    rng = np.random.default_rng(0)
    values = rng.normal(size=200_000) if law == "gauss" else rng.laplace(size=200_000) / sqrt(2)
    found = optimal_clip(law, bits, "symmetric")
    grid = oracle.grid(-found.clip, found.clip, bits, symmetric=True)
    step = grid[1] - grid[0]
    codes = np.clip(np.rint(values / step), grid[0] / step, grid[-1] / step)
    errors = (codes * step - values) ** 2
    assert abs(found.error - errors.mean()) < 4 * errors.std() / sqrt(len(values))


def test_laplace_needs_a_wider_range_than_gauss():
    for bits in (2, 4, 8):
        gauss, laplace = (optimal_clip(law, bits, "symmetric") for law in ("gauss", "laplace"))
        assert laplace.clip > gauss.clip


@pytest.mark.parametrize(
    ("law", "bits", "grid", "clip"),
    [
        ("cauchy", 4, "symmetric", 1.0),
        ("gauss", 1, "symmetric", 1.0),
        ("gauss", 4, "round", 1.0),
        ("gauss", 4, "symmetric", 0.0),
        ("gauss", 4, "symmetric", float("nan")),
    ],
)
def test_unknown_laws_grids_and_limits_are_refused(law, bits, grid, clip):
    with pytest.raises(QuantizationError, match="positive limit"):
        expected_error(law, bits, grid, clip)
