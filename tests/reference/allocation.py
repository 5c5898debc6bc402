"""Slow, obvious allocation: try everything. And small problems to try it on."""

from itertools import product

import numpy as np

from analysis.allocation import Problem
from analysis.records import Candidate, Layer, LayerTable, QuantSettings, ScoreTable


def every_choice(problem: Problem) -> list[tuple[int, ...]]:
    """Return all choices that keep activation groups together, budgets ignored."""
    choices = product(*(range(len(own)) for own in problem.candidates))
    return [choice for choice in choices if not problem.split_groups(choice)]


def fits(problem: Problem, choice: tuple[int, ...]) -> bool:
    """Compare every budget in whole numbers, written out once more."""
    for row in problem.rows:
        used = row.fixed + sum(row.costs[i][k] for i, k in enumerate(choice))
        if used > row.limit:
            return False
    return True


def score(problem: Problem, choice: tuple[int, ...]) -> float:
    alone = sum(problem.scores[i][k] for i, k in enumerate(choice))
    return alone + sum(p.values[choice[p.first]][choice[p.second]] for p in problem.pairs)


def best_objective(problem: Problem) -> float | None:
    """Return the least summed score of all allocations that fit, None if none does."""
    fitting = [choice for choice in every_choice(problem) if fits(problem, choice)]
    return min((score(problem, choice) for choice in fitting), default=None)


def make_table(
    weights: list[int],
    macs: list[int] | None = None,
    groups: list[int] | None = None,
    pinned: tuple[int, ...] = (),
    others: int = 0,
) -> LayerTable:
    """Return layers a, b, c, ... with the given numbers of weights and MACs."""
    layers = tuple(
        Layer(
            name=f"layer{i}",
            kind="Linear",
            weight_name=f"layer{i}.weight",
            weight_shape=(count, 1),
            channel_axis=0,
            output_shape=(count,),
            num_weights=count,
            num_biases=0,
            macs=macs[i] if macs else count,
            activation_group=groups[i] if groups else i,
            calls=(i,),
            inputs=(i,),
            pinned=i in pinned,
        )
        for i, count in enumerate(weights)
    )
    return LayerTable(
        model="small",
        layers=layers,
        tensors=(),
        skipped=(),
        params_before_folding=sum(weights) + others,
        params_after_folding=sum(weights) + others,
    )


def make_scores(
    table: LayerTable,
    candidates: str,
    values: object,
    layers: tuple[str, ...] | None = None,
    interactions: object = None,
) -> ScoreTable:
    """Return scores of shape (L, C) for candidates such as ``"w4a8 w8a8"``."""
    return ScoreTable(
        metric="made_up",
        title="Made up",
        unit="nats",
        layers=table.names if layers is None else layers,
        candidates=tuple(Candidate.parse(text) for text in candidates.split()),
        values=np.asarray(values, dtype=np.float64),
        exact=True,
        protocol="isolated",
        n=1,
        seed=0,
        forward_passes=0,
        backward_passes=0,
        seconds=0.0,
        options={},
        settings=QuantSettings(),
        calibration="none",
        interactions=None if interactions is None else np.asarray(interactions, np.float64),
    )
