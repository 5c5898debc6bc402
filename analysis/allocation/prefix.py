"""A sorted list of steps down, walked as far as measured accuracy allows."""

from dataclasses import dataclass

from analysis.allocation.budgets import CostRow
from analysis.allocation.feasible import formats
from analysis.allocation.infeasible import explain
from analysis.allocation.problem import Problem
from analysis.allocation.solvers import FEASIBLE, MEASURED, SOLVERS, Answer, Measure
from analysis.events import Progress, Work
from analysis.options import Options, option
from analysis.quant.formats import bits_of
from analysis.records import Candidate, Evaluation

Choice = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PrefixOptions(Options):
    """How far to walk, and in which order."""

    allowed_drop: float = option(
        1.0, low=0.0, high=100.0, help="Accuracy that may be lost against float, in points."
    )
    order: str = option(
        "score_per_saving",
        choices=("score", "score_per_saving"),
        help="Least harm first, or least harm for what is saved of the budget (of the size).",
    )
    search: str = option(
        "binary",
        choices=("binary", "sequential"),
        help="Binary takes accuracy to fall along the list; sequential measures step by step.",
    )


@SOLVERS.register(
    "prefix",
    title="Sorted list, measured (practical mixed precision)",
    answers="How many steps down, least harmful first, keep the measured accuracy?",
    reference="Practical mixed precision, arXiv:2302.05397",
    needs=(MEASURED,),
    options=PrefixOptions,
)
def prefix(problem: Problem, options: PrefixOptions, measure: Measure) -> Work[Answer]:
    """Walk down the list of steps to the last state within the allowed drop, as measured.

    The first state gives every layer its candidate of most bits. A step gives one layer a candidate
    with fewer bits of its weight, its activation or both; where that changes the activation format,
    the layers that read the same tensor follow with their own weight format. Steps are sorted once
    by score; one that would raise bits again is passed over. With budgets, states that exceed one
    are not measured: the walk begins at the first that fits, and if that one loses more than is
    allowed it is still the answer, which a note says. Without labels the share of predictions that
    differ from the float network's stands for the drop.

    Args:
        problem: Candidates, scores, budgets and groups.
        options: Allowed drop, order and search.
        measure: Measures an allocation.

    Raises:
        InfeasibleBudgetError: If no state of the list fits, with the nearest limit that one does.
    """
    states, passed = _states(problem, options.order)
    first_fitting(problem, states)
    fitting = [n for n, choice in enumerate(states) if not problem.overruns(choice)]
    drops: dict[int, float] = {}
    sequential = options.search == "sequential"
    expected = len(fitting) if sequential else len(fitting).bit_length()

    def within(place: int) -> Work[bool]:
        state = fitting[place]
        yield Progress(len(drops), max(expected, len(drops) + 1), f"measuring {state} steps down")
        drops[state] = drop((yield from measure(problem.allocation(states[state]))))
        return 100 * drops[state] <= options.allowed_drop

    last, beyond = 0, len(fitting)
    if (yield from within(0)):
        while beyond - last > 1:
            tried = last + 1 if sequential else (last + beyond) // 2
            if (yield from within(tried)):
                last = tried
            else:
                beyond = tried
        found, most = fitting[last], len(states) - 1
        verb = "lose" if drops[found] >= 0 else "gain"
        verdict = f"{found} of {most} steps down {verb} {_points(abs(drops[found]))} points"
    else:
        found = fitting[0]
        verdict = (
            f"Even {found} steps down, the fewest within the budgets, lose "
            f"{_points(drops[found])} points, more than the {options.allowed_drop:g} allowed"
        )
    notes = [f"{verdict}; {len(drops)} allocations were measured ({options.search} search)."]
    if options.search == "binary" and len(drops) > 1:
        notes.append("Accuracy was taken to fall along the list, which was not checked.")
    if passed:
        notes.append(
            f"{passed} steps were passed over: layers that read the same tensor have no candidate "
            f"with that activation format and their own weight format."
        )
    return Answer(choice=states[found], status=FEASIBLE, notes=tuple(notes))


def sorted_list(problem: Problem, order: str) -> list[Choice]:
    """Return the choices along the sorted list, from most bits to fewest; see :func:`prefix`."""
    return _states(problem, order)[0]


def first_fitting(problem: Problem, states: list[Choice]) -> int:
    """Return the place of the first state on a sorted list that keeps every budget.

    Raises:
        InfeasibleBudgetError: If none does, with the nearest limit that one does.
    """
    for place, choice in enumerate(states):
        if not problem.overruns(choice):
            return place

    def smallest(row: CostRow, kept: tuple[CostRow, ...]) -> int | None:
        keeping = [c for c in states if all(r.total(c) <= r.limit for r in kept)]
        return min((row.total(c) for c in keeping), default=None)

    raise explain(problem.rows, smallest, "allocation on the sorted list")


def drop(measured: Evaluation) -> float:
    """Return what is lost against float in 0..1; without labels, how many predictions differ."""
    paired = measured.versus_float
    assert paired is not None  # every quantized network is compared
    return -paired.difference if measured.labelled else 1 - paired.agreement


def _points(share: float) -> str:
    return f"{round(100 * share, 2) + 0.0:.2f}"  # no -0.00


def _states(problem: Problem, order: str) -> tuple[list[Choice], int]:
    """Return the choices along the list, each different, and how many steps were impossible."""
    choice = _most_bits(problem)
    steps = [
        (i, k)
        for i, own in enumerate(problem.candidates)
        for k in range(len(own))
        if _lower(own[k], own[choice[i]])
    ]
    group_of = {i: group for group in problem.groups for i in group}
    start = choice
    steps.sort(key=lambda step: _key(problem, start, step[0], step[1], order))
    states, impossible = [choice], 0
    for i, k in steps:
        own = problem.candidates[i]
        if not _lower(own[k], own[choice[i]]):
            continue
        after = _stepped(problem, choice, i, k, group_of[i])
        if after is None:
            impossible += 1
            continue
        choice = after
        states.append(choice)
    return states, impossible


def _most_bits(problem: Problem) -> Choice:
    choice = [0] * len(problem.candidates)
    for group in problem.groups:
        name = max(formats(problem, group), key=bits_of)
        for i in group:
            own = problem.candidates[i]
            same = [k for k, c in enumerate(own) if c.activation == name]
            choice[i] = max(same, key=lambda k: (bits_of(own[k].weight), -problem.scores[i][k]))
    return tuple(choice)


def _lower(new: Candidate, old: Candidate) -> bool:
    """Tell whether a candidate takes fewer bits somewhere and more nowhere."""
    pairs = [(new.weight, old.weight), (new.activation, old.activation)]
    falls = [bits_of(a) - bits_of(b) for a, b in pairs]
    return max(falls) <= 0 and min(falls) < 0


def _key(
    problem: Problem, start: Choice, layer: int, k: int, order: str
) -> tuple[float, int, float, int]:
    """Order steps: by harm; ties by bits, many first, then by saving, then by place."""
    own = problem.candidates[layer]
    harm = problem.scores[layer][k] - problem.scores[layer][start[layer]]
    saving = _saving(problem, start, layer, k)
    if order == "score_per_saving":
        harm = harm / saving if saving > 0 else float("inf")
    bits = bits_of(own[k].weight) + bits_of(own[k].activation)
    return harm, -bits, -saving, layer


def _saving(problem: Problem, start: Choice, layer: int, k: int) -> float:
    """Return what a step saves: as shares of the budgets, else in bits of the weights."""
    if problem.rows:
        return sum(
            (row.costs[layer][start[layer]] - row.costs[layer][k]) / max(row.limit, 1)
            for row in problem.rows
        )
    own = problem.candidates[layer]
    fewer = bits_of(own[start[layer]].weight) - bits_of(own[k].weight)
    weights = sum(problem.table.layers[m].num_weights for m in problem.members[layer])
    return float(weights * fewer)


def _stepped(
    problem: Problem, choice: Choice, layer: int, k: int, group: tuple[int, ...]
) -> Choice | None:
    """Return the choice after a step, None where the layer's group cannot follow."""
    after = list(choice)
    after[layer] = k
    activation = problem.candidates[layer][k].activation
    for i in group:
        own = problem.candidates[i]
        held = own[after[i]]
        if held.activation != activation:
            wanted = Candidate(held.weight, activation)
            if wanted not in own:
                return None
            after[i] = own.index(wanted)
    return tuple(after)
