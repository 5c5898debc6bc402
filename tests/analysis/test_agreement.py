from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.agreement import MIN_LAYERS, AgreementOptions, agreement
from analysis.errors import AnalysisError
from analysis.ranks import correlations, estimate, halves, overlap
from analysis.records import Agreement, Candidate, Estimate, QuantSettings, ScoreTable
from analysis.verdict import verdict
from cache.codec import dumps, loads

TEXTS = ("w2a8", "w4a8", "w8a8")


def table(values, metric: str = "metric", **changes) -> ScoreTable:
    """Scores (L, C), or (L,), of layers a, b, c ... and candidates from ``TEXTS``."""
    values = np.asarray(values, dtype=np.float64)
    fields = {
        "metric": metric,
        "title": metric.replace("_", " ").capitalize(),
        "unit": "nats",
        "layers": tuple(f"layer{i:03}" for i in range(len(values))),
        "candidates": tuple(map(Candidate.parse, TEXTS[: values.shape[1]]))
        if values.ndim == 2
        else (),
        "values": values,
        "exact": True,
        "protocol": "isolated",
        "n": 8,
        "seed": 0,
        "forward_passes": 1,
        "backward_passes": 0,
        "seconds": 0.0,
        "options": {},
        "settings": QuantSettings(),
        "calibration": f"digest of {metric}",
    }
    return ScoreTable(**(fields | changes))


def scores(layers: int = 12, candidates: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((layers, candidates))


def compare(reference, *tables, **options) -> Agreement:
    return agreement(reference, tables, AgreementOptions(**({"count": 200} | options)))


def plain(found: Agreement, metric: int = 0) -> list[tuple[float | None, float | None]]:
    """Tau and rho at every candidate, then over all."""
    width = len(found.candidates) + 1
    return [
        (one.tau and one.tau.value, one.rho and one.rho.value)
        for one in found.rankings[metric * width : (metric + 1) * width]
    ]


@pytest.mark.parametrize("sign", [1, -1])
def test_equal_and_reversed_rankings_agree_wholly_or_not_at_all(sign):
    values = scores()
    found = compare(table(values, "reference"), table(sign * values))
    for one in found.rankings:
        for correlation in (one.tau, one.rho):
            assert correlation == Estimate(value=sign, low=sign, high=sign)
    top = found.overall(0)
    assert (top.k, top.chance, top.layers, top.left_out) == (3, 0.25, 12, 0)
    assert top.overlap == (1.0 if sign > 0 else 0.0)


def test_ties_follow_the_closed_form_of_tau_b():
    x = np.array([1.0, 1.0, 2.0, 2.0, 3.0])[:, None]
    y = np.array([1.0, 2.0, 1.0, 2.0, 3.0])[:, None]
    # Ten pairs, two tied in each; of the others five in order, one reversed, two tied once.
    found = compare(table(x, "reference"), table(y))
    assert found.overall(0).tau.value == pytest.approx((5 - 1) / (8 * 8) ** 0.5)
    # Midranks 1.5 1.5 3.5 3.5 5 against 1.5 3.5 1.5 3.5 5: covariance 5, variances 9.
    assert found.overall(0).rho.value == pytest.approx(5 / 9)


@pytest.mark.parametrize("seed", range(5))
def test_correlations_of_resamples_equal_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, (2, 1, 15)).astype(float)
    weights = rng.multinomial(15, np.full(15, 1 / 15), size=20).astype(float)
    found = correlations(x, y, weights)
    for w, tau, rho in zip(weights, found[0, :, 0], found[1, :, 0], strict=True):
        a, b = (np.repeat(each[0], w.astype(int)) for each in (x, y))
        assert tau == pytest.approx(stats.kendalltau(a, b).statistic)
        assert rho == pytest.approx(stats.spearmanr(a, b).statistic)


def test_over_all_candidates_only_layers_at_the_same_candidate_are_compared():
    x, y = scores(10, 2), scores(10, 2, seed=1)
    found = compare(table(x, "reference"), table(y))
    pairs = [
        np.sign(x[i, c] - x[j, c]) * np.sign(y[i, c] - y[j, c])
        for c in range(2)
        for i in range(10)
        for j in range(i)
    ]
    assert found.overall(0).tau.value == pytest.approx(np.mean(pairs))
    # Fewer bits being worse is no merit: a large offset of a candidate changes nothing.
    offset = np.array([100.0, 0.0])
    shifted = compare(table(x + offset, "reference"), table(y + offset))
    assert shifted.rankings == found.rankings


def test_a_candidate_without_a_ranking_is_left_out_of_the_comparison_over_all():
    x, y = scores(10, 3), scores(10, 3, seed=1)
    x[:, 1], y[:, 2] = 0.0, 7.0
    found = compare(table(x, "reference"), table(y))
    first, second, third = (found.at(0, candidate) for candidate in found.candidates)
    assert second.reason == "the reference is the same for all layers"
    assert third.reason == "its scores are the same for all layers"
    for one in (second, third):
        assert one.tau is one.rho is one.overlap is None
    assert found.overall(0) == replace(first, candidate=None)


def test_constant_scores_have_no_ranking_and_no_nan():
    found = compare(table(scores(), "reference"), table(np.ones((12, 3))), table(np.ones(12)))
    for one in found.rankings:
        assert one.tau is one.rho is one.overlap is None
        assert one.reason == "its scores are the same for all layers"
    assert found.differences == ()
    assert b"NaN" not in dumps(found)[0]


def test_scores_of_layers_alone_are_compared_at_every_candidate():
    x, y = scores(), scores(12, 1, seed=1)
    alone = compare(table(x, "reference"), table(y[:, 0]))
    assert alone.rankings == compare(table(x, "reference"), table(np.repeat(y, 3, 1))).rankings


def test_layers_that_only_one_of_both_scores_are_left_out_and_counted():
    x, y = scores(12, 2), scores(12, 2, seed=1)
    reference, whole = table(x, "reference"), table(y)
    part = table(y[2:], layers=whole.layers[2:])
    found = compare(reference, part)
    assert (found.overall(0).layers, found.overall(0).left_out) == (10, 2)
    short = compare(table(x[2:], "reference"), table(y[2:]))
    assert plain(found) == plain(short)
    other = compare(table(x[2:], "reference", layers=whole.layers[2:]), whole)
    assert (other.overall(0).layers, other.overall(0).left_out) == (10, 2)
    assert plain(other) == plain(short)


def test_metrics_that_skipped_other_layers_are_told_apart_on_the_layers_both_score():
    x, y, z = (scores(12, 1, seed=s) for s in range(3))
    names = table(x).layers
    first, second = table(y[3:], "first", layers=names[3:]), table(z[:-2], "second")
    (difference,) = compare(table(x, "reference"), first, second).differences
    expected = [stats.kendalltau(x[3:-2, 0], each[3:-2, 0]).statistic for each in (y, z)]
    assert difference.tau.value == pytest.approx(expected[0] - expected[1])


def test_too_few_layers_are_not_ranked():
    few = scores(MIN_LAYERS - 1)
    found = compare(table(few, "reference"), table(few))
    assert found.overall(0).tau is None
    assert found.overall(0).reason == "4 layers are scored by both, a comparison needs 5"
    enough = scores(MIN_LAYERS)
    assert compare(table(enough, "reference"), table(enough)).overall(0).tau.value == 1
    apart = table(scores(), "metric", layers=tuple(f"other{i}" for i in range(12)))
    found = compare(table(scores(), "reference"), apart)
    assert (found.overall(0).layers, found.overall(0).left_out) == (0, 24)
    assert found.overall(0).tau is None


def test_an_interval_needs_half_of_the_resamples_to_have_a_ranking():
    values = np.array([np.nan] * 5 + [0.25] * 5)
    assert estimate(0.5, values) == Estimate(value=0.5, low=0.25, high=0.25)
    assert estimate(0.5, np.array([np.nan] * 6 + [0.5] * 5)) is None
    assert estimate(np.nan, np.ones(9)) is None


def test_monotone_transforms_change_nothing():
    x, y = scores(), scores(seed=1)
    found = compare(table(x, "reference"), table(y))
    bent = compare(table(x**3, "reference"), table(np.exp(4 * y) - 100))
    assert bent == found


def test_the_order_of_the_layers_changes_nothing():
    x, y = scores(), scores(seed=1)
    rows = np.random.default_rng(2).standard_normal((8, 12))
    x[:, 0] = rows.mean(0)
    reference, other = table(x, "reference", per_sample=rows), table(y)
    found = compare(reference, other)
    order = np.random.default_rng(5).permutation(12)
    names = tuple(np.array(reference.layers)[order].tolist())
    moved = compare(
        table(x[order], "reference", layers=names, per_sample=rows[:, order]),
        table(y[order[::-1]], layers=names[::-1]),
    )
    assert moved.ceiling is not None
    assert replace(moved, layers=found.layers) == found


def test_one_seed_gives_one_answer_and_another_seed_other_resamples():
    tables = table(scores(), "reference"), table(scores(seed=1))
    assert compare(*tables, seed=3) == compare(*tables, seed=3)
    first, other = compare(*tables, seed=3).overall(0), compare(*tables, seed=4).overall(0)
    assert first.tau.value == other.tau.value
    assert first.tau != other.tau


def test_intervals_hold_the_true_value_about_as_often_as_they_promise():
    rng, layers, rho, trials = np.random.default_rng(0), 24, 0.6, 200
    held = np.zeros(2)
    truth = 2 / np.pi * np.arcsin(rho), 6 / np.pi * np.arcsin(rho / 2)
    for _ in range(trials):
        x, noise = rng.standard_normal((2, layers))
        y = rho * x + (1 - rho**2) ** 0.5 * noise
        draws = rng.multinomial(layers, np.full(layers, 1 / layers), size=300)
        found = correlations(x[None], y[None], np.vstack([np.ones(layers), draws]))
        for kind in range(2):
            one = estimate(found[kind, 0, 0], found[kind, 1:, 0])
            held[kind] += one.low <= truth[kind] <= one.high
    assert ((held / trials > 0.9) & (held / trials < 0.99)).all()


def test_the_most_sensitive_layers_are_compared_with_ties_broken_at_random():
    x = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    assert overlap(x, x, 2) == 1
    assert overlap(x, -x, 2) == 0
    assert overlap(x, np.array([5.0, 0, 4, 0, 0, 0]), 2) == 0.5
    tied = np.array([9.0, 1, 1, 1, 0, 0])  # one of three comes second
    assert overlap(x, tied, 2) == pytest.approx((1 + 1 / 3) / 2)
    assert overlap(tied, tied, 2) == pytest.approx((1 + 3 / 9) / 2)
    assert compare(table(scores(9), "reference"), table(scores(9))).overall(0).k == 3
    assert compare(table(scores(21), "reference"), table(scores(21))).overall(0).k == 6
    assert compare(table(scores(9), "reference"), table(scores(9)), top=20).overall(0).k == 9


def test_the_ceiling_is_that_of_two_halves_of_the_samples():
    rng = np.random.default_rng(0)
    truth = np.linspace(0, 1, 20)
    noise = rng.standard_normal((64, 20))

    def reference(scale: float, **changes):
        rows = truth + scale * noise
        values = np.stack([rows.mean(0), truth], 1)
        return table(values, "reference", n=64, **({"per_sample": rows} | changes))

    sharp, noisy, blind = (compare(reference(scale)).ceiling for scale in (1e-6, 0.5, 1e6))
    assert sharp == Estimate(value=1, low=1, high=1)
    assert 0.5 < noisy.low < noisy.value < noisy.high < 1
    assert blind.low < 0 < blind.high
    assert compare(reference(0.5)).ceiling_at == Candidate.parse("w2a8")
    a, b = (truth + 0.5 * rng.standard_normal((2000, 2, 20)) / 32**0.5).swapaxes(0, 1)
    fresh = np.median([stats.kendalltau(*pair).statistic for pair in zip(a, b, strict=True)])
    drawn = np.median(
        [
            np.median(halves(truth + 0.5 * rng.standard_normal((64, 20)), 20, rng))
            for _ in range(100)
        ]
    )
    assert drawn == pytest.approx(fresh, abs=0.03)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (None, "no scores of at least 4 samples"),
        (np.ones((3, 12)), "no scores of at least 4 samples"),
        (np.arange(96.0).reshape(8, 12), "another quantity"),
    ],
)
def test_a_ceiling_needs_the_reference_of_enough_samples(rows, reason):
    found = compare(table(scores(), "reference", per_sample=rows))
    assert found.ceiling is None
    assert reason in found.ceiling_reason
    assert (
        found.ceiling_reason
        in verdict(compare(table(scores(), "reference", per_sample=rows), table(scores())))[-1]
    )


def test_a_constant_or_small_reference_has_no_ceiling():
    flat = compare(table(np.zeros((12, 1)), "reference", per_sample=np.zeros((8, 12))))
    assert flat.ceiling is None
    assert flat.ceiling_reason == "nearly all layers have the same score"
    small = compare(table(np.ones((3, 1)), "reference", per_sample=np.ones((8, 3))))
    assert small.ceiling_reason == "it has 3 layers, a comparison needs 5"


def test_tables_that_do_not_fit_the_reference_are_refused():
    reference = table(scores(), "reference")
    with pytest.raises(AnalysisError, match=r"`metric` must score the candidates .* lacks w8a8"):
        compare(reference, table(scores(12, 2)))
    with pytest.raises(AnalysisError, match="`metric` is accumulated, the reference"):
        compare(reference, table(scores(), protocol="accumulated"))
    with pytest.raises(AnalysisError, match="`reference` scores layers alone"):
        compare(table(scores()[:, 0], "reference"), reference)


def test_candidates_are_matched_by_what_they_are_not_by_their_place():
    values = scores()
    turned = table(values[:, ::-1], candidates=table(values).candidates[::-1])
    assert compare(table(values, "reference"), turned).overall(0).tau.value == 1


def test_the_reference_is_not_compared_with_itself():
    reference = table(scores(), "reference")
    found = compare(reference, reference, table(scores(seed=1)))
    assert found.metrics == ("metric",)
    other = replace(reference, options={"batch_size": 8})
    assert compare(reference, other).metrics == ("reference",)


def test_the_record_survives_the_store_and_its_entries_are_found():
    rows = np.random.default_rng(2).standard_normal((8, 12))
    values = scores()
    values[:, 0] = rows.mean(0)
    found = compare(
        table(values, "reference", per_sample=rows), table(scores(seed=1), "a"), table(values, "b")
    )
    assert loads(Agreement, *dumps(found)) == found
    assert [found.at(1, c).candidate for c in found.candidates] == list(found.candidates)
    assert (found.overall(1).metric, found.overall(1).candidate) == ("b", None)
    assert (found.resamples, found.level, found.n) == (200, 0.95, 8)
