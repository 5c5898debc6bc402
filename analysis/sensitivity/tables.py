"""From what a metric computed to its score table."""

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np

from analysis.errors import QuantizationError
from analysis.options import Options, as_dict
from analysis.quant.formats import bits_of
from analysis.records import FloatArray, ScoreTable, Skipped
from analysis.sensitivity.task import METRICS, SensitivityTask


def score_table(
    task: SensitivityTask,
    metric: str,
    options: Options,
    *,
    unit: str,
    begin: float,
    passes: tuple[int, int],
    rows: FloatArray | None = None,
    values: FloatArray | None = None,
    stderr: FloatArray | None = None,
    per_sample: FloatArray | None = None,
    per_sample_unit: str = "",
    per_sample_stderr: FloatArray | None = None,
    exact: bool = True,
    protocol: str = "isolated",
    seed: int = 0,
    n: int | None = None,
    notes: Sequence[str] = (),
    skipped: Sequence[Skipped] = (),
) -> ScoreTable:
    """Return a metric's score table.

    Layers with a score that is not finite are left out and listed as skipped.

    Args:
        task: What was scored.
        metric: The metric's registered name.
        options: Its options.
        unit: Unit of the scores.
        begin: :func:`time.perf_counter` when the metric began.
        passes: Forward and backward passes per batch.
        rows: Scores of every sample, (N, L) or (N, L, C); values and standard errors are taken from
            them, and the scores per sample at the harshest candidate unless ``per_sample`` is
            given.
        values: Scores (L,) or (L, C) of a metric that has none per sample.
        stderr: Standard errors of ``values``.
        per_sample: Scores (N, L) per sample in their own unit.
        per_sample_unit: That unit.
        per_sample_stderr: Errors (N, L) of the estimator.
        exact: Whether no random probes were used.
        protocol: ``isolated`` or ``accumulated``.
        seed: Seed of whatever was random.
        n: Number of samples that were used, all of the task's by default.
        notes: What a reader must know.
        skipped: Layers that could not be scored; they are left out.

    Raises:
        QuantizationError: If no layer has a finite score.
    """
    if rows is not None:
        values, stderr = rows.mean(0), standard_error(rows)
        if per_sample is None:
            per_sample, per_sample_unit = _at_harshest(task, rows, unit)
    assert values is not None
    names = task.network.table.names
    finite = np.asarray(np.isfinite(values).reshape(len(names), -1).all(1))
    known = {each.name for each in skipped}
    left_out = [*skipped]
    for layer, fine in zip(task.network.table.layers, finite, strict=True):
        if not fine and layer.name not in known:
            reason = "its score is NaN or infinite"
            left_out.append(
                Skipped(
                    name=layer.name, kind=layer.kind, num_params=layer.num_params, reason=reason
                )
            )
    gone = {each.name for each in left_out}
    kept = np.array([name not in gone for name in names])
    if not kept.any():
        raise QuantizationError(
            f"`{metric}` must give a finite score for at least one layer, it gave none: "
            f"{left_out[0].name}: {left_out[0].reason}. Choose another metric."
        )
    return ScoreTable(
        metric=metric,
        title=METRICS[metric].title,
        unit=unit,
        layers=tuple(np.array(names)[kept].tolist()),
        candidates=task.candidates if values.ndim == 2 else (),
        values=values[kept],
        stderr=None if stderr is None else stderr[kept],
        per_sample=None if per_sample is None else per_sample[:, kept],
        per_sample_unit=per_sample_unit,
        per_sample_stderr=None if per_sample_stderr is None else per_sample_stderr[:, kept],
        exact=exact,
        protocol=protocol,
        data=task.samples.role,
        n=task.n if n is None else n,
        seed=seed,
        forward_passes=passes[0],
        backward_passes=passes[1],
        seconds=perf_counter() - begin,
        options=as_dict(options),
        settings=task.settings,
        calibration=task.samples.digest,
        skipped=tuple(left_out),
        notes=tuple(notes),
    )


def with_pairs(
    table: ScoreTable,
    *,
    similarity: FloatArray | None = None,
    interactions: FloatArray | None = None,
) -> ScoreTable:
    """Return a table with what holds between its layers; see :class:`ScoreTable`."""
    return replace(table, similarity=similarity, interactions=interactions)


def standard_error(rows: FloatArray) -> FloatArray | None:
    """Return the standard error of the mean over the first axis, None for a single sample."""
    if len(rows) < 2:
        return None
    return np.asarray(rows.std(axis=0, ddof=1) / np.sqrt(len(rows)), dtype=np.float64)


def harshest(task: SensitivityTask) -> int:
    """Return the place of the candidate with the fewest weight bits, then activation bits."""
    bits = [(bits_of(c.weight), bits_of(c.activation)) for c in task.candidates]
    return bits.index(min(bits))


def need_candidates(task: SensitivityTask, metric: str) -> None:
    """Check that there is a candidate to score.

    Raises:
        QuantizationError: If there is none.
    """
    if not task.candidates:
        raise QuantizationError(f"`{metric}` scores candidates: name at least one, such as `w4a8`.")


def _at_harshest(task: SensitivityTask, rows: FloatArray, unit: str) -> tuple[FloatArray, str]:
    if rows.ndim == 2:
        return rows, unit
    place = harshest(task)
    return rows[:, :, place], f"{unit} at {task.candidates[place].text}"
