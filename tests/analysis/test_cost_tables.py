"""Costs by format against the rows that solvers use."""

import random
from dataclasses import replace

import pytest

from analysis.allocation.budgets import cost_rows
from analysis.cost_tables import NAMES, cost_tables
from analysis.errors import AllocationError
from analysis.records import Arithmetic, Budget, Candidate, LayerTable, Moment
from tests.reference.allocation import make_table

RESOURCES = ("size", "size_mib", "stored_mib", "gbops", "avg_bits", "bops", "act", "act_mib", "ace")


def table() -> LayerTable:
    made = make_table([72, 32, 80, 5], macs=[1800, 800, 80, 7], groups=[0, 1, 1, 2], others=22)
    moments = (
        Moment(at="one", groups=(0, 1), elements=(30, 50), unquantized=7),
        Moment(at="two", groups=(1, 2), elements=(10, 90), unquantized=0),
    )
    work = Arithmetic(groups=(1,), elements=(40,), unquantized=3, products=2)
    return replace(made, moments=moments, arithmetic=work)


@pytest.mark.parametrize("resource", RESOURCES)
def test_tables_add_up_to_the_rows_of_the_solvers(resource: str) -> None:
    made, draw = table(), random.Random(2)
    budget = Budget(resource=resource, limit=0.5)
    for _ in range(20):
        shared = {group: draw.choice(NAMES) for group in made.groups}
        candidates = [
            Candidate(draw.choice(NAMES), shared[layer.activation_group]) for layer in made.layers
        ]
        rows = cost_rows(made, tuple((candidate,) for candidate in candidates), budget)
        found = cost_tables(made, budget)
        assert [each.total(made, candidates) for each in found] == [
            row.total((0,) * len(candidates)) for row in rows
        ]
        assert [(each.limit, each.unit) for each in found] == [
            (row.limit, row.unit) for row in rows
        ]


def test_costs_that_are_not_known_are_refused() -> None:
    with pytest.raises(AllocationError, match="latency table"):
        cost_tables(table(), Budget(resource="latency_ms", limit=1.0))
