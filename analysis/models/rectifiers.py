"""ReLU-like calls: which they are, and between which limits they hold their values."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from analysis.models.dataflow import Call
from analysis.models.network import Network

_RELU = frozenset(["relu", "relu_"])


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Hold values between ``low`` and ``high``: one number each, or shaped as (C, 1, ...)."""

    low: Tensor
    high: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return the clipped values."""
        return torch.clamp(x, self.low.to(x), self.high.to(x))

    def within(self, other: "Clip") -> "Clip":
        """Return the limits of being clipped by this one and then by ``other``."""
        return Clip(*(torch.clamp(limit, other.low, other.high) for limit in (self.low, self.high)))

    def times(self, factor: Tensor) -> "Clip":
        """Return the limits for values that are ``factor`` times as large."""
        return Clip(self.low * factor, self.high * factor)

    def contains(self, other: "Clip") -> bool:
        """Tell whether what ``other`` lets pass is never clipped by this one."""
        return bool((self.low <= other.low).all() and (other.high <= self.high).all())

    @property
    def bounded(self) -> bool:
        """Whether there is an upper limit."""
        return bool(self.high.isfinite().any())


def clip_of(low: float, high: float) -> Clip:
    """Return limits that are the same for every channel."""
    return Clip(torch.tensor(low), torch.tensor(high))


def limits(network: Network, call: Call) -> Clip | None:
    """Return the limits that a call holds its values between, None if it is no such call.

    A ReLU is [0, inf); what the network's plan does to the call's result is included. A BatchNorm
    that was folded, or any other call that is passed over, is no such call unless the plan clips
    its result.
    """
    after = network.plan.outputs.get((call.index, 0))
    if after is not None and not isinstance(after, Clip):
        return None
    if call.index in network.plan.skip:
        return after
    own = own_limits(network, call)
    return own.within(after) if own is not None and after is not None else own


def own_limits(network: Network, call: Call) -> Clip | None:
    """Return the limits of the call itself, as the user's model has it."""
    if call.name in _RELU:
        return clip_of(0.0, inf)
    if call.name == "relu6":
        return clip_of(0.0, 6.0)
    if call.name == "hardtanh":
        module = network.module.get_submodule(call.module)
        if isinstance(module, nn.Hardtanh):
            return clip_of(float(module.min_val), float(module.max_val))
    return None
