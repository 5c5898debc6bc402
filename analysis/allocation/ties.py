"""Allocations that no score and no budget tells apart, and which of them to take."""

from analysis.allocation.problem import Problem
from analysis.quant.formats import bits_of
from analysis.records import Candidate


def early_layers_first(problem: Problem, choice: tuple[int, ...]) -> tuple[int, ...]:
    """Exchange the candidates of layers that cost and score the same: earlier ones keep more bits.

    The sum and every budget stay what they are, but which of these allocations a solver meets is
    its own affair, and they can measure very differently: so every solver takes the same one.
    Layers that share a tensor or interact are left as they are.

    Args:
        problem: What was solved.
        choice: Indices into each layer's candidates, (L,).
    """
    bound = {i for group in problem.groups if len(group) > 1 for i in group}
    bound |= {i for pair in problem.pairs for i in (pair.first, pair.second)}
    alike: dict[object, list[int]] = {}
    for i, own in enumerate(problem.candidates):
        if i not in bound:
            costs = tuple(row.costs[i] for row in problem.rows)
            alike.setdefault((own, problem.scores[i], costs), []).append(i)
    after = list(choice)
    for layers in alike.values():
        own = problem.candidates[layers[0]]
        taken = [(_bits(own[choice[i]]), -choice[i]) for i in layers]
        for i, (_, k) in zip(layers, sorted(taken, reverse=True), strict=True):
            after[i] = -k
    return tuple(after)


def _bits(candidate: Candidate) -> tuple[int, int]:
    return bits_of(candidate.weight), bits_of(candidate.activation)
