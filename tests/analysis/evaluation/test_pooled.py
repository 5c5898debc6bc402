import numpy as np
import pytest
from scipy.stats import t as student

from analysis.errors import QuantizationError
from analysis.evaluation.intervals import paired
from analysis.evaluation.pooled import pooled


def drawn(seeds: int, n: int, rate: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((seeds, n)) < rate


@pytest.mark.parametrize("n", [1, 7, 300])
def test_with_one_seed_it_is_the_paired_interval(n):
    first, second = drawn(1, n, 0.8), drawn(1, n, 0.7, seed=1)
    found = pooled(first, second)
    usual = paired(first[0], second[0], first[0], second[0])
    assert found.difference == pytest.approx(usual.difference)
    assert (found.low, found.high) == pytest.approx((usual.low, usual.high))
    assert found.by_seed.tolist() == pytest.approx([usual.difference])


def test_seeds_that_agree_change_nothing():
    first, second = drawn(1, 200, 0.9), drawn(1, 200, 0.8, seed=1)
    one = pooled(first, second)
    three = pooled(np.repeat(first, 3, 0), np.repeat(second, 3, 0))
    assert (three.difference, three.low, three.high) == pytest.approx(
        (one.difference, one.low, one.high)
    )


def test_two_seeds_that_disagree_are_inside_the_noise():
    n = 1000
    second = np.zeros((2, n), dtype=bool)
    first = second.copy()
    first[0, :200] = True  # 20 points better on one seed, not at all on the other
    found = pooled(first, second)
    assert found.difference == pytest.approx(0.1)
    assert not found.significant
    assert pooled(first[:1], second[:1]).significant


def test_the_interval_is_the_one_computed_by_hand():
    first, second = drawn(3, 50, 0.9), drawn(3, 50, 0.5, seed=1)
    found = pooled(first, second)
    each = [[float(a) - float(b) for a, b in zip(*pair, strict=True)] for pair in
            zip(first, second, strict=True)]  # fmt: skip
    of_seeds = [sum(row) / 50 for row in each]
    of_samples = [sum(column) / 3 for column in zip(*each, strict=True)] + [1.0, -1.0]
    centre = sum(of_samples) / 52
    a = sum((d - centre) ** 2 for d in of_samples) / 52 / 52
    mean = sum(of_seeds) / 3
    b = sum((d - mean) ** 2 for d in of_seeds) / 2 / 3
    half = student.ppf(0.975, (a + b) ** 2 * 2 / b**2) * (a + b) ** 0.5
    assert found.difference == pytest.approx(mean)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))


def test_intervals_cover_a_true_difference_that_samples_and_seeds_blur():
    draw = np.random.default_rng(3)
    held, runs, n, seeds = 0, 400, 150, 3
    for _ in range(runs):
        rates = np.clip(0.7 + draw.normal(0, 0.03, (2, seeds, 1)), 0, 1)
        first, second = draw.random((2, seeds, n)) < rates
        found = pooled(first, second)
        held += found.low <= 0 <= found.high
    assert held / runs > 0.93


def test_other_seeds_or_samples_are_refused():
    with pytest.raises(QuantizationError, match="same seeds and samples"):
        pooled(drawn(1, 5, 0.5), drawn(2, 5, 0.5))
