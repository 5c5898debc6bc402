"""Sweeps by solvers that know the whole curve after one run."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analysis.allocation import build_problem, solve
from analysis.allocation.dp import DpOptions
from analysis.allocation.front import sweep
from analysis.allocation.prefix import PrefixOptions, sorted_list
from analysis.allocation.whole import sweepable, whole
from analysis.errors import InfeasibleBudgetError
from analysis.records import Budget
from tests.reference.allocation import best_objective, make_scores, make_table
from tests.reference.work import finish

TEXTS = "w2a8 w4a8 w8a8"


def maker(sizes, scores, **more):
    table = make_table(sizes, **more)
    made = make_scores(table, TEXTS, scores)
    return lambda budgets: build_problem(table, made, tuple(budgets))


MAKE = maker([100, 300, 50], [[9.0, 2.0, 0.1], [4.0, 3.0, 0.3], [7.0, 1.0, 0.0]], others=10)
LIMITS = (0.35, 0.45, 0.6, 0.8, 1.0)


def run(*words, **more):
    return finish(sweep(*words, **more))


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=5),
    values=st.lists(st.integers(0, 6), min_size=15, max_size=15),
    limits=st.lists(st.integers(26, 110), min_size=1, max_size=6),
)
def test_one_table_gives_what_every_limit_gives_alone(sizes, values, limits):
    # Small whole scores, so that many allocations are equally good.
    make = maker(sizes, [[float(v) for v in values[3 * i : 3 * i + 3]] for i in range(len(sizes))])
    shares = sorted({limit / 100 for limit in limits})
    alone = {}
    for share in shares:
        try:
            alone[share] = solve(make([Budget(resource="size", limit=share)]), "dp")
        except InfeasibleBudgetError as error:
            alone[share] = str(error)
    assume(any(not isinstance(each, str) for each in alone.values()))
    for point in run(make, "size", shares, "dp").points:
        expected = alone[point.limit]
        if point.solution is None:
            assert point.reason == expected
            continue
        assert point.solution.allocation == expected.allocation
        assert point.solution.objective == pytest.approx(expected.objective)
        assert point.solution.lower_bound == pytest.approx(expected.lower_bound)
        assert (point.solution.status, point.solution.notes) == (expected.status, expected.notes)
        assert point.solution.budgets == expected.budgets


def test_where_costs_can_be_counted_one_table_answers_all_limits(monkeypatch):
    calls = []

    def counted(*words, **more):
        calls.append(words)
        return curve(*words, **more)

    from analysis.allocation.whole import curve

    monkeypatch.setattr("analysis.allocation.whole.curve", counted)
    monkeypatch.setattr("analysis.allocation.front.solve_work", None)
    found = run(MAKE, "size", LIMITS, "dp")
    assert len(calls) == 1
    best = [solve(MAKE([Budget(resource="size", limit=s)]), "milp").objective for s in LIMITS]
    assert [p.solution.objective for p in found.points] == pytest.approx(best)


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(500, 6000), min_size=2, max_size=4),
    values=st.lists(st.floats(0, 9), min_size=12, max_size=12),
    cells=st.integers(100, 300),
)
def test_where_costs_must_be_rounded_every_answer_fits_and_its_bound_holds(sizes, values, cells):
    make = maker(sizes, [sorted(values[3 * i : 3 * i + 3])[::-1] for i in range(len(sizes))])
    options = DpOptions(cells=cells)
    for point in run(make, "size", (0.26, 0.4, 0.55, 0.7, 0.9, 1.0), "dp", options=options).points:
        problem = make([Budget(resource="size", limit=point.limit)])
        best = best_objective(problem)
        slack = 1e-9 * (1 + abs(best))
        assert point.solution.lower_bound - slack <= best <= point.solution.objective + slack
        assert point.solution.budgets[0].used <= point.limit


def test_a_budget_that_holds_everything_loses_nothing_to_rounding():
    make = maker([1009, 2003, 557], [[9.0, 2.0, 0.1], [4.0, 3.0, 0.3], [7.0, 1.0, 0.0]])
    options = DpOptions(cells=100)
    problem = make([Budget(resource="size", limit=1.0)])
    assert whole(problem, "dp", options) is not None
    for found in (
        solve(problem, "dp", options),
        run(make, "size", (0.5, 1.0), "dp", options=options).points[1].solution,
    ):
        assert {c.text for c in found.allocation.candidates} == {"w8a8"}
        assert "rounded up" in found.notes[-1]


def test_a_table_that_cannot_be_filled_leaves_the_refusal_to_the_solver():
    with pytest.raises(InfeasibleBudgetError):
        run(MAKE, "size", (0.01, 0.02), "dp")
    with pytest.raises(Exception, match="exactly one budget"):
        run(MAKE, "size", LIMITS, "dp", fixed=(Budget(resource="bops", limit=0.9),))


@pytest.mark.parametrize("order", ["score", "score_per_saving"])
def test_the_sorted_list_is_walked_to_the_first_allocation_that_fits(order):
    options = PrefixOptions(order=order)
    fixed = (Budget(resource="bops", limit=0.9),)
    found = run(MAKE, "size", LIMITS, "prefix", options=options, fixed=fixed)
    largest = MAKE([Budget(resource="size", limit=LIMITS[-1]), *fixed])
    states = sorted_list(largest, order)
    bits = [sum(int(c.weight[3:]) for c in largest.allocation(s).candidates) for s in states]
    assert bits == sorted(bits, reverse=True)
    for point in found.points:
        problem = MAKE([Budget(resource="size", limit=point.limit), *fixed])
        fits = [s for s in states if not problem.overruns(s)]
        assert point.solution.allocation == problem.allocation(fits[0])
        assert point.solution.status == "feasible"
        assert point.solution.lower_bound is None
        assert (
            f"{states.index(fits[0])} of {len(states) - 1} steps down" in (point.solution.notes[-1])
        )


def test_a_limit_below_the_end_of_the_list_says_what_would_fit():
    found = run(MAKE, "size", (0.01, 1.0), "prefix")
    assert found.points[0].solution is None
    assert "sorted list" in found.points[0].reason
    assert found.points[1].solution is not None


def test_only_a_solver_that_looks_at_the_evaluation_set_cannot_be_swept():
    names = ("milp", "dp", "greedy", "prefix", "evolution")
    assert [sweepable(name) for name in names] == [True, True, True, True, False]
