"""Solvers on 200 layers of 8 candidates, and sweeps of 40 budgets: `make bench`."""

import dataclasses
from time import perf_counter

import numpy as np
import pytest

from analysis.allocation import build_problem, random_feasible, solve
from analysis.allocation.dp import curve
from analysis.allocation.highs import Minimum
from analysis.allocation.local import LocalOptions
from analysis.allocation.presolve import minimise_reduced
from analysis.allocation.problem import Problem
from analysis.allocation.rlt import RltOptions
from analysis.records import Budget, Solution
from tests.reference.allocation import layered_problem, make_scores, make_table

CANDIDATES = "w2a4 w3a4 w4a4 w5a8 w6a8 w7a8 w8a8 w16a8"
SIZE, BOPS = Budget(resource="size", limit=0.6), Budget(resource="bops", limit=0.5)
CERTIFIED, SWEEP = 1.0, 10.0  # seconds


def timed(work):
    begin = perf_counter()
    return work(), perf_counter() - begin


def said(name: str, found: Solution, seconds: float, best: float) -> None:
    gap = "no bound" if found.gap is None else f"gap {found.gap:.3%}"
    print(
        f"\n{name}: {seconds:.2f} s, {found.status}, {gap}, {found.objective / best - 1:+.3%} "
        f"beside the best",
        end="",
    )


def test_the_optimum_of_two_budgets_is_certified_within_a_second(benchmark):
    problems = [layered_problem(200, CANDIDATES, [SIZE, BOPS], seed=s) for s in range(5)]
    solve(problems[0], "milp")
    times = []
    for problem in problems:
        found, seconds = timed(lambda problem=problem: solve(problem, "milp"))
        assert (found.status, found.gap <= 1e-7) == ("optimal", True)
        times.append(seconds)
    benchmark.pedantic(lambda: solve(problems[0], "milp"), rounds=3)
    print(f"\nmilp, 200 x 8, two budgets: {', '.join(f'{t:.2f}' for t in times)} s")
    assert max(times) < CERTIFIED


def reduced(problem: Problem) -> Minimum:
    return minimise_reduced(problem, time_limit=30.0, relative_gap=0.0)


SWEPT = {"milp": lambda problem: solve(problem, "milp"), "presolved": reduced}


@pytest.mark.parametrize("name", SWEPT)
def test_forty_budgets_take_less_than_ten_seconds(benchmark, name):
    problem = layered_problem(200, CANDIDATES, [SIZE])
    limits = [Budget(resource="size", limit=round(float(x), 4)) for x in np.linspace(0.3, 1.1, 40)]
    swept = [
        dataclasses.replace(problem, rows=(dataclasses.replace(problem.rows[0], budget=limit),))
        for limit in limits
    ]
    found, seconds = timed(lambda: [SWEPT[name](one) for one in swept])
    benchmark.pedantic(lambda: SWEPT[name](problem), rounds=3)
    print(f"\n40 budgets, {name}: {seconds:.2f} s")
    assert {solution.status for solution in found} == {"optimal"}
    assert seconds < SWEEP


def test_the_whole_curve_takes_dp_less_than_ten_seconds(benchmark):
    problem = layered_problem(200, CANDIDATES, [SIZE])
    found, seconds = timed(lambda: curve(problem))
    benchmark.pedantic(lambda: solve(problem, "dp"), rounds=2)
    gaps = (found.objectives - found.lower_bounds) / found.objectives
    print(
        f"\nwhole curve by dp: {seconds:.2f} s, {len(found.costs)} points, "
        f"median gap {np.median(gaps):.3%}"
    )
    assert seconds < SWEEP


@pytest.mark.parametrize("budgets", [(SIZE,), (SIZE, BOPS)], ids=["one", "two"])
def test_other_solvers_beside_the_certified_one(benchmark, budgets):
    problem = layered_problem(200, CANDIDATES, list(budgets))
    best, seconds = timed(lambda: solve(problem, "milp"))
    said("milp", best, seconds, best.objective)
    for name in ("greedy", "minmax") + ("dp",) * (len(budgets) == 1):
        found, seconds = timed(lambda name=name: solve(problem, name))
        said(name, found, seconds, best.objective)
        assert found.objective >= best.objective * (1 - 1e-7)
    drawn, seconds = timed(lambda: random_feasible(problem, 20, 0))
    least = min(map(problem.objective, drawn))
    print(f"\n20 random allocations: {seconds:.2f} s, best {least / best.objective - 1:+.1%}")
    benchmark.pedantic(lambda: solve(problem, "greedy"), rounds=3)


def interacting(layers: int, share: float, seed: int) -> Problem:
    """Return layers of 3 candidates of which a share of the pairs interacts."""
    rng = np.random.default_rng(seed)
    depth = np.array([16.0, 4.0, 1.0])
    half = rng.normal(size=(layers, 3, layers, 3)) * np.outer(depth, depth)[:, None] / 16
    half *= rng.random((layers, 1, layers, 1)) < share
    table = make_table([int(w) for w in rng.integers(1000, 99999, layers)])
    values = rng.lognormal(0, 1, (layers, 1)) * depth
    together = half + half.transpose(2, 3, 0, 1)
    scores = make_scores(table, "w2a8 w4a8 w8a8", values, interactions=together)
    return build_problem(table, scores, [Budget(resource="avg_bits", limit=5)])


@pytest.mark.parametrize(("layers", "share"), [(8, 1.0), (16, 1.0), (20, 1.0), (50, 0.03)])
def test_interactions_beside_local_search(benchmark, layers, share):
    problem = interacting(layers, share, 0)
    exact, seconds = timed(lambda: solve(problem, "rlt", RltOptions(time_limit=60.0)))
    said(f"rlt, {layers} layers, {len(problem.pairs)} pairs", exact, seconds, exact.objective)
    near, seconds = timed(lambda: solve(problem, "local"))
    print(f"\nlocal: {seconds:.2f} s, {near.objective:.4f} where rlt has {exact.objective:.4f}")
    assert exact.lower_bound <= exact.objective <= near.objective + 1e-9
    benchmark.pedantic(lambda: solve(problem, "local", LocalOptions(restarts=0)), rounds=2)
