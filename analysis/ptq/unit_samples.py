"""What one unit is reconstructed from: its inputs, what it should make of them, and what counts."""

from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.curvature.fisher import fisher_elements
from analysis.events import Progress, Work
from analysis.models.network import NOTHING, Network
from analysis.models.replay import Plan
from analysis.ptq.frontier import Frontier
from analysis.ptq.units import Unit
from analysis.quant.straight_through import squared_errors

_BATCH = 64


@dataclass(frozen=True, slots=True)
class Fisher:
    """Weights of squared errors: see :func:`analysis.curvature.fisher.fisher_elements`."""

    probes: int
    seed: int

    def of(self, network: Network, calls: tuple[int, ...], x: Tensor, rows: Tensor) -> list[Tensor]:
        """Return the weights (B, ...) of several calls' outputs on samples, by number."""
        found = fisher_elements(
            network, calls, x[rows], probes=self.probes, samples=rows.tolist(), seed=self.seed
        )
        return list(found)


@dataclass(slots=True)
class UnitSamples:
    """Samples of a unit; outputs and weights are (B, ...), computed on demand where not kept.

    Args:
        unit: The unit.
        quantized: Gives its outputs behind the quantized part of the network.
        plain: Gives those of the float network.
        fisher: How its errors are weighted; None weights all the same.
        wanted: Float outputs of all samples, where they are kept.
        weights: Weights of all samples, where they are kept.
    """

    unit: Unit
    quantized: Frontier
    plain: Frontier
    fisher: Fisher | None
    wanted: Tensor | None = None
    weights: Tensor | None = None
    size: float = 1.0
    mean: float = 1.0

    def gather(self, plan: Plan, *, keep: bool, importance: Tensor | None) -> Work[None]:
        """Compute what is kept, and the size of errors.

        Args:
            plan: The quantized network before the unit.
            keep: Whether to keep anything.
            importance: Weights of all samples that are known already.
        """
        n = len(self.plain.x)
        self.weights = importance
        if keep:
            yield from self.quantized.advance(self.unit.start, plan)
            yield from self.plain.advance(self.unit.start, NOTHING)
            wanted, weights = [], []
            for rows in torch.split(torch.arange(n), _BATCH):
                wanted.append(self.target(rows))
                if self.fisher is not None and importance is None:
                    weights.append(self.importance(rows))
                yield Progress(int(rows[0]), n, f"float outputs of {self.unit.name}")
            self.wanted = torch.cat(wanted)
            self.weights = torch.cat(weights) if weights else importance
        first = torch.arange(min(_BATCH, n))
        weights_of_first = self.importance(first)
        self.mean = float(weights_of_first.mean()) or 1.0
        spread = self.target(first).var(0, unbiased=False) * weights_of_first / self.mean
        self.size = float(spread.flatten(1).sum(1).mean()) or 1.0

    def errors(self, rows: Tensor, plan: Plan) -> Tensor:
        """Return every sample's weighted squared error (B,), relative to the outputs' variance."""
        network, stop = self.plain.network, self.unit.stop
        found = network.per_sample(stop, self.quantized.output(rows, stop, plan), len(rows))
        return self._sums(found, self.target(rows), rows)

    def sizes(self, rows: Tensor) -> Tensor:
        """Return the error (B,) of an output that is zero everywhere."""
        target = self.target(rows)
        return self._sums(target, torch.zeros_like(target), rows)

    def target(self, rows: Tensor) -> Tensor:
        """Return the float network's outputs of samples, by number."""
        if self.wanted is not None:
            return self.wanted[rows]
        network, stop = self.plain.network, self.unit.stop
        with torch.no_grad():
            return network.per_sample(stop, self.plain.output(rows, stop, NOTHING), len(rows))

    def importance(self, rows: Tensor) -> Tensor:
        """Return the weights of the outputs' elements on samples, not normalised."""
        if self.weights is not None:
            return self.weights[rows]
        if self.fisher is None:
            return torch.ones(1).to(self.plain.x)
        plain = self.plain
        return self.fisher.of(plain.network, (self.unit.stop,), plain.x, rows)[0]

    def _sums(self, found: Tensor, wanted: Tensor, rows: Tensor) -> Tensor:
        weights = None if self.fisher is None else self.importance(rows) / self.mean
        return squared_errors(found, wanted, weights) / self.size
