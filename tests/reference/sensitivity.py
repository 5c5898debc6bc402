"""Small sensitivity tasks and slow, obvious scores of them: one layer, one candidate at a time."""

import numpy as np
import torch
from torch import Tensor, nn

from analysis.models.demo import load
from analysis.models.network import Network, build_network
from analysis.parts import Parts
from analysis.quant.configure import estimate_activation, estimate_weight
from analysis.quant.statistics import ActivationStatistics, collect_statistics
from analysis.records import FLOAT, Candidate, Layer, QuantSettings
from analysis.sensitivity.task import NoParts, Samples, SensitivityTask
from tests.reference.attention import output_of
from tests.reference.work import finish

SETTINGS = QuantSettings(weight_range="min_max", activation_range="min_max")


def candidates(*texts: str) -> tuple[Candidate, ...]:
    return tuple(Candidate.parse(text) for text in texts)


def make_task(
    model: nn.Module,
    x: Tensor,
    *texts: str,
    settings: QuantSettings = SETTINGS,
    labels: np.ndarray | None = None,
    parts: Parts | None = None,
) -> SensitivityTask:
    network = build_network(model, x[:2])
    return SensitivityTask(
        network=network,
        samples=Samples(
            lambda numbers: x[numbers.start : numbers.stop], len(x), labels, digest="calibration"
        ),
        candidates=candidates(*texts),
        settings=settings,
        statistics=finish(collect_statistics(network, lambda: [x], 1)),
        parts=parts or NoParts(),
    )


def demo_task(name: str, n: int, *texts: str, **more: object) -> SensitivityTask:
    x = torch.randn(n, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return make_task(load(name), x, *texts, **more)  # type: ignore[arg-type]


def folded_copy(network: Network) -> nn.Module:
    """A deep copy of the model with folded weights in place and BatchNorms replaced by identities.

    For models whose layers are modules that are called once.
    """
    import copy

    model = copy.deepcopy(network.module)
    for layer in network.table.layers:
        if not layer.folded:
            continue
        module, bias = model.get_submodule(layer.name), network.bias(layer)
        module.weight = nn.Parameter(network.weight(layer).clone())
        module.bias = None if bias is None else nn.Parameter(bias.clone())
        model.set_submodule(layer.folded, nn.Identity())
    return model.eval()


def quantize_layer(
    model: nn.Module,
    network: Network,
    statistics: ActivationStatistics,
    layer: Layer,
    candidate: Candidate,
    settings: QuantSettings = SETTINGS,
) -> None:
    """Quantize the weight and, by a hook, the input of one layer of a folded copy."""
    module = model.get_submodule(layer.name)
    if candidate.weight != FLOAT:
        q = estimate_weight(network, layer, candidate.weight, settings)
        module.weight.data = q(module.weight.data)
    if candidate.activation != FLOAT:
        q = estimate_activation(statistics, layer.inputs[0], candidate.activation, settings)
        module.register_forward_pre_hook(lambda _m, inputs: (q(inputs[0]),))


def local_errors(task: SensitivityTask) -> np.ndarray:
    """Mean squared error of each layer's output when it alone is quantized: (N, L, C)."""
    layers, plain = task.network.table.layers, folded_copy(task.network)
    result = np.zeros((task.n, len(layers), len(task.candidates)))
    for i, layer in enumerate(layers):
        for c, candidate in enumerate(task.candidates):
            changed = folded_copy(task.network)
            quantize_layer(changed, task.network, task.statistics, layer, candidate, task.settings)
            for n in range(task.n):
                sample = task.inputs(range(n, n + 1))[0]
                a = output_of(plain, layer.name, sample)
                with torch.no_grad():
                    b = _output_with_float_prefix(plain, changed, layer.name, sample)
                result[n, i, c] = float((a - b).double().square().mean())
    return result


def _output_with_float_prefix(
    plain: nn.Module, changed: nn.Module, name: str, sample: Tensor
) -> Tensor:
    """Output of the quantized layer on the float input of its plain twin."""
    seen: list[Tensor] = []
    handle = plain.get_submodule(name).register_forward_pre_hook(
        lambda _m, inputs: seen.append(inputs[0].clone())
    )
    plain(sample[None])
    handle.remove()
    return changed.get_submodule(name)(seen[0])[0]


def isolated_logits(task: SensitivityTask, layer: Layer, candidate: Candidate) -> Tensor:
    """Logits of all samples with one layer quantized on its own input, by a full forward."""
    model = folded_copy(task.network)
    quantize_layer(model, task.network, task.statistics, layer, candidate, task.settings)
    with torch.no_grad():
        return model(task.inputs(range(task.n)))
