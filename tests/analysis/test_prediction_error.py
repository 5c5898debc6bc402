import numpy as np
import pytest

from analysis.plots.prediction_error import prediction_against_measured
from analysis.plots.theme import alt_text
from analysis.prediction_error import Measured, prediction_error
from tests.analysis.plots.records_to_draw import score_table


def points(x, y) -> Measured:
    names = tuple(f"c{at}" for at in range(len(x)))
    return Measured(names, np.array(x, dtype=float), np.array(y, dtype=float), 0)


def test_a_power_law_is_found_without_error():
    x = np.array([0.01, 0.1, 0.2, 1.0, 5.0])
    found = prediction_error(points(x, 3.0 * x**1.5))
    assert found is not None
    assert found.slope == pytest.approx(1.5)
    assert np.exp(found.intercept) == pytest.approx(3.0)
    assert found.factor == pytest.approx(1.0)
    assert found.rho == pytest.approx(1.0)
    assert (found.low, found.high, found.n) == (pytest.approx(0.01), pytest.approx(5.0), 5)


def test_the_factor_is_the_median_of_what_the_others_miss_a_point_by():
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    y = np.array([1.5, 1.0, 9.0, 5.0, 40.0, 20.0])
    distances = []
    for at in range(6):
        rest = np.arange(6) != at
        line = np.polyfit(np.log(x[rest]), np.log(y[rest]), 1)
        distances.append(abs(np.log(y[at]) - np.polyval(line, np.log(x[at]))))
    found = prediction_error(points(x, y))
    assert found is not None
    assert found.factor == pytest.approx(np.exp(np.median(distances)))
    assert found.factor > 1.2


def test_a_prediction_that_ranks_backwards_has_rank_correlation_minus_one():
    found = prediction_error(points([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]))
    assert found is not None
    assert found.rho == pytest.approx(-1)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        ([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]),
        ([-1, 0, 1, 2, 3, 4], [1, 1, 1, 2, 3, 4]),
        ([1, 1, 1, 1, 9], [1, 2, 3, 4, 5]),
    ],
)
def test_too_few_or_equal_points_have_no_error(x, y):
    assert prediction_error(points(x, y)) is None


def test_the_chart_draws_points_fit_and_the_allocation_at_hand():
    scores = score_table([[1.0], [2.0]])
    some = points([1, 2, 3, 4, 5], [1, 3, 2, 5, 4])
    figure = prediction_against_measured(scores, some, prediction_error(some), 2.5)
    assert len(figure.data) == 3
    assert list(figure.data[2].y) == [1, 3, 2, 5, 4]
    assert figure.layout.shapes[0].x0 == 2.5
    assert "Spearman" in alt_text(figure)


def test_the_chart_of_too_few_points_says_so():
    some = points([1, 2], [1, 3])
    figure = prediction_against_measured(score_table([[1.0]]), some, None)
    assert len(figure.data) == 1
    assert "too few" in figure.layout.title.text
