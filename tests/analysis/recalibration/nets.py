"""Small networks for recalibrations, and running a recalibration on them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from analysis.events import Note
from analysis.models.network import Network, build_network
from analysis.options import Options, build
from analysis.recalibration import RECALIBRATIONS, RecalibrationTask
from tests.analysis.models.toys import batch, randomised


class Pooled(nn.Sequential):
    """Layers whose features are averaged into logits."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flatten(2).mean(2)


def chain(*layers: nn.Module, seed: int = 0) -> nn.Module:
    """Layers one after the other; logits are the spatial means of the last one's output."""
    torch.manual_seed(seed)
    return randomised(Pooled(*layers))


def uneven(module: nn.Module, *names: str, seed: int = 5) -> nn.Module:
    """Scale the output channels of some layers by 1/8 to 8."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in names:
            layer = module.get_submodule(name)
            factor = torch.exp2(torch.rand(len(layer.weight), generator=generator) * 6 - 3)
            layer.weight *= factor.reshape(-1, *[1] * (layer.weight.dim() - 1))
    return module


def network_of(module: nn.Module, *shape: int) -> Network:
    return build_network(module, batch(2, *(shape or (3, 8, 8))))


def recalibrate(
    network: Network,
    method: str,
    samples: Tensor | Sequence[Tensor] | None = None,
    *,
    batch_size: int = 128,
    **options: object,
) -> tuple[Network, str]:
    """Return the recalibrated network and all notes as one text."""
    x = batch(8, *network.trace.example_shape[1:], seed=3) if samples is None else samples
    chosen = RECALIBRATIONS[method]
    made: Options = build(chosen.options, options)
    task = RecalibrationTask(network, lambda r: x[r.start : r.stop], len(x), batch_size)
    work = chosen.function(task, made)
    notes = []
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value, "\n".join(notes)
        if isinstance(event, Note):
            notes.append(event.text)


def logits(network: Network, x: Tensor) -> Tensor:
    with torch.no_grad():
        return network(x)


def relative_change(before: Tensor, after: Tensor) -> float:
    return float((after - before).abs().max() / before.abs().max())
