"""Published allocations: HAWQ-V3's for ResNet-18 and OMPQ's vectors, from their own numbers."""

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from analysis.allocation import build_problem, solve
from analysis.allocation.budgets import CostRow
from analysis.allocation.dp import DpOptions
from analysis.allocation.ompq_program import linear_program, projection, rounded
from analysis.allocation.tying import tie
from analysis.records import Budget, Candidate
from tests.reference.allocation import make_scores, make_table

FIXTURES = Path(__file__).parents[2] / "fixtures"
MIB = 2**20 * 8


def hawq_problem(resource: str):
    """Return ResNet-18's problem and its published 4-bit layers."""
    facts = json.loads((FIXTURES / "hawq_v3_resnet18.json").read_text())
    arrays = facts["arrays"]
    n = len(arrays["params"])
    table = make_table(arrays["params"], macs=arrays["bops"])
    error = np.array(arrays["error_w4_squared"]) - np.array(arrays["error_w8_squared"])
    gain = np.array(arrays["mean_trace"]) * error
    scores = make_scores(table, "w4a4 w8a8", np.stack([gain, np.zeros(n)], axis=1))
    costs = {
        "size": [(p * 4, p * 8) for p in arrays["params"]],
        "bops": [(m * 16, m * 64) for m in arrays["bops"]],
        # Eight decimals in ms are whole numbers of 1e-11 s.
        "latency": [
            (round(four * 1e8), round(eight * 1e8))
            for four, eight in zip(arrays["latency_int4"], arrays["latency_int8"], strict=True)
        ],
    }[resource]
    low, high = (sum(column) for column in zip(*costs, strict=True))
    row = CostRow(
        Budget(resource=resource, limit=float(Fraction(low + high, 2))), tuple(costs), 0, 1
    )
    problem = dataclasses.replace(build_problem(table, scores, ()), rows=(row,))
    # The convolution of a residual branch and the one beside it have the same bits.
    return tie(problem, facts["ties"]), facts["expected_4bit_layers_at_half"][resource]


@pytest.mark.parametrize("resource", ["size", "bops", "latency"])
@pytest.mark.parametrize("solver", ["milp", "dp"])
def test_hawq_v3_resnet18_gets_the_released_configuration_from_exact_solvers(resource, solver):
    problem, expected = hawq_problem(resource)
    options = DpOptions(cells=200_000) if solver == "dp" else None
    solution = solve(problem, solver, options)
    four = [i for i, c in enumerate(solution.allocation.candidates) if c == Candidate.parse("w4a4")]
    assert four == expected
    # Latencies have no common unit: dp rounds them.
    assert solution.status == "optimal" or (solver, resource) == ("dp", "latency")
    quick = solve(problem, "greedy")
    assert quick.lower_bound <= solution.objective <= quick.objective


def published(model: str, size: str):
    facts = json.loads((FIXTURES / "ompq_vectors.json").read_text())[model]
    return facts["params"], facts["vectors"][size], Fraction(size) * MIB


@pytest.mark.parametrize(("size", "equal"), [("1.5", 53), ("1.3", 52), ("1.1", 48), ("0.9", 45)])
def test_ompq_mobilenet_v2_follows_from_sizes_alone(size, equal):
    params, vector, limit = published("mobilenet_v2", size)
    n = len(params)
    bits = rounded(linear_program(np.ones(n), params, [2] * n, [4] * n, limit), params, "nearest")
    assert int((bits == vector).sum()) == equal


@pytest.mark.parametrize(("size", "equal"), [("1.5", 53), ("1.3", 52), ("1.1", 53), ("0.9", 53)])
def test_ompq_mobilenet_v2_is_the_projection_where_importances_drown(size, equal):
    params, vector, limit = published("mobilenet_v2", size)
    n = len(params)
    bits = rounded(projection(params, [2] * n, [4] * n, limit), params, "nearest")
    assert int((bits == vector).sum()) == equal


@pytest.mark.parametrize(("size", "equal"), [("5.5", 18), ("4.0", 16), ("3.0", 14), ("4.5", 13)])
def test_ompq_resnet18_is_the_projection_filled_to_its_size(size, equal):
    params, vector, limit = published("resnet18", size)
    n = len(params)
    bits = rounded(projection(params, [2] * n, [4] * n, limit), params, "fill")
    assert int((bits == vector).sum()) == equal
    assert sum(p * int(b) for p, b in zip(params, bits, strict=True)) <= limit


def test_the_published_mobilenet_v2_overshoots_and_the_solver_keeps_the_budget():
    params, vector, _ = published("mobilenet_v2", "1.5")
    table = make_table(params)
    scores = make_scores(table, "w2a8 w3a8 w4a8", [[2, 1, 0]] * len(params))
    problem = build_problem(table, scores, [Budget(resource="size_mib", limit=1.5)])
    solution = solve(problem, "ompq_lp")
    bits = [int(c.weight[3:]) for c in solution.allocation.candidates]
    assert bits == [*vector[:-1], 2]
    assert "use 1.5185 of size_mib where 1.5 is allowed" in solution.notes[0]
