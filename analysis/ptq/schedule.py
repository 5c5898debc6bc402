"""How a training of a given number of steps is laid out, whatever that number is."""

from dataclasses import dataclass
from math import cos, pi


@dataclass(frozen=True, slots=True)
class Schedule:
    """Shares of a run, each in [0, 1]: when hardening begins and when every rounding is decided.

    Args:
        steps: Length of the run.
        begin: Until here nothing is fixed.
        end: From here every rounding is fixed, and scales, biases and steps alone are trained; 1
            with ``begin`` fixes them all after the last step.
    """

    steps: int
    begin: float = 0.2
    end: float = 0.85

    def fixed(self, step: int) -> float:
        """Return the share of roundings that are fixed after a step.

        Fast at first, while what is fixed is as good as decided, slow at last.
        """
        done = (step + 1) / self.steps
        if done >= self.end:
            return 1.0
        if done <= self.begin:
            return 0.0
        return 1.0 - (1.0 - (done - self.begin) / (self.end - self.begin)) ** 2

    def exponent(self, step: int) -> float:
        """Return the exponent of the regulariser: 20 for a fifth of the run, from there down to 2.

        See arXiv:2004.10568.
        """
        return 20.0 - 18.0 * max(0.0, step / self.steps - 0.2) / 0.8

    def rate(self, step: int) -> float:
        """Return the factor on learning rates: a half cosine that ends at a twentieth."""
        return max(0.05, 0.5 + 0.5 * cos(pi * step / self.steps))

    def quantized(self, step: int) -> float:
        """Return the share of quantization in activations: from 0 to 1 over the first half."""
        return min(1.0, 2.0 * (step + 1) / self.steps)
