"""Which metric to trust: rankings of the layers against a reference that was measured.

Over all candidates only layers at the same candidate are compared: that fewer bits are worse is no
merit of a metric. Intervals are percentile intervals over layers resampled with replacement: they
speak of layers like those of this network, and are not corrected for the number of metrics. Of 95 %
intervals of normal scores 93 to 99 % held the true value, for 8 to 40 layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.errors import AnalysisError
from analysis.options import Options, option
from analysis.quant.formats import bits_of
from analysis.ranks import LEVEL, SAME_SCORES, correlations, estimate, halves, overlap
from analysis.records import (
    Agreement,
    BoolArray,
    Candidate,
    Estimate,
    FloatArray,
    RankAgreement,
    RankDifference,
    ScoreTable,
)

# Perfect agreement of fewer layers happens by chance more often than once in twenty.
MIN_LAYERS = 5
MIN_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class AgreementOptions(Options):
    """Options of :func:`agreement`."""

    count: int = option(1000, low=100, high=100_000, help="Resamples of the layers.")
    top: int = option(
        0, low=0, high=1000, help="How many most sensitive layers to compare; 0 for a quarter."
    )
    seed: int = option(0, low=0, high=2**31 - 1, help="Seed of the resamples.")


@dataclass(frozen=True, slots=True)
class _Scores:
    """Scores (C, L) in the order of the reference; ``known`` (L,) are the layers there are."""

    table: ScoreTable
    values: FloatArray
    known: BoolArray


def agreement(
    reference: ScoreTable, tables: Sequence[ScoreTable], options: AgreementOptions
) -> Agreement:
    """Compare how metrics rank the layers with how a reference does.

    Scores of layers alone are compared with the reference at every candidate. A table that is the
    reference itself is left out. The order of the layers does not matter.

    Args:
        reference: Measured scores (L, C): the loss increase or the output divergence.
        tables: Scores (L, C) of at least the reference's candidates, or (L,).
        options: Resamples, top layers and seed.

    Raises:
        AnalysisError: If the reference scores no candidates, or a table lacks one of them or has
            another protocol.
    """
    if reference.values.ndim != 2:
        raise AnalysisError(
            f"A reference must score candidates, `{reference.metric}` scores layers alone. Take "
            "`loss_increase` or `output_kl`."
        )
    # By name, so that the resamples do not depend on the order of the layers.
    names = tuple(sorted(reference.layers))
    measured = _scores(reference, reference, names)
    compared = [_scores(table, reference, names) for table in tables if not _same(table, reference)]
    count = len(names)
    draws = np.random.default_rng([options.seed, 0]).multinomial(
        count, np.full(count, 1 / count), size=options.count
    )
    weights = np.vstack([np.ones(count), draws])  # (1 + R, L), the layers as they are first
    k = options.top or max(3, -(-count // 4))
    ceiling, ceiling_reason = _ceiling(reference, options)
    return Agreement(
        reference=reference.metric,
        title=reference.title,
        options=reference.options,
        data=reference.data,
        n=reference.n,
        layers=reference.layers,
        candidates=reference.candidates,
        metrics=tuple(each.table.metric for each in compared),
        rankings=tuple(one for each in compared for one in _rankings(measured, each, weights, k)),
        differences=_differences(measured, compared, weights),
        same_samples=tuple(
            each.table.metric
            for each in compared
            if each.table.n and each.table.calibration == reference.calibration
        ),
        ceiling=ceiling,
        ceiling_at=reference.candidates[_harshest(reference)],
        ceiling_reason=ceiling_reason,
        resamples=options.count,
        seed=options.seed,
        level=LEVEL,
    )


def _scores(table: ScoreTable, reference: ScoreTable, names: Sequence[str]) -> _Scores:
    if table.protocol != reference.protocol:
        raise AnalysisError(
            f"Scores and reference must have one protocol: `{table.metric}` is {table.protocol}, "
            f"the reference `{reference.metric}` {reference.protocol}. Score one of them again."
        )
    if table.values.ndim == 1:
        values = np.repeat(table.values[:, None], len(reference.candidates), axis=1)
    else:
        missing = [c.text for c in reference.candidates if c not in table.candidates]
        if missing:
            raise AnalysisError(
                f"`{table.metric}` must score the candidates of the reference, it lacks "
                f"{', '.join(missing)}. Score it with the same candidates."
            )
        values = table.values[:, [table.candidates.index(c) for c in reference.candidates]]
    row = {name: i for i, name in enumerate(table.layers)}
    known = np.array([name in row for name in names])
    return _Scores(table, values[[row.get(name, 0) for name in names]].T, known)


def _same(table: ScoreTable, reference: ScoreTable) -> bool:
    def identity(each: ScoreTable) -> tuple[object, ...]:
        return each.metric, dict(each.options), each.data, each.calibration, each.settings

    return identity(table) == identity(reference)


def _harshest(table: ScoreTable) -> int:
    bits = [(bits_of(c.weight), bits_of(c.activation)) for c in table.candidates]
    return bits.index(min(bits))


def _rankings(measured: _Scores, each: _Scores, weights: FloatArray, k: int) -> list[RankAgreement]:
    known = each.known
    layers = int(known.sum())
    left_out = len(set(measured.table.layers) ^ set(each.table.layers))
    k = min(k, layers)
    x, y = measured.values[:, known], each.values[:, known]
    found = correlations(x, y, weights[:, known])
    overlaps = [overlap(a, b, k) for a, b in zip(x, y, strict=True)] if layers else []
    reasons = [_reason(a, b) for a, b in zip(x, y, strict=True)]
    fine = [c for c, reason in enumerate(reasons) if not reason]
    overlaps.append(float(np.mean([overlaps[c] for c in fine])) if fine else np.nan)
    reasons.append("" if fine else reasons[0])
    candidates: list[Candidate | None] = [*measured.table.candidates, None]
    result = []
    for c, (candidate, reason) in enumerate(zip(candidates, reasons, strict=True)):
        tau, rho = (
            None if reason else estimate(found[kind, 0, c], found[kind, 1:, c]) for kind in (0, 1)
        )
        if not reason and tau is None:
            reason = "nearly all layers have the same score"
        result.append(
            RankAgreement(
                metric=each.table.metric,
                title=each.table.title,
                candidate=candidate,
                layers=layers,
                left_out=left_out,
                tau=tau,
                rho=rho,
                k=k,
                overlap=None if reason else overlaps[c],
                chance=k / layers if layers else 0.0,
                reason=reason,
            )
        )
    return result


def _reason(x: FloatArray, y: FloatArray) -> str:
    """Say why two rankings (L,) cannot be compared, nothing if they can."""
    if len(x) < MIN_LAYERS:
        return f"{len(x)} layers are scored by both, a comparison needs {MIN_LAYERS}"
    if np.ptp(x) == 0:
        return "the reference is the same for all layers"
    return SAME_SCORES if np.ptp(y) == 0 else ""


def _differences(
    measured: _Scores, compared: Sequence[_Scores], weights: FloatArray
) -> tuple[RankDifference, ...]:
    taus: dict[tuple[int, bytes], FloatArray] = {}

    def tau(place: int, known: BoolArray) -> FloatArray:
        key = place, known.tobytes()
        if key not in taus:
            x, y = measured.values[:, known], compared[place].values[:, known]
            taus[key] = correlations(x, y, weights[:, known])[0, :, -1]
        return taus[key]

    result = []
    for second in range(len(compared)):
        for first in range(second):
            known = compared[first].known & compared[second].known
            if known.sum() < MIN_LAYERS:
                continue
            found = tau(first, known) - tau(second, known)
            difference = estimate(found[0], found[1:])
            if difference is not None:
                result.append(RankDifference(first=first, second=second, tau=difference))
    return tuple(result)


def _ceiling(reference: ScoreTable, options: AgreementOptions) -> tuple[Estimate | None, str]:
    """Return how far halves of the reference's samples agree, or why that is not known."""
    rows, values = reference.per_sample, reference.values[:, _harshest(reference)]
    if rows is None or len(rows) < MIN_SAMPLES:
        return None, f"it has no scores of at least {MIN_SAMPLES} samples"
    if not np.allclose(rows.mean(0), values, rtol=1e-6, atol=1e-9 * np.abs(values).max()):
        return None, "its scores per sample are another quantity"
    if len(values) < MIN_LAYERS:
        return None, f"it has {len(values)} layers, a comparison needs {MIN_LAYERS}"
    taus = halves(rows, options.count, np.random.default_rng([options.seed, 1]))
    known = taus[np.isfinite(taus)]
    found = estimate(float(np.median(known)), taus) if len(known) else None
    return found, "" if found else "nearly all layers have the same score"
