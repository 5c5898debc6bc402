"""A network whose weights, biases or activation limits were changed before it is quantized."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from analysis.models.network import Network
from analysis.models.rectifiers import Clip, own_limits
from analysis.models.replay import Plan


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """Mean and standard deviation of every output channel of a layer, (O,) each, in float64."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True, slots=True)
class Recalibrated(Network):
    """A network that remembers what its folded BatchNorms say about the layers' outputs.

    ``gaussians`` holds, by layer name, the distribution of every folded layer's output as its
    BatchNorm meant it, carried through every change of scale since.
    """

    gaussians: Mapping[str, Gaussian] = field(default_factory=dict)


def gaussians(network: Network) -> Mapping[str, Gaussian]:
    r"""Return the distributions that folded BatchNorms give their layers' outputs, by layer name.

    A BatchNorm with weight :math:`\gamma` and bias :math:`\beta` gives channels of mean
    :math:`\beta` and deviation :math:`|\gamma|`. See Nagel et al. (2019), arXiv:1906.04721.
    """
    if isinstance(network, Recalibrated):
        return network.gaussians
    found = {}
    for layer in network.table.layers:
        if layer.folded:
            norm = folded_norm(network, layer.folded)
            like = norm.running_mean
            assert like is not None
            beta = torch.zeros_like(like) if norm.bias is None else norm.bias.detach()
            gamma = torch.ones_like(like) if norm.weight is None else norm.weight.detach()
            found[layer.name] = Gaussian(beta.double().cpu(), gamma.double().cpu().abs())
    return found


def folded_norm(network: Network, name: str) -> _BatchNorm:
    """Return the folded BatchNorm that is called ``name``."""
    norm = network.module.get_submodule(name)
    assert isinstance(norm, _BatchNorm)
    return norm


@dataclass(slots=True)
class Changes:
    """What a recalibration changes.

    Weights and biases by layer name, limits by the call whose result they hold; ``gaussians`` are
    those of layers whose outputs changed scale or place.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    biases: dict[str, Tensor] = field(default_factory=dict)
    clips: dict[int, Clip] = field(default_factory=dict)
    gaussians: dict[str, Gaussian] = field(default_factory=dict)

    def plan(self, network: Network) -> Plan:
        """Return the changes as a plan that is put over the network's own by ``|``.

        A call whose own limits are narrower than its new ones is passed over.
        """
        calls = {layer.name: layer.calls for layer in network.table.layers}
        return Plan(
            weights={call: w for name, w in self.weights.items() for call in calls[name]},
            biases={call: b for name, b in self.biases.items() for call in calls[name]},
            skip=frozenset(
                index
                for index, clip in self.clips.items()
                if (own := own_limits(network, network.trace.calls[index])) is not None
                and not own.contains(clip)
            ),
            outputs={(call, 0): clip for call, clip in self.clips.items()},
        )

    def apply(self, network: Network) -> Recalibrated:
        """Return the network with the changes; the given one and its module stay as they are.

        A bias that a layer did not have before is counted in the layer table.
        """
        new = {
            layer.name: len(self.biases[layer.name])
            for layer in network.table.layers
            if layer.name in self.biases and layer.num_biases == 0
        }
        table = replace(
            network.table,
            layers=tuple(
                replace(layer, num_biases=new.get(layer.name, layer.num_biases))
                for layer in network.table.layers
            ),
            params_after_folding=network.table.params_after_folding + sum(new.values()),
        )
        parts = {f.name: getattr(network, f.name) for f in fields(Network)}
        parts |= {"table": table, "plan": network.plan | self.plan(network)}
        return Recalibrated(**parts, gaussians={**gaussians(network), **self.gaussians})
