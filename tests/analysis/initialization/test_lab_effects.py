import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.errors import OptionError
from analysis.initialization.effect import Effect, p_text
from analysis.initialization.effects import effects, findings
from analysis.initialization.failures import yardstick
from analysis.initialization.titles import title
from analysis.records.initialization import InitStudy
from tests.reference.initialization import planted_run

NAMES = ("uniform_small", "glorot_uniform", "he_normal")
SEEDS = range(5)


def planted(
    drops: dict[str, float],
    ranges: dict[str, float] | None = None,
    *,
    separable: float | None = None,
    noise: float = 0.01,
    seed: int = 0,
) -> InitStudy:
    """Runs whose drop is that of the initializer, plus that of being separable, plus noise."""
    random = np.random.default_rng(seed)
    runs = []
    architectures = ("regular",) if separable is None else ("regular", "separable")
    for architecture, name, number in itertools.product(architectures, drops, SEEDS):
        extra = separable if architecture == "separable" else 0.0
        own = random.normal()
        runs.append(
            planted_run(
                name,
                architecture,
                number,
                drop=drops[name] + (extra or 0.0) + noise * own,
                weight_range=(ranges or {}).get(name, 1.0) * math.exp(0.1 * random.normal()),
                qmse=0.1 * (3.0 if architecture == "separable" else 1.0) * math.exp(0.1 * own),
                accuracy=0.9 + 0.002 * random.normal(),
            )
        )
    return InitStudy(runs=tuple(runs), data="planted")


def answer(study: InitStudy, question: str, architecture: str = "regular") -> Effect:
    (found,) = [
        effect
        for effect in findings(study)
        if question in effect.question and effect.architecture == architecture
    ]
    return found


FLAT = dict.fromkeys(NAMES, 0.2)
STEEP = dict(zip(NAMES, (0.05, 0.2, 0.4), strict=True))
DROP = "accuracy drop at 4 bits (per-tensor min-max) depend on the initializer"
RANGE = "final weight range depend on the initializer"


def test_a_planted_effect_of_the_initializer_is_found_with_its_numbers():
    study = planted(STEEP)
    found = answer(study, DROP)
    assert found.shown
    groups = [
        [run.float_accuracy - run.correct[0, 1] / run.n for run in study.select(name, "regular")]
        for name in NAMES
    ]
    assert found.p_value == pytest.approx(stats.f_oneway(*groups).pvalue)
    values = np.concatenate(groups)
    between = sum(len(g) * (np.mean(g) - values.mean()) ** 2 for g in groups)
    assert found.size == pytest.approx(between / ((values - values.mean()) ** 2).sum())
    assert found.n == 15
    for words in ("(uniform_small)", "(he_normal)", "eta² = 0.9", "Kruskal-Wallis p = "):
        assert words in found.text


def test_noise_is_called_noise():
    found = answer(planted(FLAT), DROP)
    assert not found.shown
    assert found.p_value > 0.05
    assert "inside the noise of the seeds" in found.text


def test_noise_is_rarely_taken_for_an_effect():
    wrong = [answer(planted(FLAT, seed=seed), DROP).shown for seed in range(40)]
    assert sum(wrong) <= 5  # 5 % would be 2


def test_ranges_are_compared_by_their_logarithm():
    study = planted(FLAT, dict(zip(NAMES, (0.5, 1.0, 8.0), strict=True)))
    found = answer(study, RANGE)
    assert found.shown
    means = [
        stats.gmean([run.ranges("weight")[-1, 0] for run in study.select(name, "regular")])
        for name in NAMES
    ]
    wanted = f"from {means[0]:.3g} (uniform_small) to {means[2]:.3g} (he_normal)"
    assert wanted in found.text
    assert not answer(planted(FLAT), RANGE).shown


def test_separable_networks_that_lose_more_are_found_by_pairs():
    study = planted(STEEP, separable=0.05)
    found = answer(study, "accuracy drop at 4 bits (per-tensor min-max) larger", "separable")
    assert found.shown
    assert found.n == 15
    assert found.size == pytest.approx(0.05, abs=0.01)
    assert "points larger (95 % interval" in found.text
    error = answer(study, "accumulated QMSE", "separable")
    assert error.shown
    assert error.size == pytest.approx(3.0, rel=0.2)


def test_separable_networks_that_lose_the_same_or_less_are_not_said_to_lose_more():
    question = "accuracy drop at 4 bits (per-tensor min-max) larger"
    same = answer(planted(STEEP, separable=0.0), question, "separable")
    assert not same.shown
    assert "inside the noise" in same.text
    less = answer(planted(STEEP, separable=-0.04), question, "separable")
    assert not less.shown
    assert "points smaller" in less.text


def test_unpaired_runs_are_not_compared():
    runs = planted(STEEP, separable=0.05).runs
    kept = [r for r in runs if r.architecture == "regular" or r.seed < 2]
    found = answer(InitStudy(runs=tuple(kept), data=""), "(per-tensor min-max) larger", "separable")
    assert found.n == 6


def test_one_seed_is_too_few_to_tell():
    runs = tuple(run for run in planted(STEEP).runs if run.seed == 0)
    found = answer(InitStudy(runs=runs, data=""), DROP)
    assert not found.shown
    assert "cannot be told" in found.text
    assert math.isnan(found.p_value)


def test_equal_runs_are_the_same_and_no_effect():
    runs = tuple(planted_run(name, seed=seed) for name in NAMES for seed in SEEDS)
    found = answer(InitStudy(runs=runs, data=""), DROP)
    assert not found.shown
    assert "the same in all 15 runs" in found.text


def test_training_failures_are_named_by_the_rule_that_set_them_apart():
    runs = planted(STEEP).runs
    failures = (
        planted_run("normal_medium", seed=0, accuracy=0.3, drop=0.0),
        planted_run("normal_large", seed=1, diverged="epoch 0"),
        planted_run("normal:0:1000", seed=0, accuracy=0.1, drop=0.0),
        planted_run("normal:0:1000", seed=1, accuracy=0.11, drop=0.0),
    )
    study = InitStudy(runs=runs + failures, data="")
    found = answer(study, "training failures")
    assert found.shown
    for words in (
        "4 of 19 runs are left out",
        "1 whose training diverged (normal_large)",
        "2 whose float accuracy cannot be told from always naming the most frequent "
        "class, 10.0% (normal:0:1000)",
        f"1 whose float accuracy stayed below 75% of the best known of this network, "
        f"{max(run.float_accuracy for run in runs):.1%} (normal_medium)",
    ):
        assert words in found.text
    assert answer(study, DROP).n == 15


def test_a_rule_that_nobody_broke_is_not_spoken_of():
    lost = [planted_run("normal_large", seed=seed, diverged="epoch 0") for seed in range(3)]
    text = answer(InitStudy(runs=tuple(lost), data=""), "training failures").text
    assert "3 of 3 runs are left out of the comparisons" in text
    assert text.endswith("about their ranges: 3 whose training diverged (normal_large).")
    assert "frequent" not in text
    assert "best" not in text


def test_one_initializer_is_too_few_to_tell_however_many_seeds_it_has():
    runs = tuple(planted_run(seed=seed) for seed in range(3))
    found = answer(InitStudy(runs=runs, data=""), DROP)
    assert "from 3 trained runs of 1 initializer: it takes two initializers" in found.text
    runs = tuple(planted_run(name) for name in NAMES)
    found = answer(InitStudy(runs=runs, data=""), DROP)
    assert "from 3 trained runs of 3 initializers: it takes two seeds" in found.text
    one = answer(InitStudy(runs=runs[:1], data=""), DROP)
    assert "from 1 trained run of 1 initializer:" in one.text


# --- has training finished? ----------------------------------------------------------------------


def hint(*runs) -> list[str]:
    study = InitStudy(runs=runs, data="")
    return [e.text for e in findings(study) if e.question == "Had training finished?"]


def test_an_accuracy_that_rose_beyond_chance_to_the_end_says_that_training_had_not_finished():
    # Two counts of 1000 around 45 % differ by chance by 1.96 sqrt(2 x 0.2475 / 1000) = 4.4 points.
    (text,) = hint(planted_run(accuracy=0.47, rise=0.05))
    assert "training had not finished after 1 epoch." in text
    assert "rose by 5.0 points to 47.0%, more than the 4.4 that chance explains (1 run)" in text
    assert not hint(planted_run(accuracy=0.47, rise=0.04))
    assert not hint(planted_run(accuracy=0.47, rise=-0.1))


def test_many_runs_tell_a_smaller_rise_from_chance():
    runs = [planted_run(seed=seed, accuracy=0.47, rise=0.03) for seed in range(3)]
    (text,) = hint(*runs)
    assert "more than the 2.5 that chance explains (3 runs)" in text
    # Those that did not train say nothing about it.
    assert not hint(*(planted_run(seed=seed, accuracy=0.1, rise=0.09) for seed in range(3)))


# --- how numbers and names are written -----------------------------------------------------------


def test_p_values_are_never_rounded_to_the_level():
    assert [p_text(p) for p in (0.0495, 0.04999, 0.0501, 0.012345, 3e-7)] == [
        "0.0495", "0.04999", "0.0501", "0.012", "3e-07",
    ]  # fmt: skip


def test_sentences_speak_of_titles_where_they_are_asked_for():
    study = planted(STEEP, separable=0.05)
    text = " ".join(finding.text for finding in findings(study, 4, yardstick(study), title))
    assert "He normal" in text
    assert "Depthwise separable against Regular: " in text
    assert "he_normal" not in text


def test_drops_that_go_with_poorer_training_are_told_apart():
    runs = tuple(
        planted_run(name, seed=seed, accuracy=0.9 - 0.02 * i - 0.001 * seed, drop=0.05 + 0.05 * i)
        for i, name in enumerate(NAMES)
        for seed in SEEDS
    )
    question = "(per-tensor min-max) go with poorer training"
    found = answer(InitStudy(runs=runs, data=""), question)
    assert found.shown
    assert found.size < -0.8
    assert "may be poorer training" in found.text
    assert not answer(planted(FLAT), question).shown


def test_a_correlation_that_is_not_shown_is_not_denied_either():
    question = "(per-tensor min-max) go with poorer training"
    found = answer(planted(FLAT), question)
    assert "is not shown, nor that it does not (Spearman" in found.text
    # |t| = r sqrt(n - 2) / sqrt(1 - r^2) reaches its 97.5 % quantile there.
    t = stats.t.ppf(0.975, 13)
    assert f"beyond ±{t / math.sqrt(13 + t * t):.2f} stands out" in found.text
    few = tuple(planted_run(seed=seed, accuracy=0.9 - 0.01 * seed) for seed in range(4))
    assert "from 4 trained runs: it takes 5" in answer(InitStudy(runs=few, data=""), question).text
    same = tuple(planted_run(seed=seed) for seed in range(6))
    assert "all 6 runs learned the same" in answer(InitStudy(runs=same, data=""), question).text


def test_drops_that_grow_with_the_accuracy_are_no_poorer_training():
    runs = tuple(
        planted_run(seed=seed, accuracy=0.85 + 0.01 * seed, drop=0.05 + 0.02 * seed)
        for seed in range(8)
    )
    found = answer(InitStudy(runs=runs, data=""), "(per-tensor min-max) go with poorer training")
    assert not found.shown
    assert "networks that learned more lose more" in found.text


def test_every_finding_is_one_of_the_sentences():
    study = planted(STEEP, separable=0.05)
    sentences = effects(study)
    assert sentences == tuple(finding.text for finding in findings(study))
    assert all(sentence.endswith(".") for sentence in sentences)


def test_the_width_must_be_one_that_was_measured():
    with pytest.raises(OptionError, match="`bits` must be one of 8, 4"):
        effects(planted(FLAT), bits=3)
