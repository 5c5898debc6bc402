"""The exact solver for interactions of layers."""

from dataclasses import dataclass
from time import perf_counter

from analysis.allocation.local import search
from analysis.allocation.problem import Problem
from analysis.allocation.rlt_model import Choice, RltModel, Shifted, shifted
from analysis.allocation.solvers import (
    FEASIBLE,
    INTERACTIONS,
    OPTIMAL,
    SOLVERS,
    TIMEOUT,
    Answer,
)
from analysis.events import Progress, Work
from analysis.options import Options, option

_TARGET = 1e4  # scaled optimum, far above HiGHS's absolute tolerance of 1e-6
_GOOD_ENOUGH = 1e2
_CERTIFIED = 1e-7
_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class RltOptions(Options):
    """How long to search, and from where."""

    time_limit: float = option(60.0, low=0.1, high=36000.0, help="Seconds before it stops.")
    relative_gap: float = option(
        0.0, low=0.0, high=0.5, help="Stop this close to the optimum; 0 proves it."
    )
    restarts: int = option(3, low=0, high=1000, help="Random starts of the local search before it.")
    seed: int = option(0, low=0, high=2**31 - 1, help="Seed of the random starts.")


@SOLVERS.register(
    "rlt",
    title="Exact with interactions",
    answers="Which allocation has the least score with interactions of layers, with proof?",
    reference="Linearization of Adams and Sherali 1986, doi:10.1287/mnsc.32.10.1274; interactions "
    "of Deng et al. 2023 (CLADO), arXiv:2307.05657",
    needs=(INTERACTIONS,),
    options=RltOptions,
    cost="seconds up to 20 layers of 3 candidates with all interactions, or 50 with few of them",
)
def rlt(problem: Problem, options: RltOptions) -> Work[Answer]:
    r"""Minimise the summed scores and interactions exactly.

    .. math:: \min \sum_{i,k} s_{ik} x_{ik} + \sum_{i<j} \sum_{k,l} \omega_{ijkl} x_{ik} x_{jl}

    within all budgets and groups, by a mixed-integer linear program with a variable per product.
    Interactions are not projected on a convex form, which would solve another problem. A local
    search goes before it: its answer limits what the program looks at, and is kept where the
    program finds nothing better in time. The score may be negative.

    Args:
        problem: Candidates, scores, interactions, budgets and groups.
        options: Time limit, gap and the local search.

    Raises:
        InfeasibleBudgetError: If no allocation fits, with the nearest limit that does.
    """
    deadline = perf_counter() + options.time_limit
    start = yield from search(problem, restarts=options.restarts, seed=options.seed)
    terms = shifted(problem)
    yield Progress(0, 1, f"mixed-integer program, at most {options.time_limit:g} s")
    choice, bound, ended = _search(problem, terms, start.choice, deadline, options.relative_gap)
    value = terms.value(choice)
    lowest = max(terms.offset + bound, start.lower_bound or float("-inf"))
    proven = value - bound <= _CERTIFIED * value
    status = OPTIMAL if proven else FEASIBLE if ended else TIMEOUT
    notes = {
        TIMEOUT: (f"Stopped after {options.time_limit:g} s; the lower bound holds.",),
        FEASIBLE: ("Not proven optimal: the gap says how far from it at most.",),
    }
    return Answer(choice, status, lowest, notes.get(status, ()))


def _search(
    problem: Problem, terms: Shifted, best: Choice, deadline: float, gap: float
) -> tuple[Choice, float, bool]:
    """Return the best choice, a lower bound without the offset, and whether the search ended."""
    bound, broken = 0.0, list[Choice]()
    for _ in range(_ROUNDS):
        value = terms.value(best)
        if value == 0:
            return best, 0.0, True
        scale = _TARGET / value
        model = RltModel(problem, terms, value, scale)
        model.exclude(broken)
        choice, bound, ended = model.run(max(deadline - perf_counter(), 0.01), gap)
        if choice is None:
            break
        if problem.overruns(choice):
            broken.append(choice)
            continue
        if terms.value(choice) < value:
            best = choice
        # An optimum far below the value it was scaled by drowns in the tolerance.
        if not ended or terms.value(best) * scale >= _GOOD_ENOUGH:
            break
    return best, min(bound, terms.value(best)), ended
