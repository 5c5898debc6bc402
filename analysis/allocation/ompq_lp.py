"""OMPQ as published: a linear program over continuous bits, then rounding."""

from dataclasses import dataclass

import numpy as np

from analysis.allocation.budgets import CostRow
from analysis.allocation.feasible import fitting
from analysis.allocation.ompq_program import (
    FLOOR,
    NEAREST,
    linear_program,
    tail_average,
)
from analysis.allocation.problem import Problem
from analysis.allocation.solvers import FEASIBLE, SOLVERS, Answer
from analysis.errors import AllocationError
from analysis.options import Options, option
from analysis.quant.formats import bits_of
from analysis.records import FloatArray


@dataclass(frozen=True, slots=True)
class OmpqOptions(Options):
    """How importances become bits."""

    rounding: str = option(
        NEAREST,
        choices=(NEAREST, FLOOR),
        help="To the nearest width, as published (repaired where it overshoots), or down.",
    )
    tail_average: bool = option(
        False,
        help="Credit a layer with the mean importance of itself and all later layers. The metric "
        "orthogonality has done so already.",
    )


@SOLVERS.register(
    "ompq_lp",
    title="OMPQ's linear program",
    answers="What does OMPQ's linear program over continuous bits, then rounded, choose?",
    reference="Ma et al. 2023 (OMPQ), arXiv:2109.07865",
    options=OmpqOptions,
)
def ompq_lp(problem: Problem, options: OmpqOptions) -> Answer:
    r"""Maximise summed importance times bits within the budget, then round to the widths there are.

    .. math:: \max_b \sum_i c_i b_i, \quad \sum_i p_i b_i \le T

    :math:`c_i` is what one bit more takes off a layer's score: minus the slope of the scores over
    weight bits by least squares, which for the metric ``orthogonality`` is its importance itself.
    At most one layer ends between two limits. Rounding it to the nearest width may overshoot the
    budget, as published vectors do; then layers are lowered in the program's own order, least
    importance per cost first, until the budget is kept, and the notes say so. There is no bound:
    the program minimises a straight line through the scores, not the scores.

    Args:
        problem: Candidates that differ in weight bits only, scores, and one budget that is
            proportional to weight bits.
        options: Rounding and averaging.

    Raises:
        AllocationError: If there is another number of budgets, a budget that is not proportional to
            weight bits, or a layer with several activation formats.
        InfeasibleBudgetError: If no allocation fits, with the nearest limit that does.
    """
    if len(problem.rows) != 1:
        raise AllocationError(
            f"OMPQ's linear program must have exactly one budget, proportional to weight bits, "
            f"got {len(problem.rows)}. Use milp, which takes any number."
        )
    row = problem.rows[0]
    fitting(problem)
    ladders = [_ladder(problem, i) for i in range(len(problem.candidates))]
    importance = _importances(problem, ladders, options.tail_average)
    free = [i for i, own in enumerate(ladders) if len(own) > 1]
    sizes = [_size(problem, row, i, ladders[i]) for i in free]
    low, high = [min(ladders[i]) for i in free], [max(ladders[i]) for i in free]
    least = tuple(own[min(own)] for own in ladders)
    room = row.limit - row.total(least) + sum(p * b for p, b in zip(sizes, low, strict=True))
    bits = linear_program(importance[free], sizes, low, high, room)
    chosen = [min(own) for own in ladders]
    for i, b in zip(free, bits, strict=True):
        chosen[i] = _round(float(b), list(ladders[i]), options.rounding)
    published = _choice(ladders, chosen)
    lowered = _repair(row, ladders, chosen, free, importance[free] / np.array(sizes))
    choice = _choice(ladders, chosen)
    return Answer(choice, FEASIBLE, None, _notes(problem, row, published, lowered))


def _ladder(problem: Problem, layer: int) -> dict[int, int]:
    """Return the candidate of each width of a layer, widths rising."""
    own = problem.candidates[layer]
    formats = sorted({c.activation for c in own})
    if len(formats) > 1:
        raise AllocationError(
            f"OMPQ's linear program chooses weight bits only; {problem.called(layer)} may take "
            f"activations of {', '.join(formats)}. Leave one activation format, or use milp."
        )
    best: dict[int, int] = {}
    for k, candidate in enumerate(own):
        width = bits_of(candidate.weight)
        if width not in best or problem.scores[layer][k] < problem.scores[layer][best[width]]:
            best[width] = k
    return dict(sorted(best.items()))


def _importances(problem: Problem, ladders: list[dict[int, int]], tail: bool) -> FloatArray:
    """Return what one bit more gains: of tied layers the sum, averaged layer by layer before."""
    single = np.zeros(len(problem.table.layers))
    for i, (members, ladder) in enumerate(zip(problem.members, ladders, strict=True)):
        single[list(members)] = [_importance(row, ladder) for row in problem.each(i)]
    if tail:
        single = tail_average(single)
    return np.array([single[list(members)].sum() for members in problem.members])


def _importance(scores: tuple[float, ...], ladder: dict[int, int]) -> float:
    if len(ladder) == 1:
        return 0.0
    bits = np.array(list(ladder), dtype=np.float64)
    own = np.array([scores[k] for k in ladder.values()])
    centred = bits - bits.mean()
    return float(-(centred @ (own - own.mean())) / (centred @ centred))


def _size(problem: Problem, row: CostRow, layer: int, ladder: dict[int, int]) -> int:
    """Return what one bit of a layer costs."""
    (width, first), *others = ladder.items()
    own = row.costs[layer]
    size, rest = divmod(own[others[0][1]] - own[first], others[0][0] - width)
    straight = all(own[k] - own[first] == size * (b - width) for b, k in others)
    if rest or size <= 0 or not straight:
        raise AllocationError(
            f"The budget of OMPQ's linear program must be proportional to weight bits, "
            f"`{row.budget.resource}` is not in {problem.called(layer)}. Use milp."
        )
    return size


def _round(bits: float, widths: list[int], how: str) -> int:
    if how == FLOOR:
        return max(w for w in widths if w <= bits)
    # Ties go to the even width, as numpy rounds, else to the lower one.
    return min(widths, key=lambda w: (abs(w - bits), w % 2, w))


def _repair(
    row: CostRow,
    ladders: list[dict[int, int]],
    chosen: list[int],
    free: list[int],
    ratio: FloatArray,
) -> list[int]:
    """Lower layers until the budget is kept; return which."""
    lowered = []
    for place in np.argsort(ratio, kind="stable"):
        i = free[place]
        below = [w for w in ladders[i] if w < chosen[i]]
        while below and row.total(_choice(ladders, chosen)) > row.limit:
            chosen[i] = below.pop()
            lowered.append(i)
    return lowered


def _choice(ladders: list[dict[int, int]], widths: list[int]) -> tuple[int, ...]:
    return tuple(own[w] for own, w in zip(ladders, widths, strict=True))


def _notes(
    problem: Problem, row: CostRow, published: tuple[int, ...], lowered: list[int]
) -> tuple[str, ...]:
    if not lowered:
        return ()
    names = ", ".join(problem.called(i) for i in dict.fromkeys(lowered))
    return (
        f"Rounded to nearest as published, the program's bits use "
        f"{row.in_unit(row.total(published)):.5g} of {row.budget.resource} where "
        f"{row.budget.limit:g} is allowed; {names} was lowered to keep the budget.",
    )
