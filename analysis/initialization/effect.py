"""An answer in a sentence, and how its numbers are written."""

from collections.abc import Callable
from dataclasses import dataclass

from analysis.records.initialization import APP, PAPER, InitRun

LEVEL = 0.05
RECIPE_TITLES = {PAPER: "per-tensor min-max", APP: "the app's defaults"}

# Writes the name of an initializer or an architecture.
Title = Callable[[str], str]


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


def counted(amount: int, what: str) -> str:
    """Return ``1 run`` or ``3 runs``."""
    return f"{amount} {what}" if amount == 1 else f"{amount} {what}s"


def p_text(value: float) -> str:
    """Write a p-value in two digits, in more where it would read as the level itself."""
    for digits in range(2, 8):
        text = f"{value:.{digits}g}"
        if float(text) != LEVEL:
            break
    return text


def points(share: float) -> str:
    """Write a difference of accuracies."""
    return f"{100 * share:+.1f} points"
