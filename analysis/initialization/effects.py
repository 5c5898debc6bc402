"""What a study shows, in sentences: effects beyond the noise of the seeds, and those inside it."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy import stats

from analysis.errors import OptionError
from analysis.initialization.against import counterparts, more_error, more_lost, pairs_of
from analysis.initialization.effect import (
    LEVEL,
    RECIPE_TITLES,
    Effect,
    Quantity,
    Title,
    counted,
    p_text,
    points,
)
from analysis.initialization.failures import Yardstick, trained, yardstick
from analysis.initialization.setbacks import set_apart, unfinished
from analysis.initialization.summary import (
    activation_range,
    common_bits,
    drop,
    estimate,
    geometric,
    weight_range,
)
from analysis.records.initialization import RECIPES, InitRun, InitStudy

# Below five runs not even a perfect order has an exact p-value under 5 %.
FEWEST = 5


def effects(study: InitStudy, bits: int = 4, measure: Yardstick | None = None) -> tuple[str, ...]:
    """Return the sentences of :func:`findings`."""
    return tuple(finding.text for finding in findings(study, bits, measure))


def findings(
    study: InitStudy, bits: int = 4, measure: Yardstick | None = None, title: Title = str
) -> tuple[Effect, ...]:
    """Tell how training went, and what depends on the initializer and on the architecture.

    Only runs that trained count. The one-way analysis of variance and the Kruskal-Wallis test over
    the seeds must both fall below 5 %; nothing is corrected for asking several questions.
    Separable networks are compared with regular ones of equal initializer and seed, by the t
    interval of the pairs' differences; it speaks of these initializers, not of all there are.

    Args:
        study: The runs.
        bits: Width at which drops and errors are compared.
        measure: What runs must come up to; None to judge them by each other.
        title: Writes the names of initializers and architectures.

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
    measure = measure or yardstick(study)
    runs = trained(study, measure)
    found: list[Effect] = []
    for architecture in study.architectures:
        own = [run for run in runs if run.architecture == architecture]
        found.extend(set_apart(study, architecture, measure, title))
        found.extend(unfinished(own, architecture, title))
        found.extend(_between(own, architecture, quantity, title) for quantity in (*ranges, *drops))
        found.extend(_with_accuracy(own, architecture, quantity, title) for quantity in drops)
    for regular, separable in counterparts(study):
        pairs = pairs_of(runs, regular, separable)
        both = f"{title(separable)} against {title(regular)}"
        found.extend(more_lost(pairs, separable, both, quantity) for quantity in drops)
        found.append(more_error(pairs, separable, both, bits, at))
    return tuple(found)


def _drop(recipe: str, place: int, bits: int, at: int) -> Quantity:
    return Quantity(
        f"accuracy drop at {bits} bits ({RECIPE_TITLES[recipe]})",
        lambda run: float(drop(run)[place, at]),
        points,
        False,
    )


def _between(
    runs: Sequence[InitRun], architecture: str, quantity: Quantity, title: Title
) -> Effect:
    """Compare the variance between the initializers with that between the seeds."""
    groups: dict[str, list[float]] = {}
    for run in runs:
        groups.setdefault(run.initializer, []).append(quantity.of(run))
    question = f"Does the {quantity.name} depend on the initializer?"
    n = len(runs)

    def effect(shown: bool, words: str, size: float = np.nan, p: float = np.nan) -> Effect:
        return Effect(question, architecture, shown, f"{title(architecture)}: {words}", size, p, n)

    if len(groups) < 2 or n <= len(groups):
        needed = (
            "two initializers from which networks trained"
            if len(groups) < 2
            else "two seeds of an initializer at least"
        )
        return effect(
            False,
            f"whether the {quantity.name} depends on the initializer cannot be told from "
            f"{counted(n, 'trained run')} of {counted(len(groups), 'initializer')}: it takes "
            f"{needed}.",
        )
    summary = geometric if quantity.logarithm else estimate
    means = {name: summary(values).mean for name, values in groups.items()}
    lowest, highest = (choose(means, key=lambda name: means[name]) for choose in (min, max))
    spread = (
        f"from {quantity.show(means[lowest])} ({title(lowest)}) to "
        f"{quantity.show(means[highest])} ({title(highest)})"
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
        f"(ANOVA p = {p_text(anova)}, eta² = {size:.2f}, Kruskal-Wallis p = {p_text(ranks)}, "
        f"{n} runs of {len(groups)} initializers)"
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


def _with_accuracy(
    runs: Sequence[InitRun], architecture: str, quantity: Quantity, title: Title
) -> Effect:
    """Tell whether networks that learned less also lose more."""
    question = f"Does the {quantity.name} go with poorer training?"
    accuracy, lost = [run.float_accuracy for run in runs], [quantity.of(run) for run in runs]
    n = len(runs)

    def effect(shown: bool, words: str, size: float = np.nan, p: float = np.nan) -> Effect:
        return Effect(question, architecture, shown, f"{title(architecture)}: {words}", size, p, n)

    untold = f"whether the {quantity.name} goes with poorer training cannot be told"
    if n < FEWEST:
        return effect(
            False, f"{untold} from {counted(n, 'trained run')}: it takes {FEWEST} at least."
        )
    if np.ptp(accuracy) == 0 or np.ptp(lost) == 0:
        same = "learned" if np.ptp(accuracy) == 0 else "lose"
        return effect(False, f"{untold}: all {n} runs {same} the same.")
    test = stats.spearmanr(accuracy, lost)
    size, p = float(test.statistic), float(test.pvalue)
    numbers = f"(Spearman {size:+.2f} with the float accuracy, p = {p_text(p)}, {n} runs)"
    if p < LEVEL:
        words = (
            f"networks that learned less also lose more: part of the {quantity.name} may be poorer "
            f"training {numbers}."
            if size < 0
            else f"networks that learned more lose more, so poorer training does not explain the "
            f"{quantity.name} {numbers}."
        )
    else:
        words = (
            f"that the {quantity.name} goes with poorer training is not shown, nor that it does "
            f"not {numbers}: among {n} runs only a correlation beyond ±{_smallest_shown(n):.2f} "
            "stands out."
        )
    return effect(p < LEVEL and size < 0, words, size, p)


def _smallest_shown(n: int) -> float:
    """Return the rank correlation at which the p-value of n runs is the level."""
    t = float(stats.t.ppf(1 - LEVEL / 2, n - 2))
    return t / float(np.sqrt(n - 2 + t * t))


def _number(value: float) -> str:
    return f"{value:.3g}"
