"""Output channels of layers: where they lie, their moments, and sending chosen values onwards."""

import torch
from torch import Tensor

from analysis.models.calls import Slot
from analysis.models.dataflow import Call
from analysis.models.network import NOTHING, Network
from analysis.models.replay import Plan, Transform, run


def channel_axis(call: Call) -> int:
    """Return the axis of a layer's call that holds channels, of its input and its output."""
    if call.name == "linear":
        return len(call.shapes[0]) - 1
    return len(call.shapes[0]) - len(call.input_shapes[1]) + 1


def per_channel(values: Tensor, call: Call) -> Tensor:
    """Shape one value per output channel of a layer's call (O,) to stand beside its output."""
    return values.reshape(-1, *[1] * (len(call.shapes[0]) - channel_axis(call) - 1))


def output_of(network: Network, x: Tensor, call: int, plan: Plan = NOTHING) -> Tensor:
    """Return what a layer's call computes on a batch under a plan, before anything transforms it.

    Only the calls up to this one are executed; no gradients.
    """
    whole = network.plan.then(plan) | _untouched(call)
    with torch.no_grad():
        return run(network.module, network.trace, x, whole, stop=call)


class ChannelMoments:
    """Count, mean and variance of every channel over all that was added, in float64.

    Batches are merged by the update of Chan, Golub and LeVeque (1983), which keeps precision where
    means are large.
    """

    def __init__(self) -> None:
        self.n = 0
        self.mean = torch.zeros(())
        self._squares = torch.zeros(())

    def add(self, z: Tensor, axis: int) -> None:
        """Add the values of a tensor whose channels lie along ``axis``."""
        rows = z.detach().movedim(axis, 0).flatten(1).double()
        n = rows.shape[1]
        variance, mean = torch.var_mean(rows, dim=1, correction=0)
        variance, mean = variance.cpu(), mean.cpu()
        if self.n == 0:
            self.mean = torch.zeros_like(mean)
            self._squares = torch.zeros_like(mean)
        share = n / (self.n + n)
        step = mean - self.mean
        self._squares = self._squares + variance * n + step.square() * self.n * share
        self.mean = self.mean + step * share
        self.n += n

    @property
    def variance(self) -> Tensor:
        """Unbiased variance (O,), as BatchNorm's running variance; NaN below two values."""
        return self._squares / (self.n - 1) if self.n > 1 else self._squares * torch.nan


class Probe:
    """One pass over a random batch, to send chosen values through parts of a network."""

    def __init__(self, network: Network) -> None:
        self.network = network
        weight = network.weight(network.table.layers[0])
        noise = torch.randn(network.trace.example_shape, generator=torch.Generator().manual_seed(0))
        self.x = noise.to(weight)
        with torch.no_grad():
            _, self._prefix = network.capture(self.x)

    def through(self, slot: Slot, value: Transform, call: int, plan: Plan = NOTHING) -> Tensor:
        """Return what layer call ``call`` computes when ``slot`` holds ``value`` of what it held.

        Args:
            slot: Slot before the call.
            value: Gives the values to hold.
            call: A later call of a layer.
            plan: Put over the network's plan; must change nothing before ``slot``.
        """
        network = self.network
        whole = (network.plan | plan).then(Plan(outputs={slot: value})) | _untouched(call)
        start = max(slot[0], 0) if network.can_resume else 0
        with torch.no_grad():
            return run(
                network.module,
                network.trace,
                self.x,
                whole,
                start=start,
                stop=call,
                prefix=self._prefix,
            )

    def inputs(self, slot: Slot, value: Transform, call: int) -> Tensor:
        """Return what layer call ``call`` reads when ``slot`` holds ``value`` of what it held."""
        caught: list[Tensor] = []

        def catch(z: Tensor) -> Tensor:
            caught.append(z.clone())
            return z

        self.through(slot, value, call, Plan(inputs={call: catch}))
        return caught[0]


def _untouched(call: int) -> Plan:
    return Plan(outputs={(call, 0): lambda z: z})
