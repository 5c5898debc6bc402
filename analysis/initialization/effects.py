"""What a study shows, in sentences: effects beyond the noise of the seeds, and those inside it."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.errors import OptionError
from analysis.initialization.networks import ARCHITECTURES, Architecture
from analysis.initialization.summary import (
    FAILED_BELOW,
    activation_range,
    common_bits,
    drop,
    estimate,
    geometric,
    qmse,
    trained,
    weight_range,
)
from analysis.records.initialization import APP, PAPER, RECIPES, InitRun, InitStudy

LEVEL = 0.05
RECIPE_TITLES = {PAPER: "per-tensor min-max", APP: "the app's defaults"}


@dataclass(frozen=True, slots=True)
class Effect:
    """An answer in a sentence.

    ``size`` is eta squared (the share of the variance that lies between the initializers), a mean
    difference, a ratio, a rank correlation or a count, as ``text`` says; ``p_value`` is NaN where
    nothing was tested. ``shown`` says that the effect lies beyond the noise. ``n`` counts runs, or
    pairs of runs.
    """

    question: str
    architecture: str
    shown: bool
    text: str
    size: float
    p_value: float
    n: int


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of every run; ``show`` writes it, ranges are compared by their logarithm."""

    name: str
    of: Callable[[InitRun], float]
    show: Callable[[float], str]
    logarithm: bool


def effects(study: InitStudy, bits: int = 4) -> tuple[str, ...]:
    """Return the sentences of :func:`findings`."""
    return tuple(finding.text for finding in findings(study, bits))


def findings(study: InitStudy, bits: int = 4) -> tuple[Effect, ...]:
    """Tell what depends on the initializer and on the architecture.

    Only runs that trained count. The one-way analysis of variance and the Kruskal-Wallis test over
    the seeds must both fall below 5 %; nothing is corrected for asking several questions.
    Separable networks are compared with regular ones of equal initializer and seed, by the t
    interval of the pairs' differences; it speaks of these initializers, not of all there are.

    Args:
        study: The runs.
        bits: Width at which drops and errors are compared.

    Raises:
        AnalysisError: If the runs were quantized at different widths.
        OptionError: If they were not quantized at ``bits``.
    """
    widths = common_bits(study)
    if bits not in widths:
        raise OptionError(
            f"`bits` must be one of {', '.join(map(str, widths))}, at which the runs were "
            f"quantized, got {bits}."
        )
    at = widths.index(bits)
    drops = [_drop(recipe, place, bits, at) for place, recipe in enumerate(RECIPES)]
    ranges = [
        Quantity("final weight range", lambda run: weight_range(run, -1), _number, True),
        Quantity(
            "final pre-activation range", lambda run: activation_range(run, -1), _number, True
        ),
    ]
    runs = trained(study)
    found: list[Effect] = []
    for architecture in study.architectures:
        own = [run for run in runs if run.architecture == architecture]
        found.extend(_set_apart(study, architecture, len(own)))
        found.extend(_between(own, architecture, quantity) for quantity in (*ranges, *drops))
        found.extend(_with_accuracy(own, architecture, quantity) for quantity in drops)
    for regular, separable in _counterparts(study):
        pairs = _pairs(runs, regular, separable)
        found.extend(_more_lost(pairs, regular, separable, quantity) for quantity in drops)
        found.append(_more_error(pairs, regular, separable, bits, at))
    return tuple(found)


def _drop(recipe: str, place: int, bits: int, at: int) -> Quantity:
    return Quantity(
        f"accuracy drop at {bits} bits ({RECIPE_TITLES[recipe]})",
        lambda run: float(drop(run)[place, at]),
        _points,
        False,
    )


def _set_apart(study: InitStudy, architecture: str, kept: int) -> Iterator[Effect]:
    runs = [run for run in study.runs if run.architecture == architecture]
    diverged = [run for run in runs if run.diverged]
    if kept == len(runs):
        return
    names = ", ".join(dict.fromkeys(run.initializer for run in diverged)) or "none"
    text = (
        f"{architecture}: {len(runs) - kept} of {len(runs)} runs are left out below, "
        f"{len(diverged)} because training diverged ({names}), the others because their float "
        f"accuracy stayed below {FAILED_BELOW:.0%} of the best or near guessing: what they lose "
        "says nothing about their ranges."
    )
    count = len(runs) - kept
    yield Effect("training failures", architecture, True, text, float(count), np.nan, len(runs))


def _between(runs: Sequence[InitRun], architecture: str, quantity: Quantity) -> Effect:
    """Compare the variance between the initializers with that between the seeds."""
    groups: dict[str, list[float]] = {}
    for run in runs:
        groups.setdefault(run.initializer, []).append(quantity.of(run))
    question = f"Does the {quantity.name} depend on the initializer?"
    n = len(runs)

    def effect(shown: bool, words: str, size: float = np.nan, p: float = np.nan) -> Effect:
        return Effect(question, architecture, shown, f"{architecture}: {words}", size, p, n)

    if len(groups) < 2 or n <= len(groups):
        return effect(
            False,
            f"whether the {quantity.name} depends on the initializer cannot be told from {n} "
            f"trained runs of {len(groups)} initializers: it takes two seeds at least.",
        )
    summary = geometric if quantity.logarithm else estimate
    means = {name: summary(values).mean for name, values in groups.items()}
    lowest, highest = (choose(means, key=lambda name: means[name]) for choose in (min, max))
    spread = (
        f"from {quantity.show(means[lowest])} ({lowest}) to {quantity.show(means[highest])} "
        f"({highest})"
    )
    samples = [
        np.log(values) if quantity.logarithm else np.array(values) for values in groups.values()
    ]
    everything = np.concatenate(samples)
    if np.ptp(everything) == 0:
        return effect(False, f"the {quantity.name} is the same in all {n} runs.", 0.0, 1.0)
    size = _eta_squared(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of groups without any variance
        anova = float(stats.f_oneway(*samples).pvalue)
        ranks = float(stats.kruskal(*samples).pvalue)
    numbers = (
        f"(ANOVA p = {anova:.2g}, eta² = {size:.2f}, Kruskal-Wallis p = {ranks:.2g}, {n} runs of "
        f"{len(groups)} initializers)"
    )
    if anova < LEVEL and ranks < LEVEL:
        words = f"the {quantity.name} depends on the initializer, {spread} {numbers}."
    elif anova < LEVEL or ranks < LEVEL:
        words = (
            f"whether the {quantity.name} depends on the initializer is not clear, only one of two "
            f"tests says so; it goes {spread} {numbers}. Add seeds."
        )
    else:
        words = (
            f"the {quantity.name} goes {spread}, which is inside the noise of the seeds {numbers}."
        )
    return effect(anova < LEVEL and ranks < LEVEL, words, size, anova)


def _eta_squared(groups: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]]) -> float:
    everything = np.concatenate(groups)
    total = float(((everything - everything.mean()) ** 2).sum())
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return 1 - within / total


def _with_accuracy(runs: Sequence[InitRun], architecture: str, quantity: Quantity) -> Effect:
    """Tell whether networks that learned less also lose more."""
    question = f"Does the {quantity.name} go with poorer training?"
    accuracy, lost = [run.float_accuracy for run in runs], [quantity.of(run) for run in runs]
    n = len(runs)
    if n < 4 or np.ptp(accuracy) == 0 or np.ptp(lost) == 0:
        words = f"whether the {quantity.name} goes with poorer training cannot be told."
        return Effect(question, architecture, False, f"{architecture}: {words}", np.nan, np.nan, n)
    test = stats.spearmanr(accuracy, lost)
    size, p = float(test.statistic), float(test.pvalue)
    numbers = f"(Spearman {size:+.2f} with the float accuracy, p = {p:.2g}, {n} runs)"
    shown = p < LEVEL and size < 0
    if shown:
        words = (
            f"networks that learned less also lose more: part of the {quantity.name} may be poorer "
            f"training {numbers}."
        )
    else:
        words = f"the {quantity.name} does not go with poorer training {numbers}."
    return Effect(question, architecture, shown, f"{architecture}: {words}", size, p, n)


def _counterparts(study: InitStudy) -> Iterator[tuple[str, str]]:
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


def _pairs(runs: Sequence[InitRun], regular: str, separable: str) -> Pairs:
    place = {(run.architecture, run.initializer, run.seed): run for run in runs}
    return [
        (run, other)
        for run in runs
        if run.architecture == regular
        and (other := place.get((separable, run.initializer, run.seed))) is not None
    ]


def _more_lost(pairs: Pairs, regular: str, separable: str, quantity: Quantity) -> Effect:
    question = f"Is the {quantity.name} larger in separable networks?"
    gap = estimate(quantity.of(second) - quantity.of(first) for first, second in pairs)
    both = f"{separable} against {regular}"
    if gap.n < 2:
        words = f"{both}: the {quantity.name} cannot be compared on {gap.n} pairs."
        return Effect(question, separable, False, words, gap.mean, np.nan, gap.n)
    p = _p_value([quantity.of(second) - quantity.of(first) for first, second in pairs])
    numbers = f"95 % interval {_points(gap.low)} to {_points(gap.high)}, {gap.n} pairs"
    if gap.low <= 0 <= gap.high:
        verdict = f"differs by {_points(gap.mean)}, which is inside the noise"
    else:
        size = _points(abs(gap.mean)).lstrip("+")
        verdict = f"is {size} {'larger' if gap.mean > 0 else 'smaller'}"
    words = f"{both}: the {quantity.name} {verdict} ({numbers})."
    return Effect(question, separable, gap.low > 0, words, gap.mean, p, gap.n)


def _more_error(pairs: Pairs, regular: str, separable: str, bits: int, at: int) -> Effect:
    recipe = RECIPES.index(PAPER)
    name = f"accumulated QMSE at {bits} bits ({RECIPE_TITLES[PAPER]}, median layer)"
    question = f"Is the {name} larger in separable networks?"
    ratios = [float(qmse(second)[recipe, at] / qmse(first)[recipe, at]) for first, second in pairs]
    ratio = geometric(ratios)
    both = f"{separable} against {regular}"
    if ratio.n < 2:
        words = f"{both}: the {name} cannot be compared on {ratio.n} pairs."
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


def _p_value(differences: list[float]) -> float:
    """Return the p-value of the paired t test, 1 without any difference."""
    if np.ptp(differences) == 0:
        return 0.0 if differences[0] else 1.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def _points(share: float) -> str:
    return f"{100 * share:+.1f} points"


def _number(value: float) -> str:
    return f"{value:.3g}"
