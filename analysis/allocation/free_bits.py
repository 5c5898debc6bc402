"""Bits that cost no time: a pass over an allocation with a latency table."""

from collections.abc import Iterator

from analysis.allocation.problem import Problem
from analysis.errors import AllocationError
from analysis.models.latency import known_times
from analysis.quant.formats import bits_of
from analysis.records import LatencyTable

Choice = tuple[int, ...]
Times = tuple[tuple[tuple[int, ...], ...], ...]  # of every layer that a candidate is for


def raise_free_bits(problem: Problem, choice: Choice) -> tuple[Choice, tuple[str, ...]]:
    """Raise bits wherever no layer becomes slower and every budget still holds.

    The second stage of Free Bits, arXiv 2307.02894. Groups are visited in network order, again and
    again until nothing changes: first the activation format of the whole group is raised as far as
    it goes, weights following no further than they must, then the weights of its layers. Tied
    layers are raised together, where none of them becomes slower. Neither weight nor activation
    bits of a layer ever fall. Which layer gets a budget's slack therefore depends on the order; the
    result cannot be raised any further by one such step.

    Args:
        problem: Candidates, groups, budgets and the latency table.
        choice: A choice within the budgets, shape (L,).

    Returns:
        The raised choice, and a note on what was raised.

    Raises:
        AllocationError: If there is no latency table, or it misses a layer or candidate.
    """
    if problem.latency is None:
        raise AllocationError(
            "Raising free bits must know the times of the layers, got no latency table. Name one, "
            "or measure one on this machine with the step `latency`."
        )
    times = _times(problem, problem.latency)
    before, after = None, choice
    while after != before:
        before = after
        for group in problem.groups:
            for step in (_activations, _weights):
                after = _first_kept(problem, after, step(problem, times, after, group))
    return after, (_note(problem, choice, after),)


def _times(problem: Problem, latency: LatencyTable) -> Times:
    by_layer = {
        m: own for ms, own in zip(problem.members, problem.candidates, strict=True) for m in ms
    }
    each = known_times(problem.table, latency, tuple(by_layer[m] for m in range(len(by_layer))))
    return tuple(tuple(zip(*(each[m] for m in ms), strict=True)) for ms in problem.members)


def _first_kept(problem: Problem, choice: Choice, raised: Iterator[Choice]) -> Choice:
    """Return the first of the raised choices that keeps every budget, else the choice itself."""
    for candidate in raised:
        if not problem.overruns(candidate):
            return candidate
    return choice


def _activations(
    problem: Problem, times: Times, choice: Choice, group: tuple[int, ...]
) -> Iterator[Choice]:
    """Yield the choices with more activation bits in a group, most bits first."""
    now = bits_of(problem.candidates[group[0]][choice[group[0]]].activation)
    formats = dict.fromkeys(c.activation for c in problem.candidates[group[0]])
    for name in sorted(formats, key=bits_of, reverse=True):
        if bits_of(name) <= now:
            return
        new = list(choice)
        for i in group:
            own = [
                k
                for k in _no_slower(problem, times, choice, i)
                if problem.candidates[i][k].activation == name
            ]
            if not own:
                break
            new[i] = min(own, key=lambda k: (_weight(problem, i, k), sum(times[i][k])))
        else:
            yield tuple(new)


def _weights(
    problem: Problem, times: Times, choice: Choice, group: tuple[int, ...]
) -> Iterator[Choice]:
    """Yield the choices with more weight bits in one layer of a group, most bits first."""
    for i in group:
        now = problem.candidates[i][choice[i]]
        own = [
            k
            for k in _no_slower(problem, times, choice, i)
            if problem.candidates[i][k].activation == now.activation
            and _weight(problem, i, k) > bits_of(now.weight)
        ]
        for k in sorted(own, key=lambda k: (-_weight(problem, i, k), sum(times[i][k]))):
            yield (*choice[:i], k, *choice[i + 1 :])


def _no_slower(problem: Problem, times: Times, choice: Choice, i: int) -> list[int]:
    """Return the candidates of a layer with at least its weight bits and at most its time."""
    now = choice[i]
    return [
        k
        for k in range(len(problem.candidates[i]))
        if all(a <= b for a, b in zip(times[i][k], times[i][now], strict=True))
        and _weight(problem, i, k) >= _weight(problem, i, now)
    ]


def _weight(problem: Problem, i: int, k: int) -> int:
    return bits_of(problem.candidates[i][k].weight)


def _note(problem: Problem, before: Choice, after: Choice) -> str:
    chosen = (problem.allocation(choice).candidates for choice in (before, after))
    raised = [
        f"`{name}` {old.text} to {new.text}"
        for name, old, new in zip(problem.table.names, *chosen, strict=True)
        if old != new
    ]
    if not raised:
        return "No bits are free: every raise makes a layer slower or breaks a budget."
    shown = ", ".join(raised[:5])
    more = f" and {len(raised) - 5} more" if len(raised) > 5 else ""
    change = problem.objective(after) - problem.objective(before)
    return (
        f"Free bits by the latency table raised {len(raised)} layers, none of them slower: {shown}"
        f"{more}; the summed score changed by {change:.4g} {problem.unit}."
    )
