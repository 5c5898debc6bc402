"""Which samples are named as a layer's hardest, and of which scores."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.hardest import hardest_samples
from analysis.records import ScoreTable
from tests.reference.allocation import make_scores, make_table

PER_SAMPLE = np.array([[1.0, 0.0], [5.0, 0.0], [5.0, -1.0], [2.0, 7.0]])


@pytest.fixture
def scores() -> ScoreTable:
    made = make_scores(make_table([10, 20]), "w4a8", [[1.0], [2.0]])
    return replace(made, layers=("a", "b"), per_sample=PER_SAMPLE, n=4)


def test_the_highest_scores_come_first_and_ties_in_the_order_of_the_set(scores: ScoreTable) -> None:
    assert hardest_samples(scores) == {"a": (1, 2, 3), "b": (3, 0, 1)}


def test_there_are_no_more_than_samples(scores: ScoreTable) -> None:
    assert hardest_samples(scores, 9)["a"] == (1, 2, 3, 0)


@pytest.mark.parametrize(
    "change", [{"per_sample": None}, {"data": "evaluation"}, {"protocol": "accumulated"}]
)
def test_other_scores_name_none(scores: ScoreTable, change: dict[str, object]) -> None:
    assert hardest_samples(replace(scores, **change)) == {}
