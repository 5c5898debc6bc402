"""Improving an allocation by changing one or two layers at a time."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array, csr_array

from analysis.allocation.problem import Problem
from analysis.records import BoolArray, FloatArray, IntArray

# A change must lower the score by more than rounding can.
_ROUNDING = 1e-13


class Descent:
    """All candidates of all layers in one list of V, with what each would change.

    ``choose`` moves to a choice; ``field`` (V,) is the score each candidate would have, with its
    interactions with the candidates chosen in the other layers. Only changes that keep every budget
    and every group are taken, so a choice that fits stays one.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        sizes = [len(own) for own in problem.candidates]
        self.first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)  # (L + 1,)
        self.layer = np.repeat(np.arange(len(sizes)), sizes)  # (V,)
        self.scores = np.array([s for own in problem.scores for s in own], dtype=np.float64)
        self.costs = np.array(
            [[c for own in row.costs for c in own] for row in problem.rows], dtype=np.int64
        ).reshape(len(problem.rows), len(self.scores))  # (R, V)
        self.limits = np.array([row.limit - row.fixed for row in problem.rows], dtype=np.int64)
        names = [c.activation for own in problem.candidates for c in own]
        self.format = np.unique(names, return_inverse=True)[1]  # (V,)
        self.bound = np.zeros(len(sizes), dtype=bool)  # (L,): in a group with others
        for group in problem.groups:
            self.bound[list(group)] = len(group) > 1
        self.pairs = self._interactions()

    def choose(self, choice: tuple[int, ...]) -> None:
        """Move to a choice (L,)."""
        self.chosen = self.first[:-1] + np.array(choice, dtype=np.int64)  # (L,)
        self.used = self.costs[:, self.chosen].sum(1)
        self.field = self.scores + self.pairs[:, self.chosen].sum(axis=1)

    @property
    def choice(self) -> tuple[int, ...]:
        """Where it is, one index per layer."""
        return tuple(int(v) for v in self.chosen - self.first[:-1])

    def one_by_one(self) -> bool:
        """Make the best change of one layer until none helps; tell whether any did."""
        moved = False
        while True:
            gain = np.where(self._free(), self._change(), 0.0)
            gain[(self._extra() > self._room()[:, None]).any(0)] = 0.0
            best = int(gain.argmin())
            if gain[best] >= 0:
                return moved
            self._move([best])
            moved = True

    def two_by_two(self) -> bool:
        """Make the best change of each layer together with another; tell whether any helped."""
        moved = False
        for i in range(len(self.chosen)):
            pair = self._best_pair(i)
            if pair:
                self._move(list(pair))
                moved = True
        return moved

    def by_group(self) -> bool:
        """Give groups another activation format where that helps; tell whether it did."""
        moved = False
        for group in self.problem.groups:
            if len(group) > 1:
                moved |= any(self._try(wanted) for wanted in self._regrouped(group))
        return moved

    def _regrouped(self, group: tuple[int, ...]) -> Iterator[list[int]]:
        """Yield candidates for a whole group: of each other format the best, the cheapest."""
        present = self.format[self.chosen[group[0]]]
        own = [np.arange(self.first[i], self.first[i + 1]) for i in group]
        price = (self.costs / np.maximum(self._room() + self.used, 1)[:, None]).sum(0)
        for other in np.unique(self.format[own[0]]):
            if other == present:
                continue
            same = [v[self.format[v] == other] for v in own]
            yield [int(v[self.field[v].argmin()]) for v in same]
            yield [int(v[price[v].argmin()]) for v in same]

    def _try(self, wanted: list[int]) -> bool:
        """Move several layers at once if that fits and helps."""
        layers = self.layer[wanted]
        used = self.used + (self.costs[:, wanted] - self.costs[:, self.chosen[layers]]).sum(1)
        if (used > self.limits).any():
            return False
        before, old = self._score(), self.chosen[layers].tolist()
        self._move(wanted)
        after = self._score()
        if before - after > _ROUNDING * (abs(before) + abs(after)):
            return True
        self._move(old)
        return False

    def _score(self) -> float:
        return float((self.scores + self.field)[self.chosen].sum() / 2)

    def _move(self, wanted: list[int]) -> None:
        for v in wanted:
            i = self.layer[v]
            self.used += self.costs[:, v] - self.costs[:, self.chosen[i]]
            self.chosen[i] = v
        self.field = self.scores + self.pairs[:, self.chosen].sum(axis=1)

    def _present(self) -> IntArray:
        """The candidate chosen in each candidate's layer, (V,)."""
        return np.asarray(self.chosen[self.layer])

    def _free(self) -> BoolArray:
        """Candidates that may be taken without their group, (V,)."""
        same = self.format == self.format[self._present()]
        return np.asarray(same | ~self.bound[self.layer])

    def _change(self) -> FloatArray:
        """What taking each candidate alone adds to the score, 0 within rounding; (V,)."""
        before = self.field[self._present()]
        change = self.field - before
        change[np.abs(change) <= _ROUNDING * (np.abs(self.field) + np.abs(before))] = 0.0
        return np.asarray(change)

    def _extra(self) -> IntArray:
        return np.asarray(self.costs - self.costs[:, self._present()])

    def _room(self) -> IntArray:
        return np.asarray(self.limits - self.used)

    def _best_pair(self, i: int) -> tuple[int, int] | None:
        own = np.arange(self.first[i], self.first[i + 1])
        present, change, free = self._present(), self._change(), self._free()
        rows = self.pairs[own].toarray()  # (B, V)
        here = rows[self.chosen[i] - self.first[i]]
        together = rows - here - rows[:, present] + here[present]
        gain = change[own][:, None] + change + together
        size = np.abs(change[own])[:, None] + np.abs(change) + np.abs(together)
        allowed = free[own][:, None] & free & (self.layer != i)
        extra, room = self._extra(), self._room()
        for e, left in zip(extra, room, strict=True):
            allowed &= e[own][:, None] + e <= left
        gain = np.where(allowed & (gain < -_ROUNDING * size), gain, 0.0)
        best = int(gain.argmin())
        k, v = divmod(best, gain.shape[1])
        return (int(own[k]), v) if gain[k, v] < 0 else None

    def _interactions(self) -> csr_array:
        """Interactions of any two candidates, (V, V), symmetric."""
        size = len(self.scores)
        row, column, value = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
        for pair in self.problem.pairs:
            values = np.array(pair.values)
            k, m = (index.ravel() for index in np.indices(values.shape))
            row.append(self.first[pair.first] + k)
            column.append(self.first[pair.second] + m)
            value.append(values.ravel())
        r, c, v = (np.concatenate(part) for part in (row, column, value))
        both = (np.concatenate([v, v]), (np.concatenate([r, c]), np.concatenate([c, r])))
        return csr_array(coo_array(both, shape=(size, size)))
