"""Small accuracy curves built by hand: right and wrong samples are given, all else follows."""

from collections.abc import Sequence

import numpy as np

from analysis.curves.points import Drafted, Found, assemble
from analysis.evaluation.intervals import paired, wilson
from analysis.records import (
    Absent,
    Allocation,
    Candidate,
    Costs,
    Curve,
    Evaluation,
    QuantSettings,
    Series,
)
from analysis.records.curve import METRIC, RANDOM, SIZE_ONLY, UNIFORM
from tests.reference.allocation import make_scores, make_table

N = 400
TABLE = make_table([100, 200])
SCORES = make_scores(TABLE, "w2a8 w4a8 w8a8", [[9.0, 3.0, 1.0], [5.0, 2.0, 0.5]])
SERIES = (
    Series(kind=METRIC, metric="made_up", solver="milp", method="nearest"),
    Series(kind=METRIC, metric="other", solver="milp", method="nearest"),
    Series(kind=SIZE_ONLY, metric=SIZE_ONLY, solver="milp", method="nearest"),
    Series(kind=UNIFORM, metric="", solver="", method="nearest"),
    Series(kind=RANDOM, metric="", solver="", method="nearest"),
)


def measured(right: int, *, kl: float = 0.1, labelled: bool = True) -> Evaluation:
    """The first ``right`` of N samples are classified well."""
    correct = (np.arange(N) < right) & labelled
    predictions = np.where(np.arange(N) < right, 1, 0)
    low, high = wilson(right, N) if labelled else (np.nan, np.nan)
    return Evaluation(
        n=N,
        labelled=labelled,
        top1=right / N if labelled else np.nan,
        low=low,
        high=high,
        loss=np.nan,
        kl=kl,
        predictions=predictions,
        correct=correct,
        versus_float=paired(predictions, predictions, correct, correct, labelled=labelled),
        evaluation="e" * 64,
        seconds=0.1,
    )


def found(
    series: int,
    place: int,
    right: int,
    *,
    used: float = 0.5,
    candidates: str = "w2a8 w4a8",
    kl: float | None = None,
    labelled: bool = True,
) -> Found:
    """A measured allocation; measurements differ where their right samples do."""
    costs = Costs(
        size_mib=used,
        size_ratio=used,
        compression=4.0,
        bops=1e6 * used,
        bops_ratio=used,
        avg_weight_bits=8 * used,
        avg_activation_bits=8.0,
    )
    allocation = Allocation(
        layers=TABLE.names, candidates=tuple(Candidate.parse(c) for c in candidates.split())
    )
    evaluation = measured(right, kl=1.0 - right / N if kl is None else kl, labelled=labelled)
    draft = Drafted(series, place, allocation, costs, used, "optimal", 0.0)
    return Found(draft, f"{right}/{candidates}/{used}", evaluation)


def curve(
    points: Sequence[Found],
    *,
    limits: Sequence[float] = (0.5,),
    absent: Sequence[Absent] = (),
    labelled: bool = True,
    complete: bool = True,
) -> Curve:
    return assemble(
        points,
        absent,
        resource="size",
        limits=limits,
        fixed=(),
        series=SERIES,
        tables=(SCORES,),
        held=(),
        reference=measured(390, labelled=labelled),
        random=20,
        seed=0,
        candidates=SCORES.candidates,
        pins={},
        ties=(),
        settings=QuantSettings(),
        seconds=1.0,
        complete=complete,
    )
