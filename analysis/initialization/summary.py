"""A study in a table: means over the seeds with intervals, training failures set apart."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from analysis.errors import AnalysisError
from analysis.initialization.failures import Yardstick, failure, yardstick
from analysis.records import FloatArray
from analysis.records.initialization import RECIPES, InitRun, InitStudy

CONFIDENCE = 0.95
# Seeds from which on an interval is worth reading.
MEANINGFUL = 3
TOO_FEW = (
    "n = 2: two seeds are too few for an interval that means something, it would be 12.7 standard "
    "errors wide to each side. Add seeds."
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of ``n`` runs with its 95 % Student t interval; without runs NaN.

    One run has no interval: ``low`` and ``high`` are NaN.
    """

    mean: float
    low: float
    high: float
    n: int


def in_percent(found: Estimate) -> str:
    """Write a share in % with half the width of its interval, a dash without runs.

    Two runs have none that means something, which is said in its place; one run has none at all.
    """
    if not found.n:
        return "–"
    mean = f"{100 * found.mean:.2f}"
    if found.n < MEANINGFUL:
        return mean if found.n == 1 else f"{mean} (n = {found.n})"
    return f"{mean} ± {100 * (found.high - found.mean):.2f}"


def from_start_to_end(found: tuple[Estimate, Estimate], digits: str) -> str:
    """Write what was at the start and at the end of training, a dash without runs."""
    start, end = found
    return f"{start.mean:{digits}} → {end.mean:{digits}}" if start.n else "–"


@dataclass(frozen=True, slots=True)
class Row:
    """One initializer on one architecture.

    ``accuracy`` is that of the float networks, failed ones included, diverged ones not. Everything
    after ``failed`` is of the runs that neither diverged nor failed to train. ``drop`` is float
    minus quantized accuracy, taken within each run; ``qmse`` the accumulated relative squared
    error, median over the layers, geometric mean over the runs: both by recipe of ``RECIPES`` and
    by ``bits``. ``weight_range`` is the median over the layers (geometric mean over the runs),
    ``acp`` the mean over the layers of the weights' average channel precision, at the start and at
    the end.
    """

    initializer: str
    architecture: str
    bits: tuple[int, ...]
    runs: int
    diverged: int
    failed: int
    accuracy: Estimate
    drop: tuple[tuple[Estimate, ...], ...]
    qmse: tuple[tuple[Estimate, ...], ...]
    weight_range: tuple[Estimate, Estimate]
    acp: tuple[Estimate, Estimate]


def summarise(study: InitStudy, measure: Yardstick | None = None) -> tuple[Row, ...]:
    """Return a row for every initializer and architecture, in the order of the runs.

    Args:
        study: The runs.
        measure: What runs must come up to; None to judge them by each other.

    Raises:
        AnalysisError: If the runs were quantized at different widths.
    """
    bits = common_bits(study)
    measure = measure or yardstick(study)
    rows = []
    for architecture in study.architectures:
        for initializer in study.initializers:
            runs = study.select(initializer, architecture)
            if not runs:
                continue
            own = [run for run in runs if not failure(run, measure)]
            live = [run for run in runs if not run.diverged]
            rows.append(
                Row(
                    initializer=initializer,
                    architecture=architecture,
                    bits=bits,
                    runs=len(runs),
                    diverged=len(runs) - len(live),
                    failed=len(live) - len(own),
                    accuracy=estimate(run.float_accuracy for run in live),
                    drop=_by_recipe([drop(run) for run in own], bits, estimate),
                    qmse=_by_recipe([qmse(run) for run in own], bits, geometric),
                    weight_range=(
                        geometric(weight_range(run, 0) for run in own),
                        geometric(weight_range(run, -1) for run in own),
                    ),
                    acp=(
                        estimate(weight_precision(run, 0) for run in own),
                        estimate(weight_precision(run, -1) for run in own),
                    ),
                )
            )
    return tuple(rows)


def too_few(rows: Iterable[Row]) -> bool:
    """Tell whether a mean of some row is that of two runs."""
    return any(each.n == MEANINGFUL - 1 for row in rows for each in (row.accuracy, *row.drop[0]))


def estimate(values: Iterable[float]) -> Estimate:
    """Return the mean and its 95 % Student t interval."""
    found = np.fromiter(values, float)
    n = len(found)
    if n < 2:
        return Estimate(float(found[0]) if n else np.nan, np.nan, np.nan, n)
    mean = float(found.mean())
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * found.std(ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n)


def geometric(values: Iterable[float]) -> Estimate:
    """Return the geometric mean and the interval of the logarithms' mean, as factors.

    A value of 0 makes all of it 0 or undefined, as it does the logarithm.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = estimate(np.log(np.fromiter(values, float)))
        ends = np.exp([found.mean, found.low, found.high])
    return Estimate(float(ends[0]), float(ends[1]), float(ends[2]), found.n)


def common_bits(study: InitStudy) -> tuple[int, ...]:
    """Return the widths at which all runs were quantized.

    Raises:
        AnalysisError: If there are no runs, or they differ.
    """
    found = {run.bits for run in study.runs}
    if len(found) != 1:
        raise AnalysisError(
            "The runs of a study must be quantized at the same widths, got "
            f"{', '.join(str(bits) for bits in sorted(found)) or 'no runs'}. Run them again alike."
        )
    return found.pop()


def drop(run: InitRun) -> FloatArray:
    """Return float minus quantized accuracy by recipe and width, (2, B)."""
    return np.asarray(run.float_accuracy - run.correct / run.n)


def qmse(run: InitRun) -> FloatArray:
    """Return the accumulated relative error, median over layers, by recipe and width, (2, B)."""
    return _median(run.qmse_accumulated)


def weight_range(run: InitRun, epoch: int) -> float:
    """Return the median over the layers of the weights' range after an epoch, 0 the start."""
    return float(_median(run.ranges("weight")[epoch]))


def activation_range(run: InitRun, epoch: int) -> float:
    """Return the median over the layers of the pre-activations' range after an epoch."""
    return float(_median(run.ranges("pre_activation")[epoch]))


def weight_precision(run: InitRun, epoch: int) -> float:
    """Return the mean over the layers of the weights' average channel precision."""
    found = run.statistic("weight", "acp")[epoch]
    known = found[np.isfinite(found)]
    return float(known.mean()) if len(known) else np.nan


def _by_recipe(
    values: list[FloatArray],
    bits: tuple[int, ...],
    summary: Callable[[Iterable[float]], Estimate],
) -> tuple[tuple[Estimate, ...], ...]:
    return tuple(
        tuple(summary(float(value[r, b]) for value in values) for b in range(len(bits)))
        for r in range(len(RECIPES))
    )


def _median(values: ArrayLike) -> FloatArray:
    """Median over the last axis, layers without a value left out; a dead layer's error is NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of rows without any value
        return np.asarray(np.nanmedian(np.asarray(values, dtype=np.float64), axis=-1))
