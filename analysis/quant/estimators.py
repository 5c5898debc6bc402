"""Every range estimator, registered by importing this, and what each may be asked for."""

from analysis.errors import QuantizationError
from analysis.quant import entropy as entropy
from analysis.quant import hmse as hmse
from analysis.quant.ranges import ELEMENT_SCORES
from analysis.quant.ranges import RANGE_ESTIMATORS as RANGE_ESTIMATORS
from analysis.records import QuantSettings


def needs_scores(name: str) -> bool:
    """Tell whether an estimator asks how much an error of every element counts.

    Raises:
        UnknownNameError: If there is no such estimator.
    """
    return ELEMENT_SCORES in RANGE_ESTIMATORS[name].needs


def plain_estimators() -> tuple[str, ...]:
    """Return the names of the estimators that need nothing but values, as activations have."""
    return tuple(method.name for method in RANGE_ESTIMATORS if not method.needs)


def check_ranges(settings: QuantSettings) -> None:
    """Refuse range estimators that do not exist or cannot do what is asked of them.

    Raises:
        UnknownNameError: If there is no such estimator.
        QuantizationError: If that of activations asks for scores of elements.
    """
    needs_scores(settings.weight_range)
    if needs_scores(settings.activation_range):
        raise QuantizationError(
            f"Ranges of activations must come from values alone, `{settings.activation_range}` "
            f"needs scores of single weights. Choose one of {', '.join(plain_estimators())}."
        )
