"""Budgets of several rows: a peak is kept at every moment, explained and used as one number."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analysis.allocation import allocation_costs, build_problem, parse_budget, solve
from analysis.allocation.budgets import budgets_of, cost_rows
from analysis.errors import AllocationError, InfeasibleBudgetError, QuantizationError
from analysis.models.cost import arithmetic_effort, peak_activation_bits
from analysis.records import Arithmetic, Budget, Candidate, Moment
from tests.analysis.models.toys import TOYS, built
from tests.reference.allocation import best_objective, every_choice, fits, make_scores, make_table
from tests.reference.latency import times

CANDIDATES = "w4a2 w4a4 w8a4 w8a8"
W4A4, W8A8 = Candidate.parse("w4a4"), Candidate.parse("w8a8")


def with_moments(table, *moments):
    """Return the table with moments of (elements of each group, unquantized)."""
    own = tuple(
        Moment(
            at=f"call {place}",
            groups=tuple(range(len(elements))),
            elements=tuple(elements),
            unquantized=unquantized,
        )
        for place, (elements, unquantized) in enumerate(moments)
    )
    return dataclasses.replace(table, moments=own)


THREE = with_moments(make_table([10, 20, 30]), ((8, 4, 0), 0), ((0, 4, 8), 1))


def bits(choice, problem):
    chosen = problem.allocation(choice).candidates
    return [int(c.activation.removeprefix("int")) for c in chosen]


@st.composite
def problems(draw):
    n = draw(st.integers(1, 4))
    groups = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    table = make_table(draw(st.lists(st.integers(1, 99), min_size=n, max_size=n)), groups=groups)
    counts = st.lists(st.integers(0, 50), min_size=3, max_size=3)
    places = {group: place for place, group in enumerate(sorted(set(groups)))}
    layers = tuple(
        dataclasses.replace(layer, activation_group=places[layer.activation_group])
        for layer in table.layers
    )
    table = with_moments(
        dataclasses.replace(table, layers=layers),
        *(
            (elements[: len(places)], unquantized)
            for elements, unquantized in draw(
                st.lists(st.tuples(counts, st.integers(0, 9)), min_size=1, max_size=4)
            )
        ),
    )
    assume(peak_activation_bits(table, [8] * n) > 0)
    scores = draw(
        st.lists(st.lists(st.integers(0, 99), min_size=4, max_size=4), min_size=n, max_size=n)
    )
    budgets = [Budget(resource="act", limit=round(draw(st.floats(0.05, 1.1)), 3))]
    if draw(st.booleans()):
        budgets.append(Budget(resource="avg_bits", limit=round(draw(st.floats(3.5, 8)), 3)))
    return build_problem(table, make_scores(table, CANDIDATES, scores), budgets)


@settings(deadline=None, max_examples=60)
@given(problem=problems())
def test_the_exact_solver_keeps_every_moment_and_finds_the_best(problem):
    best = best_objective(problem)
    if best is not None:
        solution = solve(problem, "milp")
        assert solution.objective == pytest.approx(best)
        assert solution.status == "optimal"
        assert [b.resource for b in solution.budgets] == [
            r.budget.resource for r in _firsts(problem)
        ]
        assert all(use.used <= use.limit for use in solution.budgets)
        return
    with pytest.raises(InfeasibleBudgetError) as caught:
        solve(problem, "milp")
    error = caught.value
    mine = [r for r in problem.rows if r.budget.resource == error.resource]
    kept = dataclasses.replace(problem, rows=tuple(r for r in problem.rows if r not in mine))
    peaks = [max(r.total(c) for r in mine) for c in every_choice(kept) if fits(kept, c)]
    if not peaks:
        assert error.nearest == float("inf")
        return
    assert error.limit < error.nearest <= mine[0].in_unit(min(peaks)) * (1 + 1.01e-4)
    wider = tuple(
        dataclasses.replace(r, budget=Budget(resource=error.resource, limit=error.nearest))
        if r in mine
        else r
        for r in problem.rows
    )
    assert solve(dataclasses.replace(problem, rows=wider), "milp").status == "optimal"


def _firsts(problem):
    return [own[0] for own in budgets_of(problem.rows)]


def test_the_rows_of_a_peak_count_the_bits_of_every_moment():
    problem = build_problem(
        THREE, make_scores(THREE, CANDIDATES, np.zeros((3, 4))), [parse_budget("act_mib=1")]
    )
    for choice in every_choice(problem):
        own = bits(choice, problem)
        assert [row.total(choice) for row in problem.rows] == [
            8 * own[0] + 4 * own[1],
            4 * own[1] + 8 * own[2] + 32,
        ]
        peak = peak_activation_bits(THREE, own)
        assert [total for _, total in problem.used(choice)] == [peak]
        costs = allocation_costs(THREE, problem.allocation(choice))
        assert costs.peak_activation_mib == problem.rows[0].in_unit(peak)


def test_a_group_is_booked_once():
    table = with_moments(make_table([10, 20], groups=[0, 0]), ((5,), 0))
    rows = cost_rows(table, ((W4A4, W8A8), (W4A4, W8A8)), parse_budget("act=0.5"))
    assert rows[0].costs == ((20, 40), (0, 0))
    assert rows[0].in_unit(rows[0].total((0, 0))) == 0.5


def test_a_broken_peak_is_one_budget_and_used_is_its_largest_moment():
    scores = make_scores(THREE, CANDIDATES, [[3, 2, 1, 0]] * 3)
    problem = build_problem(THREE, scores, [parse_budget("act=0.6")])
    assert len(problem.rows) == 2
    top = (3, 3, 3)
    broken = problem.overruns(top)
    assert [row.total(top) for row in broken] == [128]  # the second moment, 4 x 8 + 8 x 8 + 32
    use = solve(problem, "milp").budgets
    assert len(use) == 1
    assert use[0].used == 72 / 128  # w8a8, w4a2, w8a4: both moments need 72


def test_the_nearest_peak_is_named_for_uniform_bits_too():
    problem = build_problem(
        THREE, make_scores(THREE, CANDIDATES, np.zeros((3, 4))), [parse_budget("act=0.1")]
    )
    for solver, what in (("milp", "allocation"), ("uniform", "uniform allocation")):
        with pytest.raises(
            InfeasibleBudgetError, match=rf"No {what} meets act=0.1: act must be at least 0.4375 of"
        ) as caught:
            solve(problem, solver)
        assert caught.value.nearest == 56 / 128


def test_moments_pull_in_different_directions_under_another_budget():
    # The first group is large at one moment, the second at the other; bits per weight allow only
    # one of them to be cheap. Found by halving: no moment's own smallest total can be reached.
    table = with_moments(make_table([10, 10]), ((10, 0), 0), ((0, 10), 0))
    scores = make_scores(table, "w8a2 w2a8", np.zeros((2, 2)))
    problem = build_problem(table, scores, [parse_budget("act=0.2"), parse_budget("avg_bits=5")])
    with pytest.raises(InfeasibleBudgetError, match="act must be at least 1 of the w8a8 peak"):
        solve(problem, "milp")


@pytest.mark.parametrize("name", ["residual", "branch", "self_attention"])
def test_an_observed_network_can_be_kept_below_half_its_peak_or_says_so(name):
    table = built(TOYS[name]()).table
    scores = make_scores(table, CANDIDATES, np.zeros((len(table.layers), 4)))
    problem = build_problem(table, scores, [], {n: W4A4 for n in table.names})
    eights, fours = ([n] * len(table.layers) for n in (8, 4))
    reached = peak_activation_bits(table, fours) / peak_activation_bits(table, eights)
    rows = cost_rows(table, problem.candidates, parse_budget("act=1"))
    choice = (0,) * len(table.layers)
    assert max(row.in_unit(row.total(choice)) for row in rows) == reached


def test_a_table_without_moments_cannot_limit_them():
    with pytest.raises(AllocationError, match=r"does not say\. Observe the model again"):
        cost_rows(make_table([1]), ((W8A8,),), parse_budget("act_mib=1"))


# --- arithmetic effort and latency ---


def test_effort_rows_equal_the_formula_for_every_choice():
    work = Arithmetic(groups=(0, 2), elements=(5, 7), unquantized=3, products=2)
    table = dataclasses.replace(make_table([10, 20, 30], groups=[0, 0, 2]), arithmetic=work)
    own = ((W4A4, W8A8),) * 3
    row = cost_rows(table, own, parse_budget("ace=0.5"))[0]
    for a, b, c in itertools.product((0, 1), repeat=3):
        if a == b:
            w = [(4, 8)[k] for k in (a, b, c)]
            by_hand = sum(n * x * x for n, x in zip((10, 20, 30), w, strict=True))
            by_hand += 5 * w[0] + 7 * w[2] + 3 * 32 + 2 * 1024
            assert row.total((a, b, c)) == by_hand == arithmetic_effort(table, w, w)
    assert row.in_unit(row.total((1, 1, 1))) == 1


def test_effort_that_was_not_counted_is_refused():
    with pytest.raises(QuantizationError, match="Use bops"):
        cost_rows(make_table([1]), ((W8A8,),), parse_budget("ace=1"))


def test_latency_is_summed_in_nanoseconds_and_reported():
    table = make_table([10, 20])
    latency = times(
        *(
            (n, t, us)
            for n, t, us in (
                ("layer0", "w4a4", 1),
                ("layer0", "w8a8", 3),
                ("layer1", "w4a4", 2),
                ("layer1", "w8a8", 7),
            )
        )
    )
    scores = make_scores(table, "w4a4 w8a8", [[5, 0], [9, 0]])
    problem = build_problem(table, scores, [parse_budget("latency_ms=0.008")], latency=latency)
    solution = solve(problem, "milp")
    assert [c.text for c in solution.allocation.candidates] == ["w4a4", "w8a8"]
    assert solution.budgets[0].used == solution.costs.latency_ms == 0.008
    with pytest.raises(InfeasibleBudgetError, match=r"latency_ms must be at least 0.003 ms"):
        solve(
            build_problem(table, scores, [parse_budget("latency_ms=0.002")], latency=latency),
            "milp",
        )


def test_a_table_that_misses_layers_cannot_check_a_budget_but_does_not_stop_others():
    table = make_table([10, 20])
    latency = times(("layer0", "w8a8", 1))
    scores = make_scores(table, "w8a8", [[0], [0]])
    with pytest.raises(AllocationError, match="misses w8a8: `layer1`"):
        build_problem(table, scores, [parse_budget("latency_ms=1")], latency=latency)
    solution = solve(build_problem(table, scores, [], latency=latency), "milp")
    assert solution.costs.latency_ms is None
    assert "not a measured time" in solution.notes[0]
    assert "does not tell the times of all layers" in solution.notes[-1]


def test_a_latency_budget_needs_a_table():
    table = make_table([10])
    with pytest.raises(AllocationError, match="must come with a latency table"):
        build_problem(table, make_scores(table, "w8a8", [[0]]), [parse_budget("latency_ms=1")])
