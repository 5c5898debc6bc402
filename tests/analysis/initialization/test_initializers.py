import math
import re

import numpy as np
import pytest
import torch
from scipy import stats

from analysis.errors import OptionError, UnknownNameError
from analysis.initialization.draws import SphereEntry, expected_range
from analysis.initialization.initializers import (
    INITIALIZERS,
    NORMAL_SCALES,
    UNIFORM_SCALES,
    Fans,
    fans,
    parse_initializer,
)

OWN = ("normal:0.1:0.3", "uniform:-0.2:0.6")


def drawn(name: str, shape: tuple[int, ...], groups: int = 1, seed: int = 0) -> torch.Tensor:
    found = fans(shape, groups)
    generator = torch.Generator().manual_seed(seed)
    return parse_initializer(name).draw(shape, generator, found.fan_in, found.fan_out)


# --- fans ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "groups", "transposed", "wanted"),
    [
        ((10, 32), 1, False, (32, 10)),
        ((16, 8, 3, 3), 1, False, (72, 144)),
        ((16, 1, 3, 3), 16, False, (9, 9)),  # depthwise
        ((32, 1, 3, 3), 16, False, (9, 18)),  # depthwise with two outputs a channel
        ((16, 4, 5, 5), 2, False, (100, 200)),  # 8 inputs to 16 outputs in 2 groups
        ((8, 16, 2, 2), 1, True, (32, 64)),  # transposed: 8 inputs, 16 outputs
        ((8, 2, 2, 2), 4, True, (8, 8)),  # transposed, 4 groups of 2 inputs and 2 outputs
    ],
)
def test_fans_count_what_one_output_reads_and_one_input_reaches(shape, groups, transposed, wanted):
    assert fans(shape, groups, transposed=transposed) == Fans(*wanted)


# --- draws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*INITIALIZERS, *OWN])
@pytest.mark.parametrize(("shape", "groups"), [((160, 96, 3, 3), 1), ((4096, 1, 3, 3), 4096)])
def test_a_big_draw_has_the_deviation_that_is_expected_of_it(name, shape, groups):
    expected = parse_initializer(name).expected(shape, fans(shape, groups))
    found = drawn(name, shape, groups).double()
    assert found.shape == shape
    assert found.std(correction=0).item() == pytest.approx(expected.std, rel=0.01)


def test_scaled_initializers_follow_their_formulas():
    i, o = 32 * 9, 64 * 9
    wanted = {
        "glorot_normal": math.sqrt(2 / (i + o)),
        "he_normal": math.sqrt(2 / i),
        "lecun_normal": math.sqrt(1 / i),
    }
    for name, std in wanted.items():
        assert INITIALIZERS[name].expected((64, 32, 3, 3), Fans(i, o)).std == pytest.approx(std)
        uniform = drawn(name.replace("normal", "uniform"), (64, 32, 3, 3))
        limit = math.sqrt(3) * std
        assert 0.999 * limit < uniform.abs().max().item() <= limit * (1 + 1e-6)


def test_constant_initializers_do_not_look_at_the_fans():
    for size, half in UNIFORM_SCALES.items():
        for shape in ((50, 40), (50, 40, 5, 5)):
            assert half * 0.98 < drawn(f"uniform_{size}", shape).abs().max().item() <= half
    for size, std in NORMAL_SCALES.items():
        for shape in ((300, 40), (50, 40, 5, 5)):
            assert drawn(f"normal_{size}", shape).std().item() == pytest.approx(std, rel=0.03)


def test_truncated_normal_ends_at_two_deviations():
    found = drawn("truncated_normal", (500, 500))
    assert 0.0999 < found.abs().max().item() <= 0.1 + 1e-7
    # Var = 1 - 2 a phi(a) / (2 Phi(a) - 1) for a cut at a = 2.
    a = 2.0
    share = 1 - 2 * a * stats.norm.pdf(a) / (2 * stats.norm.cdf(a) - 1)
    assert found.std().item() == pytest.approx(0.05 * math.sqrt(share), rel=0.01)


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((12, 40), 1), ((40, 12), 1), ((8, 4, 3, 3), 1), ((12, 2, 2, 2), 3), ((6, 1, 3, 3), 6)],
)
def test_orthogonal_weights_have_orthonormal_rows_or_columns_in_every_group(shape, groups):
    for block in drawn("orthogonal", shape, groups).double().flatten(1).chunk(groups):
        rows, columns = block.shape
        product = block @ block.T if rows <= columns else block.T @ block
        assert torch.allclose(product, torch.eye(min(rows, columns)).double(), atol=1e-6)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_draws_are_those_of_the_generator_alone(name):
    shape = (6, 4, 3, 3)
    before = torch.random.get_rng_state()
    assert torch.equal(drawn(name, shape, seed=3), drawn(name, shape, seed=3))
    assert not torch.equal(drawn(name, shape, seed=3), drawn(name, shape, seed=4))
    assert torch.equal(before, torch.random.get_rng_state())


# --- expected extremes ---------------------------------------------------------------------------


def test_the_extremes_of_uniform_draws_are_powers():
    n, a = 200, UNIFORM_SCALES["medium"]
    found = INITIALIZERS["uniform_medium"].expected((n, 1), Fans(1, n))
    assert found.largest == pytest.approx(a * 0.5 ** (1 / n), rel=1e-12)
    assert found.largest_low == pytest.approx(a * 0.025 ** (1 / n), rel=1e-12)
    assert found.largest_high == pytest.approx(a * 0.975 ** (1 / n), rel=1e-12)
    assert found.high == pytest.approx(-a + 2 * a * 0.5 ** (1 / n), rel=1e-12)
    assert found.low == pytest.approx(-found.high)
    assert found.range == pytest.approx(2 * found.high)


def test_one_normal_draw_has_the_textbook_quantiles():
    found = expected_range(stats.norm(0, 2), 1)
    assert found.largest == pytest.approx(2 * 0.6744897501960817)
    assert found.largest_high == pytest.approx(2 * stats.norm.ppf(0.9875))
    assert found.high == pytest.approx(0.0, abs=1e-12)


def test_magnitudes_of_shifted_draws_count_both_tails():
    found = expected_range(stats.uniform(-1, 4), 1)  # |x| is in [0, 1] half of the time
    assert found.largest == pytest.approx(1.0)
    assert found.largest_high == pytest.approx(2.9)
    for n in (1, 10, 10**7):
        shifted = expected_range(stats.norm(0.5, 1), n)
        tail = stats.norm.sf(shifted.largest - 0.5) + stats.norm.cdf(-shifted.largest - 0.5)
        assert (1 - tail) ** n == pytest.approx(0.5, rel=1e-6)


def test_a_million_draws_are_not_lost_to_cancellation():
    found = expected_range(stats.norm(0, 1), 10**12)
    # P(|x| > t) = ln 2 / n up to second order.
    assert 2 * stats.norm.sf(found.largest) == pytest.approx(math.log(2) / 1e12, rel=1e-6)


@pytest.mark.parametrize("name", [*INITIALIZERS, *OWN])
def test_the_largest_weight_lies_in_its_interval_as_often_as_it_says(name):
    shape, times = (20, 8, 3, 3), 300
    expected = parse_initializer(name).expected(shape, fans(shape))
    largest = np.array([drawn(name, shape, seed=i).abs().max().item() for i in range(times)])
    inside = ((largest >= expected.largest_low) & (largest <= expected.largest_high)).mean()
    # Standard error 1.3 %; orthogonal entries are weakly dependent.
    assert 0.90 < inside < 0.99
    assert 0.38 < (largest < expected.largest).mean() < 0.62


def test_coordinates_of_a_circle_follow_the_arcsine_law():
    law = SphereEntry(2)
    for t in (-0.9, -0.3, 0.0, 0.5, 0.8):
        assert law.cdf(t) == pytest.approx(1 - math.acos(t) / math.pi)
        assert law.ppf(law.cdf(t)) == pytest.approx(t, abs=1e-9)
        assert law.isf(law.sf(t)) == pytest.approx(t, abs=1e-9)
    assert law.std() == pytest.approx(math.sqrt(0.5))


def test_one_dimension_leaves_plus_and_minus_one():
    found = SphereEntry(1)
    assert (found.isf(0.3), found.isf(0.7), found.std()) == (1.0, -1.0, 1.0)


def test_what_needs_the_groups_says_nothing_without_them():
    for initializer in INITIALIZERS.values():
        found = initializer.expected((8, 4, 3, 3), Fans(36, None))
        assert (found is None) == (
            initializer.name in ("orthogonal",) or "glorot" in initializer.name
        )


# --- names ---------------------------------------------------------------------------------------


def test_every_initializer_has_a_title_and_a_source():
    for name, initializer in INITIALIZERS.items():
        assert initializer.name == name
        assert initializer.title
        assert re.search(r"\d{4}", initializer.reference)


def test_own_initializers_are_spelled_in_one_way():
    assert parse_initializer(" normal:0:1e-1 ").name == "normal:0:0.1"
    assert parse_initializer("uniform:-.5:0.50").name == "uniform:-0.5:0.5"
    assert parse_initializer("normal:0:0.123456789").name == "normal:0:0.123456789"
    own = drawn("uniform:0.2:0.3", (100, 100))
    assert 0.2 <= own.min().item() < 0.201
    assert 0.299 < own.max().item() <= 0.3


def test_unknown_initializers_are_answered_with_near_ones():
    with pytest.raises(UnknownNameError, match="did you mean `he_normal`"):
        parse_initializer("he_norml")
    with pytest.raises(UnknownNameError):
        parse_initializer("cauchy:0:1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normal:0", "two numbers"),
        ("normal:0:1:2", "two numbers"),
        ("normal:zero:1", "two numbers"),
        ("normal:0:0", "STD"),
        ("normal:0:-1", "STD"),
        ("normal:nan:1", "finite"),
        ("normal:0:inf", "finite"),
        ("uniform:1:1", "LOW"),
        ("uniform:1:-1", "LOW"),
        ("uniform:-inf:1", "finite"),
    ],
)
def test_own_initializers_that_cannot_be_drawn_are_refused(text, message):
    with pytest.raises(OptionError, match=message):
        parse_initializer(text)
