"""Measured allocations put together as a curve: who is best where, and against what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.evaluation.intervals import paired
from analysis.prediction import predict
from analysis.records import (
    Absent,
    Allocation,
    Budget,
    Candidate,
    Costs,
    Curve,
    CurvePoint,
    Evaluation,
    Measured,
    Paired,
    QuantSettings,
    ScoreTable,
    Series,
)
from analysis.records.curve import METRIC, SIZE_ONLY, UNIFORM, baseline_of


@dataclass(frozen=True, slots=True)
class Drafted:
    """An allocation to be measured; fields as in :class:`analysis.records.CurvePoint`."""

    series: int
    place: int
    allocation: Allocation
    costs: Costs
    used: float
    status: str
    gap: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """What an allocation measured, and the key of the stored measurement."""

    draft: Drafted
    configuration: str
    measured: Evaluation


def assemble(
    found: Sequence[Found],
    absent: Sequence[Absent],
    *,
    resource: str,
    limits: Sequence[float],
    fixed: Sequence[Budget],
    series: Sequence[Series],
    tables: Sequence[ScoreTable],
    held: Sequence[str],
    reference: Evaluation,
    random: int,
    seed: int,
    candidates: Sequence[Candidate],
    pins: Mapping[str, Candidate],
    ties: Sequence[Sequence[str]],
    settings: QuantSettings,
    seconds: float,
    complete: bool,
) -> Curve:
    """Predict and compare what was measured.

    Args:
        found: The measurements, all on the samples of ``reference``.
        absent: What there is not.
        resource: What was limited.
        limits: The limits, rising, in the resource's unit.
        fixed: Other budgets.
        series: Every series.
        tables: Scores of the metrics that predict.
        held: Layers that are the same in every allocation and need no score.
        reference: The float network.
        random: Random allocations that were asked for at every limit.
        seed: Their seed.
        candidates: What layers may become.
        pins: Candidates that layers have in every allocation.
        ties: Layers that have one candidate together.
        settings: How formats become quantizers.
        seconds: What it took.
        complete: Whether nothing is left to be measured.
    """
    rivals = [_rivals(found, series, place) for place in range(len(limits))]
    best = tuple(
        max(own, key=lambda i: summarised(found[i].measured).merit, default=-1) for own in rivals
    )
    points = []
    for each in found:
        draft, kind = each.draft, series[each.draft.series].kind
        baseline = _size_only(found, series, draft)
        leader = best[draft.place] if kind in (METRIC, SIZE_ONLY, UNIFORM) else -1
        points.append(
            CurvePoint(
                series=draft.series,
                place=draft.place,
                allocation=draft.allocation,
                costs=draft.costs,
                used=draft.used,
                predicted=np.array([_predicted(t, draft.allocation, held) for t in tables]),
                status=draft.status,
                gap=draft.gap,
                configuration=each.configuration,
                measured=summarised(each.measured),
                versus_size_only=None if baseline is None else _versus(each, baseline),
                versus_best=None if leader < 0 else _versus(each, found[leader]),
            )
        )
    return Curve(
        resource=resource,
        limits=tuple(limits),
        fixed=tuple(fixed),
        metrics=tuple(table.metric for table in tables),
        units=tuple(table.unit for table in tables),
        series=tuple(series),
        points=tuple(points),
        absent=tuple(absent),
        best=best,
        float_=replace(summarised(reference), agreement=1.0),
        random=random,
        seed=seed,
        candidates=tuple(candidates),
        pins=dict(pins),
        ties=tuple(tuple(own) for own in ties),
        settings=settings,
        evaluation=reference.evaluation,
        seconds=seconds,
        complete=complete,
    )


def summarised(measured: Evaluation) -> Measured:
    """Return a measurement without its samples."""
    versus = measured.versus_float
    return Measured(
        n=measured.n,
        labelled=measured.labelled,
        top1=measured.top1,
        low=measured.low,
        high=measured.high,
        kl=measured.kl,
        agreement=float("nan") if versus is None else versus.agreement,
    )


def _rivals(found: Sequence[Found], series: Sequence[Series], place: int) -> list[int]:
    kinds = (METRIC, SIZE_ONLY)
    return [
        i
        for i, each in enumerate(found)
        if each.draft.place == place and series[each.draft.series].kind in kinds
    ]


def _size_only(found: Sequence[Found], series: Sequence[Series], draft: Drafted) -> Found | None:
    """Return the size-only baseline of a point at its limit."""
    wanted = baseline_of(series, draft.series), draft.place
    return next((f for f in found if (f.draft.series, f.draft.place) == wanted), None)


def _versus(each: Found, other: Found) -> Paired:
    first, second = each.measured, other.measured
    return paired(
        first.predictions,
        second.predictions,
        first.correct,
        second.correct,
        labelled=first.labelled,
    )


def _predicted(table: ScoreTable, allocation: Allocation, held: Sequence[str]) -> float:
    found = predict(table, allocation)
    return found.value if set(found.missing) <= set(held) else float("nan")
