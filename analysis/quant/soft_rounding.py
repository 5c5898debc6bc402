r"""Rounding as something that can be trained: how far each weight goes up from the grid below it.

A weight :math:`w` between two levels becomes :math:`s (\lfloor w / s \rfloor + h(a))` with the
rectified sigmoid

.. math:: h(a) = \min(1, \max(0, (\zeta - \gamma) \sigma(a) + \gamma)), \zeta = 1.1, \gamma = -0.1,

which reaches 0 and 1 at finite a. See AdaRound, Nagel et al. 2020, arXiv:2004.10568.
"""

import torch
from torch import Tensor

ZETA, GAMMA = 1.1, -0.1
# Nearer than this to 0 or 1 a rounding counts as decided.
DECIDED = 0.05


def rounded_up(logits: Tensor) -> Tensor:
    """Return h(a) in [0, 1]: 0 rounds down, 1 up."""
    return torch.clamp(stretched(logits), 0.0, 1.0)


def stretched(logits: Tensor) -> Tensor:
    r"""Return :math:`(\zeta - \gamma) \sigma(a) + \gamma`: h(a) before it is held to [0, 1]."""
    return torch.sigmoid(logits) * (ZETA - GAMMA) + GAMMA


def logits_of(fraction: Tensor) -> Tensor:
    """Return a with h(a) = ``fraction``, each in [0, 1]."""
    return -torch.log((ZETA - GAMMA) / (fraction - GAMMA) - 1.0)


def indecision(up: Tensor, exponent: float) -> Tensor:
    r"""Return AdaRound's regulariser :math:`1 - |2h - 1|^\beta` of each rounding.

    It is 1 at a half, 0 where the rounding is decided; a large exponent only sees what is nearly
    decided.
    """
    return 1.0 - (2.0 * up - 1.0).abs().pow(exponent)


def undecided(up: Tensor) -> Tensor:
    """Return which roundings are neither nearly 0 nor nearly 1."""
    return (up > DECIDED) & (up < 1.0 - DECIDED)
