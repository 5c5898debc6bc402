"""What the float network says: outputs of every layer, logits, and how much each output matters."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from analysis.curvature.jacobian import one_hot_probes, sign_probes, squared_norms
from analysis.events import Progress, Work
from analysis.models.network import Network
from analysis.models.replay import Plan, Transform, changed_in_place

_BYTES_PER_MIB = 2**20
_BATCH = 64


class Watched:
    """Outputs of calls, caught while a network runs; one row per sample.

    An output that the model later changes in place is passed on as a copy.
    """

    def __init__(self, network: Network, calls: Sequence[int]) -> None:
        self.network, self.calls = network, tuple(calls)
        self._caught: dict[int, Tensor] = {}
        changed = changed_in_place(network.trace, network.plan)
        self._changed = {call for call, position in changed if position == 0}

    @property
    def plan(self) -> Plan:
        """The plan that catches, to run before any other: ``watched.plan.then(...)``."""
        return Plan(outputs={(call, 0): self._catch(call) for call in self.calls})

    def outputs(self, n: int) -> list[Tensor]:
        """Return what was caught of a batch of n samples, each (n, ...)."""
        return [self.network.per_sample(call, self._caught[call], n) for call in self.calls]

    def _catch(self, call: int) -> Transform:
        def transform(z: Tensor) -> Tensor:
            self._caught[call] = z
            return z.clone() if call in self._changed else z

        return transform


class Teacher:
    """Layer outputs and logits of the float network on the calibration samples.

    They are kept where they fit ``memory_mib``, and computed again for every batch where not.

    Args:
        network: The float network.
        calls: The calls whose outputs are asked for.
        inputs: Returns the samples with the given numbers, (B, ...).
        n: How many samples there are.
        memory_mib: Memory for outputs, in MiB.
    """

    def __init__(
        self,
        network: Network,
        calls: Sequence[int],
        inputs: Callable[[range], Tensor],
        n: int,
        memory_mib: float,
    ) -> None:
        self.network, self.calls, self.n = network, tuple(calls), n
        self.x = torch.cat([inputs(range(i, min(i + _BATCH, n))) for i in range(0, n, _BATCH)])
        each = sum(z.numel() * z.element_size() for z in self._pass(self.x[:1])[0])
        self.mib = each * n / _BYTES_PER_MIB
        self.kept = self.mib <= memory_mib
        self._outputs: list[Tensor] = []
        self._logits = torch.empty(0)

    def work(self) -> Work[None]:
        """Compute what is kept."""
        if not self.kept:
            return
        found: list[list[Tensor]] = []
        logits = []
        for start in range(0, self.n, _BATCH):
            z, f = self._pass(self.x[start : start + _BATCH])
            found.append(z)
            logits.append(f)
            yield Progress(start, self.n, "float network")
        self._outputs = [torch.cat(column) for column in zip(*found, strict=True)]
        self._logits = torch.cat(logits)

    def outputs(self, samples: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the layers' outputs (B, ...) and the logits (B, C) of samples, by number."""
        if self._outputs:
            return [z[samples] for z in self._outputs], self._logits[samples]
        return self._pass(self.x[samples])

    def variances(self, samples: int = 256) -> Tensor:
        """Return the summed variance of every layer's output elements over samples, (L,).

        Of a single sample, which does not vary, the summed squares.
        """
        z, _ = self.outputs(torch.arange(min(samples, self.n), device=self.x.device))
        if self.n == 1:
            return torch.stack([each.square().sum() for each in z])
        return torch.stack([each.flatten(1).var(0, unbiased=False).sum() for each in z])

    def attention(self, probes: int, seed: int) -> Work[Tensor]:
        r"""Return :math:`\lVert \partial f_n / \partial z_{nl} \rVert_F^2` per element, (N, L).

        Exact with one backward pass per class while there are no more classes than ``probes``.
        """
        found = []
        classes = self.network.num_classes
        for start in range(0, self.n, _BATCH):
            x = self.x[start : start + _BATCH]
            signs: Sequence[Tensor]
            if classes <= probes:
                signs, share = list(one_hot_probes(len(x), classes)), 1.0
            else:
                numbers = range(start, start + len(x))
                signs, share = list(sign_probes(numbers, classes, probes, seed)), 1.0 / probes
            signs = [each.to(x) for each in signs]
            sums = torch.zeros(len(x), len(self.calls), dtype=torch.float64)
            for squares in squared_norms(self.network, self.calls, x, signs):
                sums += squares.cpu()
            found.append(sums * share)
            yield Progress(start, self.n, "attention of samples and layers")
        sizes = [z[0].numel() for z in self.outputs(torch.arange(1, device=self.x.device))[0]]
        return (torch.cat(found) / torch.tensor(sizes)).to(self.x)

    def _pass(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        watched = Watched(self.network, self.calls)
        with torch.no_grad():
            logits = self.network(x, watched.plan)
        return watched.outputs(len(x)), logits
