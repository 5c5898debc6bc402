"""Raising bits that cost no time: laws on random problems, and cases by hand."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.allocation import build_problem, parse_budget, solve
from analysis.allocation.free_bits import raise_free_bits
from analysis.errors import AllocationError
from analysis.models.latency import known_times
from analysis.quant.formats import bits_of
from analysis.records import Budget
from tests.reference.allocation import every_choice, fits, make_scores, make_table
from tests.reference.latency import times

TEXTS = ("w2a4", "w4a4", "w2a8", "w4a8", "w8a8")


def problem_of(table, microseconds, budgets=(), texts=TEXTS, scores=None):
    """Return a problem in which layer i takes microseconds[i][k] with candidate k."""
    rows = [
        (name, text, us)
        for name, own in zip(table.names, microseconds, strict=True)
        for text, us in zip(texts, own, strict=True)
    ]
    values = scores or [[len(texts) - k for k in range(len(texts))] for _ in table.names]
    scored = make_scores(table, " ".join(texts), values)
    return build_problem(table, scored, budgets, latency=times(*rows))


def texts(problem, choice):
    return [c.text for c in problem.allocation(choice).candidates]


@st.composite
def problems(draw):
    n = draw(st.integers(1, 4))
    table = make_table(
        draw(st.lists(st.integers(1, 99), min_size=n, max_size=n)),
        groups=draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)),
    )
    few = st.lists(st.integers(1, 3), min_size=len(TEXTS), max_size=len(TEXTS))
    budgets = [Budget(resource="avg_bits", limit=round(draw(st.floats(2, 8)), 2))]
    problem = problem_of(table, draw(st.lists(few, min_size=n, max_size=n)), budgets)
    fitting = [choice for choice in every_choice(problem) if fits(problem, choice)]
    return problem, draw(st.sampled_from(fitting))


@settings(deadline=None, max_examples=150)
@given(case=problems())
def test_no_layer_gets_slower_or_loses_bits_and_budgets_and_groups_hold(case):
    problem, before = case
    after, notes = raise_free_bits(problem, before)
    ns = known_times(problem.table, problem.latency, problem.candidates)
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        assert ns[i][new] <= ns[i][old]
        for kind in ("weight", "activation"):
            formats = [getattr(problem.candidates[i][k], kind) for k in (old, new)]
            assert bits_of(formats[0]) <= bits_of(formats[1])
    assert fits(problem, after)
    assert not problem.split_groups(after)
    assert problem.objective(after) <= problem.objective(before)  # scores fall with the bits here
    assert len(notes) == 1


@settings(deadline=None, max_examples=100)
@given(case=problems())
def test_a_second_pass_changes_nothing(case):
    problem, before = case
    after, _ = raise_free_bits(problem, before)
    again, notes = raise_free_bits(problem, after)
    assert again == after
    assert notes[0].startswith("No bits are free")


@settings(deadline=None, max_examples=100)
@given(case=problems())
def test_no_single_layer_could_take_more_weight_bits(case):
    problem, before = case
    after, _ = raise_free_bits(problem, before)
    ns = known_times(problem.table, problem.latency, problem.candidates)
    for i, now in enumerate(after):
        held = problem.candidates[i][now]
        for k, other in enumerate(problem.candidates[i]):
            raised = (*after[:i], k, *after[i + 1 :])
            assert not (
                other.activation == held.activation
                and bits_of(other.weight) > bits_of(held.weight)
                and ns[i][k] <= ns[i][now]
                and fits(problem, raised)
            )


def test_equal_times_are_free_and_longer_ones_are_not():
    table = make_table([10, 20])
    problem = problem_of(table, [[5, 5, 5, 5, 6], [5, 6, 5, 5, 4]])
    after, notes = raise_free_bits(problem, (0, 0))
    assert texts(problem, after) == ["w4a8", "w8a8"]
    assert "raised 2 layers, none of them slower: `layer0` w2a4 to w4a8" in notes[0]


def test_a_group_raises_its_activations_together_or_not_at_all():
    table = make_table([10, 20], groups=[0, 0])
    stuck = problem_of(table, [[5, 5, 5, 5, 5], [5, 6, 6, 6, 6]])
    assert texts(stuck, raise_free_bits(stuck, (0, 0))[0]) == ["w4a4", "w2a4"]
    free = problem_of(table, [[5, 5, 5, 5, 5], [5, 6, 5, 6, 6]])
    assert texts(free, raise_free_bits(free, (0, 0))[0]) == ["w8a8", "w2a8"]


def test_the_slack_of_a_budget_goes_to_the_first_layers():
    table = make_table([10, 10])
    problem = problem_of(table, [[1] * 5] * 2, [parse_budget("avg_bits=6")])
    assert texts(problem, raise_free_bits(problem, (3, 3))[0]) == ["w8a8", "w4a8"]


def test_a_solution_says_what_was_raised_and_keeps_no_false_certificate():
    table = make_table([10, 20])
    budgets = [parse_budget("avg_bits=8")]
    alike = problem_of(table, [[1] * 5] * 2, budgets, scores=[[1, 1, 1, 1, 1]] * 2)
    plain, raised = solve(alike, "uniform"), solve(alike, "uniform", free_bits=True)
    assert [c.text for c in plain.allocation.candidates] == ["w2a4", "w2a4"]
    assert [c.text for c in raised.allocation.candidates] == ["w8a8", "w8a8"]
    assert "the summed score changed by 0 nats" in raised.notes[-1]
    assert raised.costs.latency_ms == plain.costs.latency_ms == 0.002
    assert solve(alike, "milp", free_bits=True).status == "optimal"
    odd = dataclasses.replace(alike, scores=((0, 1, 1, 1, 2),) * 2)  # more bits are worse here
    worse = solve(odd, "milp", free_bits=True)
    assert (worse.objective, worse.lower_bound, worse.status) == (4, 0, "feasible")


def test_without_times_nothing_is_known_to_be_free():
    table = make_table([10])
    problem = build_problem(table, make_scores(table, "w4a8", [[0]]), [])
    with pytest.raises(AllocationError, match="no latency table"):
        raise_free_bits(problem, (0,))
    missing = dataclasses.replace(problem, latency=times(("layer0", "w8a8", 1)))
    with pytest.raises(AllocationError, match="misses w4a8: `layer0`"):
        raise_free_bits(missing, (0,))
