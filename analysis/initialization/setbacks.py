"""What must be known of the training before anything is read off it: failures, too few epochs."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import norm

from analysis.initialization.effect import Effect, Title, counted
from analysis.initialization.failures import (
    BEHIND,
    BEHIND_BELOW,
    DIVERGED,
    GUESSING,
    Yardstick,
    failure,
)
from analysis.records.initialization import InitRun, InitStudy

# Part of the epochs, counted from the last, over which the accuracy should not rise any more.
LAST = 3


def set_apart(
    study: InitStudy, architecture: str, measure: Yardstick, title: Title
) -> Iterator[Effect]:
    """Name the runs that are left out of the comparisons, by the rule that says so."""
    runs = [run for run in study.runs if run.architecture == architecture]
    reasons: dict[str, list[InitRun]] = {}
    for run in runs:
        if reason := failure(run, measure):
            reasons.setdefault(reason, []).append(run)
    if not reasons:
        return
    count = sum(map(len, reasons.values()))
    best = measure.best.get(architecture, 0.0)
    rules = {
        DIVERGED: "whose training diverged",
        GUESSING: "whose float accuracy cannot be told from always naming the most frequent class, "
        f"{measure.guessing:.1%}",
        BEHIND: f"whose float accuracy stayed below {BEHIND_BELOW:.0%} of the best known of this "
        f"network, {best:.1%}",
    }
    parts = [
        f"{len(reasons[reason])} {rule} ({_names(reasons[reason], title)})"
        for reason, rule in rules.items()
        if reason in reasons
    ]
    text = (
        f"{title(architecture)}: {count} of {counted(len(runs), 'run')} "
        f"{'is' if count == 1 else 'are'} left out of the comparisons, because what "
        f"networks lose that did not learn says nothing about their ranges: {'; '.join(parts)}."
    )
    yield Effect("training failures", architecture, True, text, float(count), np.nan, len(runs))


def unfinished(runs: Sequence[InitRun], architecture: str, title: Title) -> Iterator[Effect]:
    """Say where the accuracy was still rising when training ended.

    The mean rise over the last third of the epochs counts when it is beyond the 95 % interval of
    binomial counts, every run and epoch taken as a sample of its own.

    Args:
        runs: Those of the architecture that trained.
        architecture: Their name.
        title: Writes names.
    """
    if not runs:
        return
    back = [max(1, run.epochs // LAST) for run in runs]
    after = np.array([run.accuracy[-1] for run in runs])
    before = np.array([run.accuracy[-1 - k] for run, k in zip(runs, back, strict=True)])
    n = np.array([run.n for run in runs])
    variance = (before * (1 - before) + after * (1 - after)) / n
    noise = float(norm.ppf(0.975) * np.sqrt(variance.sum()) / len(runs))
    rise = float((after - before).mean())
    if not rise > noise:
        return
    last = "the last" if max(back) == 1 else f"the last {max(back)}"
    text = (
        f"{title(architecture)}: training had not finished after "
        f"{counted(max(run.epochs for run in runs), 'epoch')}. Over {last} the float accuracy "
        f"still rose by {100 * rise:.1f} points to {after.mean():.1%}, more than the "
        f"{100 * noise:.1f} that chance explains ({counted(len(runs), 'run')}). Ranges and drops "
        "are those of networks on their way: add epochs."
    )
    yield Effect("Had training finished?", architecture, True, text, rise, np.nan, len(runs))


def _names(runs: Sequence[InitRun], title: Title) -> str:
    return ", ".join(dict.fromkeys(title(run.initializer) for run in runs))
