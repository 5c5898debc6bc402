"""Captum's layer attributions at the folded outputs of a network's layers.

Captum attributes to modules of the user's own model, we to the outputs of calls with BatchNorm
folded. :func:`find_places` says which module returns which layer's output, by looking at the
values. See Kokhlikyan et al. 2020, arXiv:2009.07896.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from analysis.models.network import FOLDING_TOLERANCE, Network
from analysis.models.replay import Plan, Transform
from analysis.records import Layer, Skipped


@dataclass(frozen=True, slots=True)
class Place:
    """A module whose output is a layer's: ``layer`` is the place in the table, ``call`` its call.

    The logits of ``inert`` layers do not depend on their output.
    """

    layer: int
    call: int
    module: nn.Module
    inert: bool


@dataclass(frozen=True, slots=True)
class Attribution:
    """One of captum's methods.

    ``attribute`` takes the model, modules, a batch (B, ...), target classes (B,) and a number of
    steps, and yields one tensor per module, of the module's output's shape. ``rows`` says that
    captum takes the first axis of these outputs for samples.
    """

    attribute: Callable[[nn.Module, Sequence[nn.Module], Tensor, Tensor, int], Iterator[Tensor]]
    rows: bool


@contextmanager
def out_of_place(module: nn.Module) -> Iterator[None]:
    """Let activations with ``inplace=True`` leave their arguments alone inside the block.

    They are put back whatever happens. Not for use from several threads at once.
    """
    changed = [child for child in module.modules() if getattr(child, "inplace", None) is True]
    try:
        for child in changed:
            child.inplace = False  # type: ignore[assignment]
        yield
    finally:
        for child in changed:
            child.inplace = True  # type: ignore[assignment]


def find_places(
    network: Network, x: Tensor, method: Attribution, module: nn.Module | None = None
) -> tuple[tuple[Place, ...], tuple[Skipped, ...]]:
    """Return where layers can be attributed to, and the layers where captum cannot, with reasons.

    A layer's place is the BatchNorm that was folded into it, else the module that owns its weight;
    it must be called once and return the layer's output.

    Args:
        network: The folded network.
        x: A few samples (B, ...) to look at.
        method: What the places are for.
        module: A copy of the network's model for captum to hook, so that no other thread that runs
            the network sees its hooks; the model itself by default.
    """
    module = network.module if module is None else module
    layers = network.table.layers
    owners = [layer.folded or layer.weight_name.rpartition(".")[0] for layer in layers]
    logits, seen = _outputs(module, set(owners), x)
    expected = _folded_outputs(network, x)
    tensors = [out[0] for out in seen.values() if len(out) == 1 and isinstance(out[0], Tensor)]
    gradients: Sequence[Tensor | None] = [None] * len(tensors)
    if tensors and logits.requires_grad:
        gradients = torch.autograd.grad(logits.sum(), tensors, allow_unused=True)
    reached = {id(t) for t, g in zip(tensors, gradients, strict=True) if g is not None}
    places, skipped = [], []
    for i, (layer, owner) in enumerate(zip(layers, owners, strict=True)):
        outputs = seen[owner]
        reason = _obstacle(network, layer, owner, outputs, expected[layer.calls[0]], method.rows)
        if reason:
            skipped.append(
                Skipped(
                    name=layer.name, kind=layer.kind, num_params=layer.num_params, reason=reason
                )
            )
            continue
        place = module.get_submodule(owner)
        places.append(Place(i, layer.calls[0], place, id(outputs[0]) not in reached))
    return tuple(places), tuple(skipped)


def attributions(
    network: Network,
    method: Attribution,
    places: Sequence[Place],
    x: Tensor,
    steps: int,
    module: nn.Module | None = None,
) -> Iterator[tuple[Place, Tensor]]:
    """Yield the attribution (B, ...) of the predicted class to the output of every place.

    The user's own module runs, in eval mode; its parameters stay as they are. Inert layers get
    zeros.

    Args:
        network: The folded network, which predicts the classes.
        method: One of captum's methods.
        places: Where to attribute to.
        x: Batch (B, ...).
        steps: Steps along the path from the zero input, for methods that follow one.
        module: The model that the places are of, see :func:`find_places`.
    """
    model = network.module if module is None else module
    for place in places:
        if place.inert:
            yield place, torch.zeros(len(x), 1, dtype=x.dtype, device=x.device)
    live = [place for place in places if not place.inert]
    if not live:
        return
    with torch.no_grad():
        target = network(x).argmax(1)
    modules = [place.module for place in live]
    found = method.attribute(model, modules, x.detach(), target, steps)
    for place in live:
        # Whoever reads the results may pause between two of them: the block must not stay open.
        with out_of_place(model):
            value = next(found)
        yield place, network.per_sample(place.call, value.detach(), len(x))


def _gradient_x_activation(
    model: nn.Module, modules: Sequence[nn.Module], x: Tensor, target: Tensor, steps: int
) -> Iterator[Tensor]:
    del steps
    from captum.attr import LayerGradientXActivation  # importing captum takes a second

    yield from LayerGradientXActivation(model, list(modules)).attribute(x, target=target)


def _conductance(
    model: nn.Module, modules: Sequence[nn.Module], x: Tensor, target: Tensor, steps: int
) -> Iterator[Tensor]:
    from captum.attr import LayerConductance

    for module in modules:
        # Steps from end to end: captum's default leaves out both ends of the path.
        yield LayerConductance(model, module).attribute(
            x, target=target, n_steps=steps, method="riemann_trapezoid"
        )


def _influence(
    model: nn.Module, modules: Sequence[nn.Module], x: Tensor, target: Tensor, steps: int
) -> Iterator[Tensor]:
    from captum.attr import InternalInfluence

    for module in modules:
        yield InternalInfluence(model, module).attribute(
            x, target=target, n_steps=steps, method="gausslegendre"
        )


GRADIENT_X_ACTIVATION = Attribution(_gradient_x_activation, rows=False)
CONDUCTANCE = Attribution(_conductance, rows=True)
INFLUENCE = Attribution(_influence, rows=True)


def _outputs(module: nn.Module, names: set[str], x: Tensor) -> tuple[Tensor, dict[str, list[Any]]]:
    """Run the module; return its outputs and those of the modules called ``names``."""
    seen: dict[str, list[Any]] = {name: [] for name in names}

    def watch(name: str) -> Callable[..., Tensor | None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Tensor | None:
            if not isinstance(output, Tensor):
                seen[name].append(output)
                return None
            kept = output if output.requires_grad else output.detach().requires_grad_()
            seen[name].append(kept)
            return kept.clone()  # Later calls may change it in place.

        return hook

    handles = [module.get_submodule(name).register_forward_hook(watch(name)) for name in names]
    try:
        with out_of_place(module), torch.enable_grad():
            return module(x.detach()), seen
    finally:
        for handle in handles:
            handle.remove()


def _folded_outputs(network: Network, x: Tensor) -> dict[int, Tensor]:
    caught: dict[int, Tensor] = {}

    def catch(call: int) -> Transform:
        def transform(z: Tensor) -> Tensor:
            caught[call] = z.clone()
            return z

        return transform

    calls = [layer.calls[0] for layer in network.table.layers]
    with torch.no_grad():
        network(x, Plan(outputs={(call, 0): catch(call) for call in calls}))
    return caught


def _obstacle(
    network: Network, layer: Layer, owner: str, outputs: list[Any], expected: Tensor, rows: bool
) -> str:
    """Return why captum cannot attribute to a layer at module ``owner``, empty if it can."""
    if len(layer.calls) > 1 or len(outputs) > 1:
        count = max(len(layer.calls), len(outputs))
        return f"it is called {count} times in one pass, captum sees one of them"
    if not outputs:
        return (
            f"it has no module of its own: `{owner}` is never called, its weight is read directly"
        )
    (output,) = outputs
    if not isinstance(output, Tensor) or not _same(output.detach(), expected):
        return f"it has no module of its own: `{owner}` returns something else than its output"
    axis = network.axes[(layer.calls[0], 0)]
    if rows and (axis.axis != 0 or axis.count != 1):
        return "captum would mix samples: its output has no axis of samples in front"
    return ""


def _same(output: Tensor, expected: Tensor) -> bool:
    if output.shape != expected.shape:
        return False
    scale = float(expected.abs().max().clamp_min(1e-12))
    return float((output - expected).abs().max()) <= FOLDING_TOLERANCE * scale
