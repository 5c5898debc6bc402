r"""Interactions as a mixed-integer linear program: the reformulation-linearization technique.

With :math:`x_{ik}` the choice of candidate k in layer i, the product :math:`x_{ik} x_{jl}` becomes
a variable :math:`y_{ijkl} \ge 0` with

.. math:: \sum_l y_{ijkl} = x_{ik}, \qquad \sum_k y_{ijkl} = x_{jl},

which is exact where x is whole (Adams and Sherali 1986, doi:10.1287/mnsc.32.10.1274). Only x is
declared integer. Nothing need be convex, so that measured interactions are taken as they are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum, gcd

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from analysis.allocation.feasible import formats
from analysis.allocation.problem import Problem
from analysis.allocation.quiet import no_native_output
from analysis.errors import AllocationError
from analysis.records import FloatArray

Choice = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shifted:
    """A problem whose every score and interaction is >= 0, and what was taken off.

    Interactions with a layer of one candidate are part of the other's scores.
    """

    scores: tuple[FloatArray, ...]
    pairs: tuple[tuple[int, int, FloatArray], ...]
    offset: float

    def value(self, choice: Choice) -> float:
        """Return the objective of a choice without the offset, >= 0."""
        alone = [float(own[k]) for own, k in zip(self.scores, choice, strict=True)]
        return fsum(alone + [float(values[choice[i], choice[j]]) for i, j, values in self.pairs])


def shifted(problem: Problem) -> Shifted:
    """Make every term >= 0 and keep only the interactions that no layer bears alone."""
    scores = [np.array(own, dtype=np.float64) for own in problem.scores]
    open_pairs: list[tuple[int, int, FloatArray]] = []
    for pair in problem.pairs:
        values = np.array(pair.values, dtype=np.float64)
        if 1 in values.shape:
            alone = pair.second if values.shape[0] == 1 else pair.first
            scores[alone] = scores[alone] + values.ravel()
        elif values.any():
            open_pairs.append((pair.first, pair.second, values))
    offset = fsum(float(own.min()) for own in scores) + fsum(
        float(values.min()) for _, _, values in open_pairs
    )
    return Shifted(
        tuple(own - own.min() for own in scores),
        tuple((i, j, values - values.min()) for i, j, values in open_pairs),
        offset,
    )


class RltModel:
    """One mixed-integer program over the choices that can be part of something better.

    Args:
        problem: Candidates, budgets and groups.
        terms: Its scores and interactions.
        worst: Choices and products that alone score more than this are left out.
        scale: Factor of the objective, for HiGHS's absolute tolerance.
    """

    def __init__(self, problem: Problem, terms: Shifted, worst: float, scale: float) -> None:
        self.problem, self.scale = problem, scale
        self._rows: list[tuple[list[tuple[int, float]], float, float]] = []
        self._objective: list[float] = []
        self.column = {
            (i, k): self._variable(float(score) * scale)
            for i, own in enumerate(terms.scores)
            for k, score in enumerate(own)
            if score <= worst
        }
        self.whole = len(self._objective)
        for i in range(len(problem.candidates)):
            self._add([(self.column[i, k], 1.0) for k in self._open(i)], 1.0, 1.0)
        self._budgets()
        self._groups()
        for i, j, values in terms.pairs:
            self._products(i, j, values, worst)

    def exclude(self, choices: Iterable[Choice]) -> None:
        """Cut off choices that break a budget, and all that cost at least as much in each layer."""
        for choice in choices:
            for row in self.problem.overruns(choice):
                least = [own[k] for own, k in zip(row.costs, choice, strict=True)]
                as_dear = [c for (i, k), c in self.column.items() if row.costs[i][k] >= least[i]]
                self._add([(c, 1.0) for c in as_dear], -np.inf, len(choice) - 1.0)

    def run(self, seconds: float, gap: float) -> tuple[Choice | None, float, bool]:
        """Return the choice, a lower bound >= 0 and whether the search came to its end."""
        entries = [(r, c, v) for r, (own, _, _) in enumerate(self._rows) for c, v in own]
        row, column, value = zip(*entries, strict=True)
        shape = (len(self._rows), len(self._objective))
        matrix = coo_array((value, (row, column)), shape=shape).tocsr()
        with no_native_output():
            found = milp(
                np.array(self._objective),
                integrality=(np.arange(shape[1]) < self.whole).astype(np.int64),
                bounds=Bounds(0, 1),
                constraints=LinearConstraint(
                    matrix, [low for _, low, _ in self._rows], [high for _, _, high in self._rows]
                ),
                options={"time_limit": seconds, "mip_rel_gap": gap},
            )
        if found.status not in (0, 1, 2):
            raise AllocationError(
                f"The solver must end with a result, got: {found.message} Try `local`."
            )
        dual = found.mip_dual_bound
        bound = dual / self.scale if dual is not None and np.isfinite(dual) else 0.0
        choice = None if found.x is None else self._choice(found.x)
        return choice, max(bound, 0.0), found.status != 1

    def _choice(self, x: FloatArray) -> Choice:
        return tuple(
            max(self._open(i), key=lambda k: x[self.column[i, k]])
            for i in range(len(self.problem.candidates))
        )

    def _open(self, layer: int) -> list[int]:
        own = range(len(self.problem.candidates[layer]))
        return [k for k in own if (layer, k) in self.column]

    def _budgets(self) -> None:
        # Extra costs over their common factor, right side 1 with half a unit of room: HiGHS
        # keeps a row to 1e-6 only.
        for row in self.problem.rows:
            least = [min(own) for own in row.costs]
            extra = {(i, k): row.costs[i][k] - least[i] for i, k in self.column}
            factor = gcd(*extra.values()) or 1
            room = (row.limit - row.fixed - sum(least)) // factor
            terms = [(self.column[at], c // factor / (room + 0.5)) for at, c in extra.items() if c]
            self._add(terms, -np.inf, 1.0)

    def _groups(self) -> None:
        for group in self.problem.groups:
            if len(group) == 1:
                continue
            for name in formats(self.problem, group):
                first, *others = (self._of_format(i, name) for i in group)
                for own in others:
                    self._add(
                        [(c, 1.0) for c in first] + [(c, -1.0) for c in own],
                        0.0,
                        0.0,
                    )

    def _of_format(self, layer: int, name: str) -> Sequence[int]:
        own = self.problem.candidates[layer]
        return [self.column[layer, k] for k in self._open(layer) if own[k].activation == name]

    def _products(self, i: int, j: int, values: FloatArray, worst: float) -> None:
        y = {
            (k, m): self._variable(float(values[k, m]) * self.scale)
            for k in self._open(i)
            for m in self._open(j)
            if values[k, m] <= worst
        }
        for layer, place in ((i, 0), (j, 1)):
            for k in self._open(layer):
                products = [(c, 1.0) for at, c in y.items() if at[place] == k]
                self._add([*products, (self.column[layer, k], -1.0)], 0.0, 0.0)

    def _variable(self, cost: float) -> int:
        self._objective.append(cost)
        return len(self._objective) - 1

    def _add(self, terms: list[tuple[int, float]], low: float, high: float) -> None:
        if terms:
            self._rows.append((terms, low, high))
