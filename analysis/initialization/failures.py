"""Which runs trained: told from guessing, and not far behind the best of their kind."""

from collections.abc import Mapping
from dataclasses import dataclass

from scipy.stats import binomtest

from analysis.records.initialization import InitRun, InitStudy

# Reasons for which a run says nothing about quantization.
DIVERGED, GUESSING, BEHIND = "diverged", "guessing", "behind"
# Share of the best float accuracy of its network below which a run counts as failed.
BEHIND_BELOW = 0.75

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What a run must come up to.

    ``guessing`` is the accuracy of naming one class always, ``best`` the highest float accuracy
    that is known of each architecture.
    """

    guessing: float
    best: Mapping[str, float]


def yardstick(
    study: InitStudy, guessing: float | None = None, best: Mapping[str, float] | None = None
) -> Yardstick:
    """Return what the runs of a study are judged by.

    Args:
        study: The runs.
        guessing: Share of the most frequent class among the evaluation samples; None for equally
            frequent classes, one for every output of the networks.
        best: Highest float accuracies of runs that the study does not hold, by architecture.
    """
    known = dict(best or {})
    for run in study.runs:
        if not run.diverged:
            known[run.architecture] = max(known.get(run.architecture, 0.0), run.float_accuracy)
    if guessing is None:
        guessing = max(1 / float(run.offsets[-1] - run.offsets[-2]) for run in study.runs)
    return Yardstick(guessing, known)


def failure(run: InitRun, measure: Yardstick) -> str:
    """Return why a run did not train, empty if it did.

    It diverged; or its float accuracy cannot be told from guessing, because the 95 % Wilson
    interval (JASA 22:209) reaches down to that; or it stayed below 75 % of the best of its
    architecture. What a network that never learned loses says nothing about its ranges.
    """
    if run.diverged:
        return DIVERGED
    if binomtest(run.float_correct, run.n).proportion_ci(method="wilson").low <= measure.guessing:
        return GUESSING
    return BEHIND if run.float_accuracy < BEHIND_BELOW * measure.best[run.architecture] else ""


def failures(study: InitStudy, measure: Yardstick) -> dict[Key, str]:
    """Return why runs did not train, by initializer, architecture and seed."""
    found = {(r.initializer, r.architecture, r.seed): failure(r, measure) for r in study.runs}
    return {key: reason for key, reason in found.items() if reason}


def trained(study: InitStudy, measure: Yardstick) -> tuple[InitRun, ...]:
    """Return the runs that did not fail."""
    return tuple(run for run in study.runs if not failure(run, measure))
