"""Separable networks against regular ones, in pairs of equal initializer and seed."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from analysis.initialization.effect import RECIPE_TITLES, Effect, Quantity, counted, points
from analysis.initialization.networks import ARCHITECTURES, Architecture
from analysis.initialization.summary import MEANINGFUL, estimate, geometric, qmse
from analysis.records.initialization import PAPER, RECIPES, InitRun, InitStudy


def counterparts(study: InitStudy) -> Iterator[tuple[str, str]]:
    """Give the pairs of architectures that differ in being separable only."""

    def others(architecture: Architecture) -> tuple[bool, bool]:
        return architecture.residual, architecture.batchnorm

    here = [ARCHITECTURES[name] for name in study.architectures if name in ARCHITECTURES]
    for regular in here:
        for separable in here:
            same = others(regular) == others(separable)
            if same and separable.separable and not regular.separable:
                yield regular.name, separable.name


Pairs = list[tuple[InitRun, InitRun]]


def pairs_of(runs: Sequence[InitRun], regular: str, separable: str) -> Pairs:
    """Return the runs of two architectures that share initializer and seed, regular ones first."""
    place = {(run.architecture, run.initializer, run.seed): run for run in runs}
    return [
        (run, other)
        for run in runs
        if run.architecture == regular
        and (other := place.get((separable, run.initializer, run.seed))) is not None
    ]


def more_lost(pairs: Pairs, separable: str, both: str, quantity: Quantity) -> Effect:
    """Tell whether separable networks lose more, by the t interval of the pairs' differences."""
    question = f"Is the {quantity.name} larger in separable networks?"
    gap = estimate(quantity.of(second) - quantity.of(first) for first, second in pairs)
    if gap.n < MEANINGFUL:
        words = _too_few(both, quantity.name, gap.n)
        return Effect(question, separable, False, words, gap.mean, np.nan, gap.n)
    p = _p_value([quantity.of(second) - quantity.of(first) for first, second in pairs])
    numbers = f"95 % interval {points(gap.low)} to {points(gap.high)}, {gap.n} pairs"
    if gap.low <= 0 <= gap.high:
        verdict = f"differs by {points(gap.mean)}, which is inside the noise"
    else:
        size = points(abs(gap.mean)).lstrip("+")
        verdict = f"is {size} {'larger' if gap.mean > 0 else 'smaller'}"
    words = f"{both}: the {quantity.name} {verdict} ({numbers})."
    return Effect(question, separable, gap.low > 0, words, gap.mean, p, gap.n)


def more_error(pairs: Pairs, separable: str, both: str, bits: int, at: int) -> Effect:
    """Tell whether the errors of separable networks are larger, by the ratios of the pairs."""
    recipe = RECIPES.index(PAPER)
    name = f"accumulated QMSE at {bits} bits ({RECIPE_TITLES[PAPER]}, median layer)"
    question = f"Is the {name} larger in separable networks?"
    ratios = [float(qmse(second)[recipe, at] / qmse(first)[recipe, at]) for first, second in pairs]
    ratio = geometric(ratios)
    if ratio.n < MEANINGFUL:
        words = _too_few(both, name, ratio.n)
        return Effect(question, separable, False, words, ratio.mean, np.nan, ratio.n)
    shown = ratio.low > 1
    inside = ratio.low <= 1 <= ratio.high
    words = (
        f"{both}: the {name} is {ratio.mean:.2g} times as large"
        f"{', which is inside the noise' if inside else ''} (95 % interval {ratio.low:.2g} to "
        f"{ratio.high:.2g}, {ratio.n} pairs)."
    )
    p = _p_value([float(value) for value in np.log(ratios)])
    return Effect(question, separable, shown, words, ratio.mean, p, ratio.n)


def _too_few(both: str, name: str, pairs: int) -> str:
    return (
        f"{both}: the {name} cannot be compared on {counted(pairs, 'pair')} of trained runs of one "
        f"initializer and seed: it takes {MEANINGFUL} at least."
    )


def _p_value(differences: list[float]) -> float:
    """Return the p-value of the paired t test, 1 without any difference."""
    if np.ptp(differences) == 0:
        return 0.0 if differences[0] else 1.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)
