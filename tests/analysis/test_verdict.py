"""What is said in words about an agreement."""

from dataclasses import replace

import numpy as np

from analysis.records import ScoreTable
from analysis.verdict import verdict
from tests.analysis.test_agreement import compare, table


def words(reference, *tables, **options) -> str:
    return "\n".join(verdict(compare(reference, *tables, **options)))


def ranked(layers: int, noise: float, metric: str, seed: int = 1, **changes) -> ScoreTable:
    """Scores that follow the layers' order up to some noise."""
    rng = np.random.default_rng(seed)
    return table(np.arange(layers) + noise * rng.standard_normal(layers), metric, **changes)


def ordered(layers: int = 30, **changes) -> ScoreTable:
    return table(np.arange(layers, dtype=float)[:, None], "measured", **changes)


def test_the_verdict_names_the_best_and_what_can_and_cannot_be_told_apart():
    close = ranked(30, 2.0, "close_one"), ranked(30, 2.2, "close_two", seed=3)
    text = words(
        ordered(),
        *close,
        ranked(30, 15.0, "far"),
        ranked(30, 1e9, "noise", seed=6),
        table(-np.arange(30.0), "reversed"),
        table(np.random.default_rng(9).random(30), "random"),
        table(np.ones(30), "flat"),
    )
    first, second, third, *_ = text.splitlines()
    assert first.startswith("Close one ranks the 30 layers most nearly as Measured does (τ = 0.")
    assert "95 % interval over resampled layers" in first
    assert "As the best of 5 it is likely to look better than it is." in first
    assert second == (
        "Not told apart from it by these layers: Close two. That does not make them equal."
    )
    assert third.startswith("Shown to rank worse: Far by 0.")
    assert "Noise by" in third
    assert "Reversed by 1." in third
    assert "better than chance, their intervals hold 0: Noise." in text
    assert "Shown to rank the wrong way round: Reversed." in text
    assert "Close one beats Random by " in text
    assert "Not compared with the baseline `size_only`: score it as well." in text
    assert "Flat is not ranked: its scores are the same for all layers." in text


def test_the_verdict_says_when_a_baseline_is_not_beaten_or_better():
    text = words(ordered(), ranked(30, 2.0, "method"), ranked(30, 2.2, "size_only", seed=3))
    assert "Method is not shown to beat Size only: the difference is " in text
    text = words(ordered(), ranked(30, 30.0, "method"), ordered_copy("size_only"))
    assert "Size only beats Method: the difference is -0." in text
    assert "best of" not in text


def ordered_copy(metric: str) -> ScoreTable:
    return table(np.arange(30.0), metric)


def test_a_baseline_that_ranks_nothing_is_beaten_by_what_beats_chance():
    size = table(np.tile([2.0], (30, 1)), "size_only")
    text = words(ordered(), ranked(30, 2.0, "method"), size)
    assert "Method beats Size only, which ranks no layer before another, by 0." in text
    assert "is not ranked" not in text
    text = words(ordered(), ranked(30, 1e9, "noise", seed=6), size)
    assert "Noise is not shown to beat Size only, which ranks no layer before another: " in text
    few = words(ordered(4), ranked(4, 0.0, "method"), table(np.ones((4, 1)), "size_only"))
    assert few.startswith("No metric can be compared with Measured.")


def test_the_number_of_weights_is_a_baseline_too():
    text = words(ordered(), ordered_copy("parameter_count"), ranked(30, 3.0, "method"))
    assert text.startswith("Method ranks")
    assert "Parameter count beats Method" in text


def test_the_verdict_says_when_nothing_ranks_better_than_chance():
    text = words(ordered(), ranked(30, 1e9, "noise", seed=6))
    assert text.startswith("No metric is shown to rank the layers as Measured does better than")
    assert "Highest is Noise on 30 layers" in text


def test_the_verdict_says_when_metrics_lie_within_the_noise_of_the_reference():
    rng = np.random.default_rng(0)

    def reference(noise: float) -> ScoreTable:
        rows = np.arange(30) + noise * rng.standard_normal((16, 30))
        return ordered(per_sample=rows - rows.mean(0) + np.arange(30), n=16)

    tables = ordered_copy("exact"), ranked(30, 15.0, "far")
    text = words(reference(8.0), *tables)
    assert (
        "At w2a8 Measured from one half of its 16 samples agrees with that from the other" in text
    )
    assert "As near to it as its halves to each other: Exact (1.00). What is left may be" in text
    text = words(reference(1e-9), tables[1])
    assert "No metric comes as near to it there." in text
    text = words(reference(1e4), *tables)
    assert "Its own ranking there is inside the noise: measure it on more samples." in text


def test_the_verdict_counts_what_was_left_out_and_names_common_samples():
    part = ranked(30, 1.0, "part")
    part = replace(part, layers=part.layers[:25], values=part.values[:25])
    same = replace(ordered_copy("same"), calibration=ordered().calibration)
    text = words(ordered(), part, same)
    assert "Part is compared on 25 layers, 5 are scored by one of the two alone." in text
    assert "Same: from the samples of the reference, so what is chance in these" in text
    assert "Part: from" not in text


def test_a_metric_that_skipped_the_hard_layers_does_not_win_by_it_unnoticed():
    # Best on its own layers, yet worse than the other on the very same ones.
    x = np.arange(30.0)
    whole = np.concatenate([x[:20], x[20:][::-1]])
    part = np.concatenate([[1.0, 0.0], x[2:20]])
    names = ordered().layers
    text = words(ordered(), table(whole, "whole"), table(part, "part", layers=names[:20]))
    assert text.startswith("Part ranks the 20 layers")
    found = compare(ordered(), table(whole, "whole"), table(part, "part", layers=names[:20]))
    assert found.differences[0].tau.value > 0
    assert "Not told apart from it by these layers: Whole" in text


def test_without_a_metric_to_compare_the_verdict_says_so():
    assert verdict(compare(ordered())) == ("No metric can be compared with Measured.",)
    text = words(ordered(), table(np.arange(30.0), "random"))
    assert text == "No metric can be compared with Measured."
