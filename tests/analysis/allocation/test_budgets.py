import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.allocation import allocation_costs, build_problem, parse_budget, solve
from analysis.allocation.budgets import CostRow, check_budgets, cost_rows
from analysis.errors import AllocationError, UnknownNameError
from analysis.records import Allocation, Budget, Candidate
from tests.reference.allocation import make_scores, make_table

W4A8, W8A8 = Candidate("int4", "int8"), Candidate("int8", "int8")


def test_a_budget_is_read_as_it_is_typed():
    assert parse_budget("size=0.6") == Budget(resource="size", limit=0.6)
    assert parse_budget(" avg_bits = 4.5 ") == Budget(resource="avg_bits", limit=4.5)


@pytest.mark.parametrize("text", ["size", "size=", "size=small", "=0.5=2", "size=0.5=2"])
def test_other_forms_are_refused(text):
    with pytest.raises(AllocationError, match="must look like `size="):
        parse_budget(text)


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf"])
def test_a_limit_must_be_positive_and_finite(limit):
    with pytest.raises(AllocationError, match="must be a positive number"):
        parse_budget(f"size={limit}")


def test_a_resource_has_one_budget():
    both = [Budget(resource="size", limit=0.5), Budget(resource="size", limit=0.6)]
    with pytest.raises(AllocationError, match=r"size=0.5, size=0.6; keep the tighter one"):
        check_budgets(both)
    check_budgets([both[0], Budget(resource="bops", limit=0.5)])


@pytest.mark.parametrize("solver", ["milp", "dp", "greedy", "minmax", "ompq_lp", "uniform"])
@pytest.mark.parametrize("limit", [1e20, 1e308])
def test_a_limit_beyond_what_numbers_hold_limits_nothing(solver, limit):
    table = make_table([100, 300, 50])
    scores = make_scores(table, "w2a8 w8a8", [[3.0, 1.0], [2.0, 1.0], [5.0, 0.5]])
    found = solve(build_problem(table, scores, [Budget(resource="size", limit=limit)]), solver)
    assert {c.text for c in found.allocation.candidates} == {"w8a8"}
    assert found.budgets[0].used == 1.0


def test_an_unknown_resource_names_the_near_one():
    with pytest.raises(UnknownNameError, match="`size`"):
        parse_budget("sise=0.5")


def test_a_decimal_limit_admits_exactly_that_ratio():
    # 0.6 in binary lies below 6/10: compared as floats of products, 6 of 10 would not fit.
    assert CostRow(Budget(resource="size", limit=0.6), ((6,),), 0, 10).limit == 6


@settings(deadline=None)
@given(total=st.integers(1, 10**15), unit=st.integers(1, 10**15))
def test_a_rounded_up_limit_admits_the_total_and_is_close(total, unit):
    row = CostRow(Budget(resource="size", limit=1.0), ((total,),), 0, unit)
    shown = row.rounded_up(total)
    assert CostRow(Budget(resource="size", limit=shown), ((total,),), 0, unit).limit >= total
    assert shown <= total / unit * (1 + 1.01e-4)
    assert float(f"{shown:g}") == shown


@settings(deadline=None)
@given(limit=st.floats(1e-6, 1e6), unit=st.integers(1, 10**12))
def test_what_fits_in_whole_numbers_fits_in_the_unit(limit, unit):
    row = CostRow(Budget(resource="size", limit=limit), (), 0, unit)
    assert row.in_unit(row.limit) <= limit
    assert math.nextafter(row.in_unit(row.limit + 1), math.inf) > limit


def test_each_resource_counts_what_its_name_says():
    table = make_table([10, 30], macs=[100, 60], others=5)
    own = ((W4A8, W8A8), (W8A8,))

    def row(resource):
        return cost_rows(table, own, Budget(resource=resource, limit=1.0))[0]

    assert row("bops").costs == ((3200, 6400), (3840,))
    assert row("size").costs == row("size_mib").costs == row("avg_bits").costs == ((40, 80), (240,))
    assert (row("size").fixed, row("avg_bits").fixed, row("bops").fixed) == (160, 0, 0)
    assert row("size").in_unit(row("size").total((1, 0))) == 1.0
    assert row("bops").in_unit(row("bops").total((1, 0))) == 1.0
    assert row("gbops").costs == row("bops").costs
    assert row("gbops").in_unit(row("gbops").total((1, 0))) == (6400 + 3840) / 1e9
    assert row("avg_bits").in_unit(row("avg_bits").total((0, 0))) == 280 / 40
    assert row("size_mib").in_unit(8 * 2**20) == 1.0


def test_scales_take_32_bits_per_output_channel_of_a_quantized_weight():
    table = make_table([64, 16], others=3)  # shapes (64, 1) and (16, 1)
    own = ((W4A8, W8A8, Candidate("float", "float")),) * 2
    (row,) = cost_rows(table, own, Budget(resource="stored_mib", limit=1.0))
    (plain,) = cost_rows(table, own, Budget(resource="size_mib", limit=1.0))
    more = [
        [a - b for a, b in zip(*pair, strict=True)]
        for pair in zip(row.costs, plain.costs, strict=True)
    ]
    assert more == [[64 * 32, 64 * 32, 0], [16 * 32, 16 * 32, 0]]
    assert (row.fixed, row.unit) == (plain.fixed, plain.unit)
    mixed = Allocation(layers=table.names, candidates=(W4A8, Candidate("float", "float")))
    assert allocation_costs(table, mixed).scales_mib == 64 * 32 / (8 * 2**20)
