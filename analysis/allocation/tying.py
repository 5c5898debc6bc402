"""Ties: layers that must take the same candidate, weights and activations alike."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import fsum
from typing import TypeVar

import numpy as np

from analysis.allocation.problem import Pair, Problem
from analysis.errors import AllocationError, UnknownNameError
from analysis.records import FloatArray, LayerTable

T = TypeVar("T")
Ties = Sequence[Sequence[str]]


def checked_ties(table: LayerTable, ties: Ties) -> tuple[tuple[str, ...], ...]:
    """Return ties with the layers of each in the order of the table.

    Raises:
        AllocationError: If a tie has fewer than two layers, or a layer comes twice.
        UnknownNameError: If a tie names no layer.
    """
    for name in (name for own in ties for name in own):
        if name not in table.names:
            raise UnknownNameError("layer", name, table.names)
    for own in ties:
        if len(own) < 2:
            raise AllocationError(
                f"A tie must hold at least two layers, got "
                f"{f'only `{own[0]}`' if own else 'none'}; add a layer or leave the tie out."
            )
    twice = [name for name, n in Counter(name for own in ties for name in own).items() if n > 1]
    if twice:
        raise AllocationError(
            f"A layer must be in one tie and there once, got `{'`, `'.join(twice)}` more often; "
            f"join the ties or take the layer out of one."
        )
    return tuple(tuple(sorted(own, key=table.names.index)) for own in ties)


def united(groups: Iterable[Sequence[T]], ties: Iterable[Sequence[T]]) -> tuple[tuple[T, ...], ...]:
    """Join the groups that a tie connects, each at the place of the first of them.

    Args:
        groups: Groups without common members.
        ties: Sets of members, overlapping or not.
    """
    found = [tuple(group) for group in groups]
    for own in ties:
        joined = [group for group in found if not set(own).isdisjoint(group)]
        place = found.index(joined[0])
        found = [group for group in found if group not in joined]
        found.insert(place, tuple(member for group in joined for member in group))
    return tuple(found)


def tie(problem: Problem, ties: Sequence[Sequence[int]]) -> Problem:
    """Return the problem in which tied layers are one layer, at the place of the first.

    Scores and costs of a tie are sums over its layers. What its layers cost together is known with
    its candidate and becomes part of its scores; interactions with other layers are added up.
    Activation groups that a tie connects become one.

    Args:
        problem: The problem.
        ties: Indices of its layers, those of a tie with the same candidates.

    Raises:
        ValueError: If tied layers hold different candidates, or groups that ties connect hold
            different activation formats.
    """
    if not ties:
        return problem
    units = [sorted(own) for own in united([(i,) for i in range(len(problem.members))], ties)]
    if any(len({problem.candidates[i] for i in own}) > 1 for own in units):
        raise ValueError("tied layers must hold the same candidates in the same order")
    inside, across = _pairs(problem, units)
    groups = [
        [u for u, own in enumerate(units) if own[0] in group]
        for group in united(problem.groups, ties)
    ]
    notes = [_note(problem, [own for own in units if len(own) > 1])]
    if any(inside):
        notes.append("What tied layers cost together is part of their scores.")
    return replace(
        problem,
        members=tuple(tuple(m for i in own for m in problem.members[i]) for own in units),
        candidates=tuple(problem.candidates[own[0]] for own in units),
        scores=tuple(
            tuple(
                fsum(column)
                for column in zip(*(problem.scores[i] for i in own), *extra, strict=True)
            )
            for own, extra in zip(units, inside, strict=True)
        ),
        apart=tuple(
            tuple(row for i in own for row in problem.each(i))
            if len(own) > 1
            else problem.apart[own[0]]
            for own in units
        ),
        rows=tuple(replace(row, costs=_summed(row.costs, units)) for row in problem.rows),
        groups=tuple(map(tuple, groups)),
        pairs=tuple(
            Pair(u, v, tuple(map(tuple, values.tolist()))) for (u, v), values in across.items()
        ),
        notes=(*problem.notes, *notes),
    )


def _summed(
    costs: tuple[tuple[int, ...], ...], units: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(sum, zip(*(costs[i] for i in own), strict=True))) for own in units)


def _pairs(
    problem: Problem, units: Sequence[Sequence[int]]
) -> tuple[list[list[FloatArray]], dict[tuple[int, int], FloatArray]]:
    """Return the interactions inside each unit, by candidate, and those between two."""
    unit_of = {i: u for u, own in enumerate(units) for i in own}
    inside: list[list[FloatArray]] = [[] for _ in units]
    across: dict[tuple[int, int], FloatArray] = {}
    for pair in problem.pairs:
        u, v, values = unit_of[pair.first], unit_of[pair.second], np.array(pair.values)
        if u == v:
            inside[u].append(values.diagonal())
        else:
            place, turned = ((u, v), values) if u < v else ((v, u), values.T)
            across[place] = across[place] + turned if place in across else turned
    return inside, across


def _note(problem: Problem, tied: Sequence[Sequence[int]]) -> str:
    texts = [", ".join(problem.called(i) for i in own) for own in tied]
    return f"Tied, so that they take the same candidate: {'; '.join(texts)}."
