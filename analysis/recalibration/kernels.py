"""Weights seen by the channels they write and the channels they read, for any layer kind."""

from dataclasses import dataclass

from torch import Tensor

from analysis.models.dataflow import Call


@dataclass(frozen=True, slots=True)
class Kernel:
    """How a layer's weight is laid out.

    ``groups`` G split O output and I input channels; ``transposed`` weights are (I, O / G, ...),
    others (O, I / G, ...).
    """

    groups: int
    transposed: bool

    @classmethod
    def of(cls, call: Call, weight: Tensor) -> "Kernel":
        """Return the layout of the weight that a layer's call reads."""
        if call.name == "linear":
            return cls(1, transposed=False)
        axis = len(call.shapes[0]) - weight.dim() + 1
        transposed = call.name.startswith("conv_transpose")
        channels = call.shapes[0][axis] if transposed else call.input_shapes[0][axis]
        return cls(channels // weight.shape[1], transposed)

    def magnitudes(self, weight: Tensor) -> Tensor:
        """Return the largest magnitude between each two channels, (G, O / G, I / G)."""
        return self._grouped(weight).abs().amax(3)

    def times_output(self, weight: Tensor, factor: Tensor) -> Tensor:
        """Multiply every output channel's weights by its factor (O,)."""
        grouped = self._grouped(weight)
        return self._back(grouped * factor.reshape(self.groups, -1, 1, 1), weight)

    def times_input(self, weight: Tensor, factor: Tensor) -> Tensor:
        """Multiply the weights that read every input channel by its factor (I,)."""
        grouped = self._grouped(weight)
        return self._back(grouped * factor.reshape(self.groups, 1, -1, 1), weight)

    def _grouped(self, weight: Tensor) -> Tensor:
        """Return the weight as (G, O / G, I / G, K)."""
        rows = weight.reshape(self.groups, -1, weight.shape[1], weight[0, 0].numel())
        return rows.transpose(1, 2) if self.transposed else rows

    def _back(self, grouped: Tensor, weight: Tensor) -> Tensor:
        rows = grouped.transpose(1, 2) if self.transposed else grouped
        return rows.reshape(weight.shape)
