"""What distinguishes one run of the lab from another."""

import math
from dataclasses import dataclass

from analysis.errors import OptionError
from analysis.initialization.initializers import parse_initializer
from analysis.initialization.networks import get_architecture

BITS = (8, 6, 4, 3, 2)
# What a study holds when nothing else is asked for.
DEFAULT_INITIALIZERS = (
    "uniform_small",
    "uniform_large",
    "normal_large",
    "glorot_uniform",
    "he_normal",
)
DEFAULT_ARCHITECTURES = ("regular", "separable")
DEFAULT_SEEDS = (0, 1, 2)
# Enough for 95 to 99 % on the digits from a good initializer.
EPOCHS, LEARNING_RATE, BATCH_SIZE = 6, 1e-2, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSetting:
    """One run: everything that its numbers depend on besides the data.

    Raises:
        UnknownNameError: On construction, if there is no such initializer or architecture.
        OptionError: If a number is outside its range.
    """

    initializer: str
    architecture: str
    seed: int
    epochs: int = EPOCHS
    learning_rate: float = LEARNING_RATE
    batch: int = BATCH_SIZE

    def __post_init__(self) -> None:
        """Check the names and numbers, and spell an own initializer in one way."""
        object.__setattr__(self, "initializer", parse_initializer(self.initializer).name)
        get_architecture(self.architecture)
        for name, value, low, high in (
            ("seed", self.seed, 0, 2**31 - 1),
            ("epochs", self.epochs, 1, 1000),
            ("batch", self.batch, 2, 100_000),
        ):
            if not low <= value <= high:
                raise OptionError(f"`{name}` must lie in [{low}, {high}], got {value}.")
        if not 0 < self.learning_rate < math.inf:
            raise OptionError(
                f"`learning_rate` must be above 0 and finite, got {self.learning_rate:g}."
            )

    @property
    def title(self) -> str:
        """What a person calls the run."""
        return f"{self.initializer} on {self.architecture}, seed {self.seed}"
