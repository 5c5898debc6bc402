"""Dynamic programming over one row of costs: the least score for every cost at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.allocation.feasible import formats
from analysis.allocation.problem import Problem
from analysis.records import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Member:
    """A layer in one activation format: candidates, extra costs over the cheapest, scores."""

    layer: int
    candidates: tuple[int, ...]
    extra: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """A group in one activation format; ``extra`` is its cost over the group's cheapest format."""

    extra: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A problem under one row: the least cost there is, and per group what each format adds."""

    least: int
    most: int
    groups: tuple[tuple[Branch, ...], ...]

    @property
    def extras(self) -> list[int]:
        """Every extra cost."""
        branches = [branch for own in self.groups for branch in own]
        inner = [e for branch in branches for member in branch.members for e in member.extra]
        return inner + [branch.extra for branch in branches]


@dataclass(frozen=True, slots=True)
class Tabulation:
    """``values`` (G + 1,): the least score at a cost of at most g cells, infinite where none is."""

    values: FloatArray
    layout: Layout
    taken: tuple[NDArray[np.unsignedinteger], ...]
    backs: tuple[tuple[tuple[NDArray[np.unsignedinteger], ...], ...], ...]
    cells: tuple[tuple[tuple[IntArray, ...], ...], ...]
    shifts: tuple[tuple[int, ...], ...]

    def choices(self, at: IntArray) -> IntArray:
        """Return the choices (P, L) that reach the values at cells ``at`` (P,)."""
        layers = sum(len(own[0].members) for own in self.layout.groups)
        found = np.zeros((len(at), layers), dtype=np.int64)
        state = at.copy()
        for g in reversed(range(len(self.layout.groups))):
            taken = self.taken[g][state]
            for b, branch in enumerate(self.layout.groups[g]):
                here = np.flatnonzero(taken == b)
                for m in reversed(range(len(branch.members))):
                    chosen = self.backs[g][b][m][state[here]]
                    found[here, branch.members[m].layer] = np.array(branch.members[m].candidates)[
                        chosen
                    ]
                    state[here] -= self.cells[g][b][m][chosen]
                state[here] -= self.shifts[g][b]
        return found


def layout(problem: Problem, costs: tuple[tuple[int, ...], ...]) -> Layout:
    """Count costs above the cheapest allocation, so that the cheapest costs nothing."""
    least = most = 0
    groups = []
    for group in problem.groups:
        found = []
        for name in formats(problem, group):
            members, base, top = [], 0, 0
            for i in group:
                own = _useful(problem, costs, i, name)
                low = costs[i][own[0]]
                base += low
                top += costs[i][own[-1]]
                extra = tuple(costs[i][k] - low for k in own)
                scores = tuple(problem.scores[i][k] for k in own)
                members.append(Member(i, tuple(own), extra, scores))
            found.append((base, top, tuple(members)))
        cheapest = min(base for base, _, _ in found)
        least += cheapest
        most += max(top for _, top, _ in found)
        groups.append(tuple(Branch(base - cheapest, members) for base, _, members in found))
    return Layout(least, most, tuple(groups))


def tabulate(plan: Layout, capacity: int, size: int, *, up: bool, trace: bool = True) -> Tabulation:
    """Fill the table from 0 to ``capacity`` cells.

    Args:
        plan: The problem.
        capacity: The last cell.
        size: Cost of a cell.
        up: Round costs up to cells, so that what fits in cells fits; else down, so that what fits
            fits in cells.
        trace: Keep what :meth:`Tabulation.choices` needs.
    """
    values = np.zeros(capacity + 1)
    taken, backs, cells, shifts = [], [], [], []
    for branches in plan.groups:
        best, ways, widths, moved = [], [], [], []
        for branch in branches:
            shift = _cells(branch.extra, size, up)
            found = _shifted(values, shift)
            way, width = [], []
            for member in branch.members:
                extra = np.array([_cells(e, size, up) for e in member.extra], dtype=np.int64)
                found, back = _step(found, extra, member.scores)
                way.append(back)
                width.append(extra)
            best.append(found)
            ways.append(tuple(way))
            widths.append(tuple(width))
            moved.append(shift)
        values, which = _best(best)
        if trace:
            taken.append(which)
            backs.append(tuple(ways))
            cells.append(tuple(widths))
            shifts.append(tuple(moved))
    return Tabulation(values, plan, tuple(taken), tuple(backs), tuple(cells), tuple(shifts))


def _useful(
    problem: Problem, costs: tuple[tuple[int, ...], ...], layer: int, name: str
) -> list[int]:
    """Return a layer's candidates of a format by cost, without those that another one beats."""
    own = [k for k, c in enumerate(problem.candidates[layer]) if c.activation == name]
    own.sort(key=lambda k: (costs[layer][k], problem.scores[layer][k]))
    kept = own[:1]
    for k in own[1:]:
        if problem.scores[layer][k] < problem.scores[layer][kept[-1]]:
            kept.append(k)
    return kept


def _cells(cost: int, size: int, up: bool) -> int:
    return -(-cost // size) if up else cost // size


def _shifted(values: FloatArray, cells: int) -> FloatArray:
    if cells == 0:
        return values
    moved = np.full_like(values, np.inf)
    if cells < len(values):
        moved[cells:] = values[:-cells]
    return moved


def _step(
    values: FloatArray, cells: IntArray, scores: tuple[float, ...]
) -> tuple[FloatArray, NDArray[np.unsignedinteger]]:
    """Add a layer: the least of ``values[g - cells[k]] + scores[k]``, and which k it was."""
    best = values + scores[0]
    back = np.zeros(len(values), dtype=np.min_scalar_type(len(scores)))
    for k in range(1, len(scores)):
        c = int(cells[k])
        if c >= len(values):
            break
        found = values[: len(values) - c] + scores[k]
        better = found < best[c:]
        np.copyto(best[c:], found, where=better)
        back[c:][better] = k
    return best, back


def _best(options: list[FloatArray]) -> tuple[FloatArray, NDArray[np.unsignedinteger]]:
    if len(options) == 1:
        return options[0], np.zeros(len(options[0]), dtype=np.uint8)
    both = np.stack(options)
    which = both.argmin(0)
    return both.min(0), which.astype(np.min_scalar_type(len(options)))
