"""The same problem with fewer candidates."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from analysis.allocation.problem import Pair, Problem

T = TypeVar("T")


def restrict(
    problem: Problem, kept: Sequence[Sequence[int]]
) -> tuple[Problem, tuple[tuple[int, ...], ...]] | None:
    """Keep some candidates of each layer, and of these the formats that whole groups can take.

    Args:
        problem: The problem.
        kept: Indices of the candidates to keep, one sequence per layer.

    Returns:
        The smaller problem and, per layer, the index that each of its candidates had before; None
        if a group has no activation format left.
    """
    places: list[tuple[int, ...]] = [()] * len(kept)
    for group in problem.groups:
        shared = set.intersection(
            *({problem.candidates[i][k].activation for k in kept[i]} for i in group)
        )
        if not shared:
            return None
        for i in group:
            places[i] = tuple(k for k in kept[i] if problem.candidates[i][k].activation in shared)
    smaller = replace(
        problem,
        candidates=_pick(problem.candidates, places),
        scores=_pick(problem.scores, places),
        apart=tuple(
            _pick(rows, [kept] * len(rows))
            for rows, kept in zip(problem.apart, places, strict=True)
        ),
        rows=tuple(replace(row, costs=_pick(row.costs, places)) for row in problem.rows),
        pairs=tuple(_pair(pair, places) for pair in problem.pairs),
    )
    return smaller, tuple(places)


def _pair(pair: Pair, places: Sequence[tuple[int, ...]]) -> Pair:
    values = tuple(
        tuple(pair.values[k][m] for m in places[pair.second]) for k in places[pair.first]
    )
    return replace(pair, values=values)


def _pick(
    table: tuple[tuple[T, ...], ...], places: Sequence[tuple[int, ...]]
) -> tuple[tuple[T, ...], ...]:
    return tuple(tuple(own[k] for k in kept) for own, kept in zip(table, places, strict=True))
