"""How a training of a given number of steps is laid out, whatever that number is."""

from dataclasses import dataclass
from math import cos, pi


@dataclass(frozen=True, slots=True)
class Schedule:
    """Shares of a run, each in [0, 1]: when hardening begins and when every rounding is decided.

    Args:
        steps: Length of the run.
        begin: Until here nothing is fixed.
        end: From here every rounding is fixed, and scales, biases and steps alone are trained.
    """

    steps: int
    begin: float = 0.2
    end: float = 0.85

    def fixed(self, step: int) -> float:
        """Return the share of roundings that are fixed after a step.

        Fast at first, while what is fixed is as good as decided, slow at last.
        """
        passed = ((step + 1) / self.steps - self.begin) / (self.end - self.begin)
        return 1.0 - (1.0 - min(1.0, max(0.0, passed))) ** 2

    def rate(self, step: int) -> float:
        """Return the factor on learning rates: a half cosine that ends at a twentieth."""
        return max(0.05, 0.5 + 0.5 * cos(pi * step / self.steps))

    def quantized(self, step: int) -> float:
        """Return the share of quantization in activations: from 0 to 1 over the first half."""
        return min(1.0, 2.0 * (step + 1) / self.steps)
