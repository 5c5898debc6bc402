"""Weights found one layer after the other by what the layer reads: GPTQ and GPFQ stand on it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from analysis.events import Note, Progress, Work
from analysis.models.network import NOTHING
from analysis.models.replay import Plan
from analysis.notes import left_out
from analysis.options import Options, option
from analysis.ptq.layer_inputs import Front, Unfolding, unfolding_of, why_not
from analysis.ptq.nearest import nearest
from analysis.ptq.task import PTQTask
from analysis.quant.configure import Quantization, plan_of
from analysis.quant.quantizer import Quantizer

Rounding = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Products:
    r"""Sums over all rows of products of inputs, (G, D, D) each, in float64.

    ``float_float`` is :math:`X^T X` of the inputs in the float network, ``quantized_quantized``
    :math:`\tilde X^T \tilde X` of those behind the quantized prefix, ``quantized_float``
    :math:`\tilde X^T X`. With a method that only looks at the quantized prefix they are the same.
    """

    float_float: Tensor
    quantized_float: Tensor
    quantized_quantized: Tensor
    rows: int

    def error(self, weight: Tensor, found: Tensor) -> float:
        r"""Return :math:`\lVert X W^T - \tilde X Q^T \rVert_F / \lVert X W^T \rVert_F`.

        Args:
            weight: W, (G, R, D).
            found: Q, (G, R, D).
        """
        size = float(((weight @ self.float_float) * weight).sum())
        mixed = float(((found @ self.quantized_float) * weight).sum())
        own = float(((found @ self.quantized_quantized) * found).sum())
        return (max(size - 2 * mixed + own, 0.0) / size) ** 0.5 if size > 0 else 0.0


Solver = Callable[[Tensor, Products, Rounding], Tensor]


@dataclass(frozen=True, slots=True)
class LayerwiseOptions(Options):
    """What every method that goes layer by layer can be told."""

    batch_size: int = option(
        32, low=1, high=4096, help="Samples whose inputs are unfolded at a time."
    )
    memory_mib: int = option(
        1024,
        low=0,
        high=1_000_000,
        help="Memory for activations that are kept from layer to layer, in MiB; what does not fit "
        "is computed again.",
    )


def layer_by_layer(
    task: PTQTask, solve: Solver, *, batch_size: int, memory_mib: float, float_inputs: bool
) -> Work[Quantization]:
    """Round to nearest, then find the weights of one layer after the other by their inputs.

    Args:
        task: What to quantize.
        solve: Gives values on the grid (G, R, D) for a weight (G, R, D), the products of the
            layer's inputs and the rounding of one column (G, R), all in float64.
        batch_size: Samples whose inputs are unfolded at a time.
        memory_mib: Memory for activations that are kept from layer to layer.
        float_inputs: Whether inputs in the float network are needed beside those behind the
            quantized layers before.
    """
    result = yield from nearest(task, Options())
    network = task.network
    plan = plan_of(network, result, task.settings)
    quantized = [layer for layer in network.table.layers if layer.name in result.weights]
    reasons = {layer.name: why for layer in quantized if (why := why_not(network, layer))}
    layers = sorted(
        (layer for layer in quantized if layer.name not in reasons), key=lambda layer: layer.calls
    )
    fronts = [Front(network, memory_mib / 2) for _ in range(2)]
    if not float_inputs:
        fronts = [Front(network, memory_mib)]
    gains: list[_Gain] = []
    for done, layer in enumerate(layers):
        unfolding = unfolding_of(network, layer, task.inputs(range(1)))
        products = yield from _products(
            task, layer.calls[0], unfolding, plan, batch_size, fronts, (done, len(layers))
        )
        quantizer, plain = result.weights[layer.name], network.weight(layer)
        weight = unfolding.matrix(plain).double()
        found = solve(weight, products, _rounding(quantizer))
        codes = quantizer.codes(found.reshape(plain.shape)).to(plain)
        values, rounded = quantizer.values(codes), quantizer(plain)
        result.weight_values[layer.name] = values
        plan = plan | Plan(weights={layer.calls[0]: values})
        before, after = (
            products.error(weight, unfolding.matrix(each).double()) for each in (rounded, values)
        )
        moved = int((codes != quantizer.codes(plain)).sum())
        short = products.rows < weight.shape[-1]
        gains.append(_Gain(layer.name, before, after, moved, plain.numel(), short))
        yield Progress(done + 1, len(layers), f"weight of `{layer.name}` rounded")
    yield from _said(gains)
    yield from left_out("rounded by their inputs, but to nearest", reasons)
    return result


def _rounding(quantizer: Quantizer) -> Rounding:
    def rounded(column: Tensor) -> Tensor:
        return quantizer(column.flatten()).reshape(column.shape)

    return rounded


def _products(
    task: PTQTask,
    call: int,
    unfolding: Unfolding,
    plan: Plan,
    batch_size: int,
    fronts: Sequence[Front],
    place: tuple[int, int],
) -> Work[Products]:
    """Sum up the products of a layer's inputs, of the float network too if it has a front."""
    sums: list[Tensor] = []
    rows = 0
    for start in range(0, task.n, batch_size):
        x = task.inputs(range(start, min(start + batch_size, task.n)))
        read = [
            unfolding.rows(front.input_of(start, x, call, own)).double()
            for front, own in zip(fronts, (plan, NOTHING), strict=False)
        ]
        rows += read[0].shape[1]
        found = [left.mT @ right for left, right in combinations_with_replacement(read, 2)]
        sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
        yield Progress(*place, "inputs of the layer")
    return Products(sums[-1], sums[len(sums) // 2], sums[0], rows)


@dataclass(frozen=True, slots=True)
class _Gain:
    """Relative output errors of one layer, and how many of its codes are not the nearest."""

    layer: str
    before: float
    after: float
    moved: int
    size: int
    short: bool


def _said(gains: list[_Gain]) -> Iterator[Note]:
    if not gains:
        yield Note("No weight was rounded by its inputs.")
        return
    share = sum(gain.moved for gain in gains) / sum(gain.size for gain in gains)
    most = max(gains, key=lambda gain: abs(gain.before - gain.after))
    before, after = (
        float(torch.tensor(errors).quantile(0.5))
        for errors in ([gain.before for gain in gains], [gain.after for gain in gains])
    )
    yield Note(
        f"{len(gains)} {'weight' if len(gains) == 1 else 'weights'} rounded by their inputs, "
        f"{share:.1%} of the values not to the nearest level: the error of their outputs on the "
        f"calibration samples is {after:.2%} in the median, {before:.2%} rounded to nearest; it "
        f"changes most in `{most.layer}`, from {most.before:.2%} to {most.after:.2%}."
    )
    worse = [gain for gain in gains if gain.after > gain.before]
    if worse:
        names = ", ".join(f"`{gain.layer}`" for gain in worse)
        yield Note(f"In {len(worse)} of them the error is larger than rounded to nearest: {names}.")
    short = [f"`{gain.layer}`" for gain in gains if gain.short]
    if short:
        yield Note(
            f"Fewer rows of inputs than weights of a channel in {', '.join(short)}: what they "
            "teach may not carry over. Use more calibration samples."
        )
