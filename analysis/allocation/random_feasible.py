"""Random allocations that use the budget: the baseline that knows nothing."""

from collections.abc import Sequence

import numpy as np

from analysis.allocation.feasible import fitting, formats
from analysis.allocation.problem import Problem
from analysis.records import FloatArray

_TRIES = 20  # draws per allocation that is asked for, to find distinct ones

Choice = tuple[int, ...]


def random_feasible(problem: Problem, count: int, seed: int) -> tuple[Choice, ...]:
    """Draw allocations at random, within all budgets and using what they allow.

    Each is drawn so: every activation group takes one of its formats and every layer one of its
    candidates with that format, uniformly. While a budget is exceeded, a random layer among those
    that can steps down to its next cheaper candidate; where that ends above a budget, groups in
    random order take their candidates of an allocation that is known to fit. Then random layers
    step up to the next dearer candidate that fits, until none can. Cheaper and dearer mean the sum
    over budgets of cost per limit; without a budget the first draw stays. Scores are not looked at.

    Args:
        problem: Candidates, budgets and groups.
        count: How many, >= 1.
        seed: Seed of the draws.

    Returns:
        ``count`` choices of L indices; distinct unless ``count`` times 20 draws held fewer, then
        the distinct ones come again in turn.

    Raises:
        InfeasibleBudgetError: If nothing fits, with the nearest limit that something does.
        AllocationError: If the search for a first allocation within several budgets takes too long.
    """
    draw = Drawing(problem, fitting(problem), np.random.default_rng(seed))
    found: dict[Choice, None] = {}
    for _ in range(_TRIES * count):
        if len(found) == count:
            break
        found.setdefault(draw.one())
    distinct = tuple(found)
    return tuple(distinct[n % len(distinct)] for n in range(count))


class Drawing:
    """Draws allocations of one problem, one after the other.

    Args:
        problem: Candidates, budgets and groups.
        anchor: A choice that fits, to fall back on.
        rng: Where chance comes from.
    """

    def __init__(self, problem: Problem, anchor: Choice, rng: np.random.Generator) -> None:
        self.problem, self.anchor, self.rng = problem, anchor, rng
        self.limits = [row.limit - row.fixed for row in problem.rows]
        self.price: list[FloatArray] = [
            sum(
                (
                    np.array(row.costs[i], dtype=np.float64) / max(limit, 1)
                    for row, limit in zip(problem.rows, self.limits, strict=True)
                ),
                np.zeros(len(own)),
            )
            for i, own in enumerate(problem.candidates)
        ]
        self.alone = [False] * len(problem.candidates)
        for group in problem.groups:
            for i in group:
                self.alone[i] = len(group) == 1

    def one(self) -> Choice:
        """Draw one allocation."""
        choice = [0] * len(self.problem.candidates)
        for group in self.problem.groups:
            self.redraw(choice, group)
        return self.settled(choice)

    def redraw(self, choice: list[int], group: tuple[int, ...]) -> None:
        """Give a group another format and its layers other candidates at random, in place."""
        name = self.rng.choice(formats(self.problem, group))
        for i in group:
            own = self.problem.candidates[i]
            choice[i] = int(self.rng.choice([k for k, c in enumerate(own) if c.activation == name]))

    def settled(self, choice: Sequence[int]) -> Choice:
        """Return a choice near one that keeps its groups together: it fits and uses the budget."""
        self.choice = list(choice)
        self.used = [
            sum(own[k] for own, k in zip(row.costs, self.choice, strict=True))
            for row in self.problem.rows
        ]
        self._shrink()
        self._fill()
        return tuple(self.choice)

    def _shrink(self) -> None:
        layers = list(range(len(self.choice)))
        while self._over() and layers:
            i = layers[self.rng.integers(len(layers))]
            below = self._neighbours(i, up=False)
            if below:
                self._take(i, int(self.rng.choice(below)))
            else:
                layers.remove(i)
        for g in self.rng.permutation(len(self.problem.groups)):
            if not self._over():
                break
            for i in self.problem.groups[g]:
                self._take(i, self.anchor[i])

    def _fill(self) -> None:
        layers = list(range(len(self.choice)))
        while layers:
            i = layers[self.rng.integers(len(layers))]
            above = self._neighbours(i, up=True)
            if above:
                self._take(i, int(self.rng.choice(above)))
            else:
                layers.remove(i)

    def _neighbours(self, layer: int, *, up: bool) -> list[int]:
        """Return the candidates next in price, those that the group's format allows."""
        own, price = self.problem.candidates[layer], self.price[layer]
        here = self.choice[layer]
        open_to = [
            k
            for k, c in enumerate(own)
            if (self.alone[layer] or c.activation == own[here].activation)
            and (price[k] > price[here] if up else price[k] < price[here])
            and (not up or self._fits(layer, k))
        ]
        nearest = (min if up else max)((price[k] for k in open_to), default=0.0)
        return [k for k in open_to if price[k] == nearest]

    def _fits(self, layer: int, k: int) -> bool:
        before = self.choice[layer]
        return all(
            used + row.costs[layer][k] - row.costs[layer][before] <= limit
            for row, used, limit in zip(self.problem.rows, self.used, self.limits, strict=True)
        )

    def _over(self) -> bool:
        return any(used > limit for used, limit in zip(self.used, self.limits, strict=True))

    def _take(self, layer: int, k: int) -> None:
        before, self.choice[layer] = self.choice[layer], k
        for r, row in enumerate(self.problem.rows):
            self.used[r] += row.costs[layer][k] - row.costs[layer][before]
