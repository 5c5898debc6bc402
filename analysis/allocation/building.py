"""From layers, scores, budgets, pins and ties to a problem."""

from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np

from analysis.allocation.budgets import check_budgets, cost_rows
from analysis.allocation.pins import allowed_candidates
from analysis.allocation.problem import Pair, Problem
from analysis.allocation.tying import checked_ties, tie
from analysis.errors import AllocationError
from analysis.models.latency import unread_rows
from analysis.records import Budget, Candidate, LatencyTable, LayerTable, ScoreTable


def build_problem(
    table: LayerTable,
    scores: ScoreTable,
    budgets: Sequence[Budget],
    pins: Mapping[str, Candidate | tuple[Candidate, ...]] | None = None,
    latency: LatencyTable | None = None,
    ties: Sequence[Sequence[str]] = (),
) -> Problem:
    """Put layers, scores and budgets together.

    Layers that the table pins get w8a8 unless ``pins`` says otherwise. A layer without scores keeps
    its float weight and follows its group's activation format; it still counts in every cost. A
    pinned layer holds those that it is tied to.

    Args:
        table: The layers.
        scores: Scores of shape (L', C) for some or all of the layers.
        budgets: The budgets, at most one per resource; none gives the best scores there are.
        pins: Layer name to the candidate it must take, or to those it may take.
        latency: Times of the layers; a budget of ``latency_ms`` needs them.
        ties: Names of layers that must take the same candidate; no layer is in two ties.

    Raises:
        AllocationError: If the scores do not fit the layers, are not finite or do not tell
            candidates apart; if pins contradict each other within an activation group or a tie; if
            a group has no common activation format; if a tie has fewer than two layers, or layers
            with and without scores; if a layer is in two ties; if a budget comes twice or is not
            positive, or needs times or moments that are not known.
        UnknownNameError: If a pin or tie names no layer, a budget no resource, a candidate no
            format.
    """
    ties = checked_ties(table, ties)
    values = _score_lookup(table, scores)
    check_budgets(budgets)
    allowed, notes = allowed_candidates(table, scores, pins or {}, ties)
    if latency is not None:
        source = f"Latency is the sum of the layers' times ({latency.source}), not a measured time."
        unread = unread_rows(table, latency)
        notes = (*notes, source, *latency.notes, *([unread] if unread else []))
    indices = {name: i for i, name in enumerate(table.names)}
    untied = Problem(
        table=table,
        metric=scores.metric,
        unit=scores.unit,
        members=tuple((i,) for i in indices.values()),
        candidates=allowed,
        scores=tuple(
            tuple(values.get((name, c), 0.0) for c in own)
            for name, own in zip(table.names, allowed, strict=True)
        ),
        rows=tuple(row for b in budgets for row in cost_rows(table, allowed, b, latency)),
        groups=tuple(tuple(indices[n] for n in members) for members in table.groups.values()),
        apart=((),) * len(indices),
        pairs=_pairs(table, scores, allowed),
        latency=latency,
        notes=notes,
    )
    return tie(untied, [[indices[name] for name in own] for own in ties])


def _score_lookup(table: LayerTable, scores: ScoreTable) -> dict[tuple[str, Candidate], float]:
    if not table.layers:
        raise AllocationError(
            f"`{table.model}` must have a layer that can be quantized, got none; see its skipped "
            f"modules for the reasons."
        )
    shape = (len(scores.layers), len(scores.candidates))
    if not scores.candidates or scores.values.shape != shape:
        raise AllocationError(
            f"Metric `{scores.metric}` must score every candidate of every layer, got "
            f"values of shape {scores.values.shape} for {len(scores.layers)} layers and "
            f"{len(scores.candidates)} candidates; choose a metric that tells candidates apart."
        )
    if (len(set(scores.layers)), len(set(scores.candidates))) != shape:
        raise AllocationError(
            f"A score table must hold each layer and each candidate once; `{scores.metric}` "
            f"repeats one. Compute the scores again."
        )
    foreign = [name for name in scores.layers if name not in table.names]
    if foreign:
        raise AllocationError(
            f"Scores and layers must belong to one model; `{table.model}` has no layer "
            f"{', '.join(foreign)}. Compute the scores again."
        )
    lookup: dict[tuple[str, Candidate], float] = {}
    for name, row in zip(scores.layers, scores.values, strict=True):
        for candidate, value in zip(scores.candidates, row, strict=True):
            if not isfinite(value):
                raise AllocationError(
                    f"Scores must be finite, got {value} for {candidate.text} of `{name}`; leave "
                    f"the layer out of the table to keep it float."
                )
            lookup[name, candidate] = float(value)
    return lookup


def _pairs(
    table: LayerTable, scores: ScoreTable, allowed: tuple[tuple[Candidate, ...], ...]
) -> tuple[Pair, ...]:
    """Return the interactions among what each layer may become, those that are not all 0."""
    if scores.interactions is None:
        return ()
    shape = (len(scores.layers), len(scores.candidates)) * 2
    if scores.interactions.shape != shape or not np.isfinite(scores.interactions).all():
        raise AllocationError(
            f"Interactions must be finite and of shape {shape}, `{scores.metric}` has "
            f"{scores.interactions.shape}. Compute the scores again."
        )
    column = {candidate: c for c, candidate in enumerate(scores.candidates)}
    # A candidate without a score (a pin, a float layer) interacts with nothing.
    padded = np.pad(scores.interactions, [(0, 0), (0, 1)] * 2)
    columns = [[column.get(c, len(column)) for c in own] for own in allowed]
    order = sorted((table.names.index(name), row) for row, name in enumerate(scores.layers))
    found = []
    for n, (i, row) in enumerate(order):
        for j, other in order[n + 1 :]:
            values = padded[row][np.ix_(columns[i], [other], columns[j])][:, 0]
            if values.any():
                found.append(Pair(i, j, tuple(tuple(map(float, own)) for own in values)))
    return tuple(found)
