from itertools import pairwise
from math import nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.allocation import build_problem, solve
from analysis.allocation.prefix import PrefixOptions, _states
from analysis.errors import InfeasibleBudgetError
from analysis.quant.formats import bits_of
from analysis.records import Budget, Candidate
from tests.reference.allocation import every_choice, fits, make_scores, make_table
from tests.reference.evaluations import made_up_evaluation

TABLE = make_table([40, 30, 20, 10])
TEXTS = "w2a8 w4a8 w8a8"


def problem_of(values, *budgets, table=TABLE, texts=TEXTS):
    return build_problem(table, make_scores(table, texts, values), budgets)


class Meter:
    """Measures an allocation as a sum over layers, and remembers what it measured."""

    def __init__(self, loss, labelled=True):
        self.loss, self.labelled = loss, labelled
        self.measured = []

    def __call__(self, allocation):
        self.measured.append(allocation)
        yield from ()
        return made_up_evaluation(self.loss(allocation), labelled=self.labelled)


def summed(points):
    """Points lost: those of each layer's own candidate, in the order of the layers."""
    return lambda allocation: (
        sum(row[c] for row, c in zip(points, allocation.candidates, strict=True)) / 100
    )


W2, W4, W8 = (Candidate.parse(t) for t in TEXTS.split())
LOST = [{W8: 0.0, W4: 0.25 * (i + 1), W2: 2.0 * (i + 1)} for i in range(4)]
SCORES = [[row[W2], row[W4], row[W8]] for row in LOST]


@pytest.mark.parametrize("search", ["binary", "sequential"])
@pytest.mark.parametrize("order", ["score", "score_per_saving"])
@pytest.mark.parametrize("allowed", [0.0, 0.25, 1.0, 2.5, 7.0, 100.0])
def test_the_walk_ends_at_the_last_state_within_the_allowed_drop(search, order, allowed):
    problem, meter = problem_of(SCORES), Meter(summed(LOST))
    options = PrefixOptions(allowed_drop=allowed, order=order, search=search)
    found = solve(problem, "prefix", options, meter)
    states, _ = _states(problem, order)
    lost = [100 * summed(LOST)(problem.allocation(choice)) for choice in states]
    within = [n for n, points in enumerate(lost) if points <= allowed + 1e-9]
    assert found.allocation == problem.allocation(states[within[-1]])
    assert found.status == "feasible"
    assert found.lower_bound is None
    if search == "binary":
        assert len(meter.measured) <= len(states).bit_length() + 1


def test_least_harm_comes_first_and_least_harm_per_saving_prefers_large_layers():
    by_score, _ = _states(problem_of(SCORES), "score")
    assert by_score[:3] == [(2, 2, 2, 2), (1, 2, 2, 2), (1, 1, 2, 2)]
    even = [[3.5, 1.0, 0.0]] * 4
    by_saving, _ = _states(problem_of(even, Budget(resource="size", limit=1.0)), "score_per_saving")
    # Harm per bit and weight: 1/160, 1/120, 1/80, then 3.5/240 before 1/40.
    assert by_saving[1:5] == [(1, 2, 2, 2), (1, 1, 2, 2), (1, 1, 1, 2), (0, 1, 1, 2)]


@settings(deadline=None, max_examples=60)
@given(
    values=st.lists(st.lists(st.floats(-1, 9), min_size=4, max_size=4), min_size=4, max_size=4),
    groups=st.sampled_from([[0, 1, 2, 3], [0, 0, 1, 1], [0, 0, 0, 1]]),
    order=st.sampled_from(["score", "score_per_saving"]),
)
def test_bits_only_fall_along_the_list_and_groups_stay_together(values, groups, order):
    table = make_table([40, 30, 20, 10], groups=groups)
    problem = problem_of(values, table=table, texts="w4a4 w8a4 w4a8 w8a8")
    states, _ = _states(problem, order)
    chosen = [problem.allocation(choice).candidates for choice in states]
    for before, after in pairwise(chosen):
        assert before != after
        for old, new in zip(before, after, strict=True):
            assert bits_of(new.weight) <= bits_of(old.weight)
            assert bits_of(new.activation) <= bits_of(old.activation)
    assert not any(problem.split_groups(choice) for choice in states)
    assert {c.text for c in chosen[0]} == {"w8a8"}
    assert {c.text for c in chosen[-1]} == {"w4a4"}


def test_a_layer_that_cannot_follow_its_group_stops_the_step_and_that_is_said():
    table = make_table([40, 30], groups=[0, 0])
    # Four-bit activations come with four-bit weights only.
    problem = problem_of([[1.0, 0.0], [5.0, 0.0]], table=table, texts="w4a4 w8a8")
    found = solve(problem, "prefix", PrefixOptions(allowed_drop=100.0), Meter(lambda a: 0.0))
    assert [c.text for c in found.allocation.candidates] == ["w8a8", "w8a8"]
    assert "2 steps were passed over" in found.notes[-1]


def test_binary_search_misses_what_a_curve_that_is_not_monotone_hides():
    problem = problem_of(SCORES)
    states, _ = _states(problem, "score")
    worse = {states[2]}  # one state in the middle loses too much, those behind it do not
    meter = Meter(lambda a: 0.5 if a in map(problem.allocation, worse) else 0.0)
    ends = {
        search: solve(problem, "prefix", PrefixOptions(order="score", search=search), meter)
        for search in ("binary", "sequential")
    }
    assert ends["sequential"].allocation == problem.allocation(states[1])
    assert ends["binary"].allocation == problem.allocation(states[-1])
    assert "not checked" in ends["binary"].notes[-1]


def test_states_above_a_budget_are_not_measured():
    problem, meter = problem_of(SCORES, Budget(resource="avg_bits", limit=5.0)), Meter(summed(LOST))
    found = solve(problem, "prefix", PrefixOptions(allowed_drop=100.0, search="sequential"), meter)
    assert meter.measured
    for allocation in meter.measured:
        bits = [bits_of(c.weight) for c in allocation.candidates]
        assert np.dot(bits, [40, 30, 20, 10]) <= 5.0 * 100
    assert found.budgets[0].used <= 5.0


def test_a_first_state_that_loses_too_much_is_still_the_answer_and_said():
    problem = problem_of(SCORES, Budget(resource="avg_bits", limit=5.0))
    found = solve(problem, "prefix", PrefixOptions(allowed_drop=0.1), Meter(summed(LOST)))
    states, _ = _states(problem, "score_per_saving")
    first = next(choice for choice in states if not problem.overruns(choice))
    assert found.allocation == problem.allocation(first)
    assert "more than the 0.1 allowed" in found.notes[0]


def test_a_budget_below_every_state_names_the_nearest_that_one_meets():
    problem = problem_of(SCORES, Budget(resource="avg_bits", limit=1.0))
    cheapest = min(problem.rows[0].total(c) for c in every_choice(problem))
    assert not any(fits(problem, choice) for choice in every_choice(problem))
    with pytest.raises(InfeasibleBudgetError, match="on the sorted list") as caught:
        solve(problem, "prefix", None, Meter(summed(LOST)))
    assert caught.value.nearest == pytest.approx(cheapest / 100)


def test_without_labels_the_share_of_other_predictions_stands_for_the_drop():
    problem = problem_of(SCORES)
    meter = Meter(summed(LOST), labelled=False)
    found = solve(problem, "prefix", PrefixOptions(allowed_drop=0.25, order="score"), meter)
    assert found.allocation == problem.allocation((1, 2, 2, 2))
    assert made_up_evaluation(0.1, labelled=False).top1 is nan


@pytest.mark.parametrize(
    ("better", "said"), [(0.5, "gain 0.50 points"), (-0.5, "lose 0.50 points")]
)
def test_an_accuracy_above_float_is_called_a_gain(better, said):
    problem = problem_of(SCORES)
    meter = Meter(lambda allocation: -better / 100)
    found = solve(problem, "prefix", PrefixOptions(), meter)
    assert said in found.notes[0]
