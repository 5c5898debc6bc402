"""Errors a user can act on.

Exception
└── AnalysisError            the input must change: the text says what must hold and what to do
    ├── UnknownNameError     a name that is in no registry; lists the nearest ones
    ├── OptionError          a method option outside its range
    ├── StudyError           a study file or one of its specs
    ├── WeightsError         a weights file
    ├── DataError            a calibration or evaluation set
    ├── DataflowError        a model whose calls cannot be observed or replayed
    ├── QuantizationError    formats, ranges, allocations that do not fit a model
    └── AllocationError      a problem that a solver cannot take
        └── InfeasibleBudgetError   no allocation fits; carries the nearest feasible limit
"""

from collections.abc import Iterable
from difflib import get_close_matches


class AnalysisError(Exception):
    """Something in the input must change; the message is meant for the user."""


class UnknownNameError(AnalysisError):
    """A name that a registry or a table does not hold.

    Args:
        kind: What was looked up, in the singular ("metric", "layer").
        name: The name that came.
        known: Every name there is.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(known)
        near = get_close_matches(name, self.known, n=3, cutoff=0.5)
        if near:
            hint = "did you mean " + " or ".join(f"`{n}`" for n in near) + "?"
        elif len(self.known) <= 20:
            hint = "known: " + (", ".join(self.known) or "none") + "."
        else:
            hint = f"known: {', '.join(self.known[:12])}, … ({len(self.known)} in all)."
        super().__init__(f"There is no {kind} `{name}`; {hint}")


class OptionError(AnalysisError):
    """A method option that is unknown or outside its range."""


class StudyError(AnalysisError):
    """A study file, or one of the specs in it, that cannot be used."""


class WeightsError(AnalysisError):
    """A weights file that is missing, damaged, unsafe or does not fit the model."""


class DataError(AnalysisError):
    """A calibration or evaluation set that cannot be used."""


class DataflowError(AnalysisError):
    """A model whose torch calls cannot be observed, or differ from the observed ones."""


class QuantizationError(AnalysisError):
    """A format, range or allocation that does not fit the model."""


class AllocationError(AnalysisError):
    """An allocation problem that is contradictory or that a solver cannot take."""


class InfeasibleBudgetError(AllocationError):
    """No allocation satisfies the budgets.

    Args:
        message: The sentence for the user.
        resource: The budget that fails.
        limit: The limit that was asked for, in the resource's unit.
        nearest: The smallest limit that can be met with the other budgets kept, same unit;
            infinite when the other budgets cannot be met together either.
    """

    def __init__(self, message: str, *, resource: str, limit: float, nearest: float) -> None:
        super().__init__(message)
        self.resource, self.limit, self.nearest = resource, limit, nearest


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is exhausted.

    torch reports that as a RuntimeError, told apart by its text alone.
    """
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "can't allocate memory" in text)
    )
