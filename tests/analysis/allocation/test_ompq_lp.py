from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from analysis.allocation import build_problem, solve
from analysis.allocation.ompq_lp import OmpqOptions
from analysis.allocation.ompq_program import (
    linear_program,
    projection,
    rounded,
    tail_average,
)
from analysis.errors import AllocationError, InfeasibleBudgetError
from analysis.records import Budget, Candidate
from tests.reference.allocation import choice_of, make_scores, make_table


@st.composite
def programs(draw):
    n = draw(st.integers(1, 8))
    sizes = draw(st.lists(st.integers(1, 10_000), min_size=n, max_size=n))
    importance = draw(st.lists(st.floats(0.01, 10), min_size=n, max_size=n))
    share = draw(st.floats(0, 1.2))
    limit = int(2 * sum(sizes) + share * 2 * sum(sizes))
    return np.array(importance), sizes, [2] * n, [4] * n, limit


def used(sizes, bits):
    return sum(p * b for p, b in zip(sizes, bits, strict=True))


@settings(max_examples=30)
@given(program=programs())
def test_filling_by_importance_per_weight_is_the_linear_optimum(program):
    importance, sizes, low, high, limit = program
    bits = linear_program(*program)
    scale = max(sizes)
    found = linprog(
        -importance,
        A_ub=[np.array(sizes) / scale],
        b_ub=[limit / scale],
        bounds=list(zip(low, high, strict=True)),
        method="highs",
    )
    assert float(importance @ np.array(bits, dtype=float)) == pytest.approx(-found.fun, rel=1e-6)
    assert sum(low[i] < b < high[i] for i, b in enumerate(bits)) <= 1
    assert used(sizes, bits) <= limit


@settings(max_examples=25)
@given(program=programs())
def test_the_projection_is_the_nearest_point_of_the_budget(program):
    _, sizes, low, high, limit = program
    bits = np.array(projection(sizes, low, high, limit), dtype=float)
    p = np.array(sizes) / max(sizes)
    found = minimize(
        lambda b: ((b - high) ** 2).sum(),
        np.array(low, dtype=float),
        bounds=list(zip(low, high, strict=True)),
        constraints={"type": "ineq", "fun": lambda b: limit / max(sizes) - p @ b},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert ((bits - high) ** 2).sum() <= found.fun + 1e-5
    assert p @ bits <= limit / max(sizes) + 1e-9


def test_the_ends_of_the_budget_are_all_high_and_all_low():
    importance, sizes = np.array([1.0, 2.0]), [10, 30]
    assert linear_program(importance, sizes, [2, 2], [4, 4], 160) == [4, 4]
    assert linear_program(importance, sizes, [2, 2], [4, 4], 80) == [2, 2]
    assert projection(sizes, [2, 2], [4, 4], 80) == [2, 2]
    for program in (
        lambda: linear_program(importance, sizes, [2, 2], [4, 4], 79),
        lambda: projection(sizes, [2, 2], [4, 4], 79),
    ):
        with pytest.raises(AllocationError, match="must be at least 80 bits"):
            program()


def test_a_tail_average_credits_a_layer_with_all_later_ones():
    assert tail_average(np.array([1.0, 2.0, 6.0])).tolist() == [3.0, 4.0, 6.0]


def test_nearest_rounding_may_overshoot_and_the_others_do_not():
    sizes, bits = [9, 6, 4], [Fraction(5, 2), Fraction(18, 5), Fraction(27, 10)]
    assert rounded(bits, sizes, "nearest").tolist() == [2, 4, 3]
    assert rounded(bits, sizes, "floor").tolist() == [2, 3, 2]
    # 10.9 bits are left over the floors: 6 + 4 comes closer than 9, and 9 + 4 exceeds them.
    assert rounded(bits, sizes, "fill").tolist() == [2, 4, 3]
    alone = [Fraction(18, 5)]
    assert used([6], rounded(alone, [6], "nearest")) > used([6], alone)
    assert used([6], rounded(alone, [6], "fill")) <= used([6], alone)
    with pytest.raises(AllocationError, match="can take 22 fractional layers, got 23"):
        rounded([Fraction(5, 2)] * 23, [1] * 23, "fill")


@settings(max_examples=25)
@given(program=programs())
def test_filling_comes_closest_to_the_continuous_size_from_below(program):
    _, sizes, low, high, limit = program
    bits = projection(sizes, low, high, limit)
    grid = np.stack(
        np.meshgrid(*[(int(b // 1), int(-(-b // 1))) for b in bits], indexing="ij"), axis=-1
    ).reshape(-1, len(bits))
    totals = [used(sizes, map(int, row)) for row in grid]
    closest = max(t for t in totals if t <= used(sizes, bits))
    assert used(sizes, map(int, rounded(bits, sizes, "fill"))) == closest


def ompq(importance, sizes, limit, candidates="w2a8 w3a8 w4a8", **options):
    """Solve with the scores of OMPQ, importance times the bits that lack."""
    table = make_table(sizes)
    bits = [int(text[1]) for text in candidates.split()]
    values = np.outer(importance, max(bits) - np.array(bits))
    problem = build_problem(
        table, make_scores(table, candidates, values), [Budget(resource="avg_bits", limit=limit)]
    )
    solution = solve(problem, "ompq_lp", OmpqOptions(**options))
    return [int(c.weight[3:]) for c in solution.allocation.candidates], solution


def test_its_bits_are_those_of_the_program_rounded():
    sizes = [100, 300, 200, 400]
    # Per weight: 0.05, 0.01, 0.02, 0.0025; 700 of 2000 bits are left over 2 bits each.
    bits, solution = ompq([5, 3, 4, 1], sizes, 2.7)
    assert bits == [4, 2, 4, 2]
    assert (solution.status, solution.lower_bound, solution.notes) == ("feasible", None, ())


def test_an_overshoot_of_rounding_is_repaired_and_said():
    bits, solution = ompq([5, 3, 4, 1], [100, 300, 200, 400], 2.76)
    assert bits == [4, 2, 4, 2]
    assert "use 2.9 of avg_bits where 2.76 is allowed; `layer1` was lowered" in solution.notes[0]
    down, quiet = ompq([5, 3, 4, 1], [100, 300, 200, 400], 2.76, rounding="floor")
    assert (down, quiet.notes) == (bits, ())


def test_widths_with_gaps_are_rounded_to_what_there_is():
    bits, _ = ompq([2, 1], [10, 10], 5.6, candidates="w2a8 w4a8 w8a8")
    assert bits == [8, 2]
    # 3.4 bits are nearer to 4, which do not fit.
    bits, found = ompq([2, 1], [10, 10], 5.7, candidates="w2a8 w4a8 w8a8")
    assert bits == [8, 2]
    assert "`layer1` was lowered" in found.notes[0]


def test_an_average_over_the_tail_changes_who_is_important():
    sizes, limit = [100] * 3, 2.67
    assert ompq([1.0, 2, 3], sizes, limit)[0] == [2, 2, 4]
    # Tail means 2, 2.5, 3 keep the order; a strong first layer loses to the mean of the rest.
    assert ompq([3.0, 1, 4], sizes, limit)[0] == [2, 2, 4]
    assert ompq([3.0, 0, 1], sizes, limit)[0] == [4, 2, 2]
    assert ompq([1.2, 0, 1], sizes, limit, tail_average=True)[0] == [2, 2, 4]


def test_a_general_table_gives_its_slope_over_bits():
    table = make_table([10, 10])
    values = [[9, 1, 0], [4, 2, 0.5]]  # slopes -4.5 and -1.75
    scores = make_scores(table, "w2a8 w3a8 w4a8", values)
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=3)])
    assert choice_of(problem, solve(problem, "ompq_lp")) == (2, 0)


def test_pinned_layers_keep_their_bits_and_use_the_budget():
    table = make_table([10, 10, 10], pinned=(0,))
    scores = make_scores(table, "w2a8 w4a8 w8a8", [[2, 1, 0]] * 3)
    problem = build_problem(table, scores, [Budget(resource="avg_bits", limit=5)])
    solution = solve(problem, "ompq_lp")
    assert solution.allocation.candidates[0] == Candidate.parse("w8a8")
    assert solution.budgets[0].used <= 5


def test_what_the_program_cannot_express_is_refused():
    table = make_table([10, 20])

    def problem(candidates, *budgets):
        values = np.zeros((2, len(candidates.split())))
        limits = [Budget(resource=r, limit=v) for r, v in budgets]
        return build_problem(table, make_scores(table, candidates, values), limits)

    with pytest.raises(AllocationError, match="exactly one budget"):
        solve(problem("w2a8 w4a8"), "ompq_lp")
    with pytest.raises(AllocationError, match="weight bits only; `layer0`"):
        solve(problem("w2a8 w4a4", ("size", 0.9)), "ompq_lp")
    with pytest.raises(InfeasibleBudgetError):
        solve(problem("w4a8 w8a8", ("size", 0.3)), "ompq_lp")
    assert solve(problem("w4a8 w8a8", ("bops", 0.7)), "ompq_lp").status == "feasible"
