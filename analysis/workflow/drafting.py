"""Which allocations an accuracy curve measures: those of every series and its baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from analysis.allocation import allocation_costs
from analysis.allocation.edit import default_pins, settle
from analysis.allocation.front import Make, used
from analysis.allocation.random_feasible import random_feasible
from analysis.allocation_file import uniform_allocation
from analysis.commands import budget_text
from analysis.curves.points import Drafted
from analysis.errors import AllocationError
from analysis.records import (
    Absent,
    Allocation,
    Budget,
    Candidate,
    Front,
    LayerTable,
    ScoreTable,
)
from analysis.records.curve import RANDOM, UNIFORM
from analysis.workflow.curve_plan import CurvePlan
from analysis.workflow.sweeping import fixed_problem

# The front of each metric and solver, or why there is none.
Fronts = Mapping[tuple[str, str], Front | str]


def drafts(
    plan: CurvePlan,
    table: LayerTable,
    scores: ScoreTable,
    make: Make,
    limits: Sequence[float],
    fronts: Fronts,
) -> tuple[tuple[Drafted, ...], tuple[Absent, ...]]:
    """Return what to measure, random allocations last, and what there is not.

    Args:
        plan: What was asked for.
        table: The layers.
        scores: Of the size-only baseline.
        make: Makes the problem of these scores for given budgets.
        limits: The limits, rising.
        fronts: The front of each metric and solver, or why there is none.
    """
    found: list[Drafted] = []
    random: list[Drafted] = []
    absent: list[Absent] = []
    draws = _draws(plan, make, limits)
    for place, series in enumerate(plan.series):
        if series.kind == UNIFORM:
            there, missing = _uniform(plan, table, scores, limits, place)
            found += there
        elif series.kind == RANDOM:
            random += [replace(each, series=place) for each in draws[0]]
            missing = [replace(each, series=place) for each in draws[1]]
        else:
            there, missing = _on_front(fronts[series.metric, series.solver], place)
            found += there
        absent += missing
    return tuple(found + random), tuple(absent)


def _on_front(front: Front | str, series: int) -> tuple[list[Drafted], list[Absent]]:
    if isinstance(front, str):
        return [], [Absent(series=series, place=-1, reason=front)]
    found, absent = [], []
    for at, point in enumerate(front.points):
        if point.solution is None:
            absent.append(Absent(series=series, place=at, reason=point.reason))
            continue
        best = point.solution
        found.append(
            Drafted(series, at, best.allocation, best.costs, point.used, best.status, best.gap)
        )
    return found, absent


def _draws(
    plan: CurvePlan, make: Make, limits: Sequence[float]
) -> tuple[list[Drafted], list[Absent]]:
    """Draw the random allocations of each limit, for a series that is filled in later."""
    found, absent = [], []
    for at, limit in enumerate(limits if plan.random else ()):
        problem = make((Budget(resource=plan.resource, limit=limit), *plan.fixed))
        try:
            choices = random_feasible(problem, plan.random, plan.seed + at)
        except AllocationError as error:
            absent.append(Absent(series=-1, place=at, reason=str(error)))
            continue
        for choice in dict.fromkeys(choices):  # a narrow limit holds few: each counts once
            each = problem.allocation(choice)
            costs = allocation_costs(problem.table, each, plan.latency)
            need = used(problem, plan.resource, choice)
            found.append(Drafted(-1, at, each, costs, need, RANDOM, None))
    return found, absent


def _with(allocation: Allocation, pins: Mapping[str, Candidate]) -> Allocation:
    return replace(allocation, candidates=tuple((allocation.as_dict() | dict(pins)).values()))


def _uniform(
    plan: CurvePlan,
    table: LayerTable,
    scores: ScoreTable,
    limits: Sequence[float],
    series: int,
) -> tuple[list[Drafted], list[Absent]]:
    """Return every uniform allocation at the smallest limit that it fits."""
    found: list[Drafted] = []
    absent: list[Absent] = []
    held = plan.settings.pin_first_last
    unlimited = Budget(resource=plan.resource, limit=1.0)
    pins = (*(default_pins(table) if held else ()), *plan.pins)
    for candidate in plan.candidates:
        plain = _with(uniform_allocation(table, candidate, pin_first_last=held), plan.pins)
        allocation = settle(table, plain, plain, pins, plan.ties)
        try:
            problem = fixed_problem(
                table, scores, allocation, (unlimited, *plan.fixed), plan.latency
            )
        except AllocationError as error:
            absent.append(Absent(series=series, place=-1, reason=f"{candidate.text}: {error}"))
            continue
        choice = (0,) * len(table.layers)
        need = used(problem, plan.resource, choice)
        broken = [r.budget for r in problem.overruns(choice) if r.budget.resource != plan.resource]
        fits = [at for at, limit in enumerate(limits) if need <= limit]
        if broken or not fits:
            too_dear = budget_text(broken[0]) if broken else f"{plan.resource}={limits[-1]:g}"
            reason = f"Uniform {candidate.text} does not fit {too_dear}."
            absent.append(Absent(series=series, place=-1, reason=reason))
            continue
        costs = allocation_costs(table, allocation, plan.latency)
        found.append(Drafted(series, fits[0], allocation, costs, need, UNIFORM, None))
    return found, absent
