"""Weights found one layer after the other by what the layer reads: GPTQ and GPFQ stand on it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.events import Note, Progress, Work, held_at
from analysis.models.replay import Plan
from analysis.notes import left_out
from analysis.options import Options, option
from analysis.ptq.layer_inputs import Front, unfolding_of, why_not
from analysis.ptq.layer_products import LayerInputs, Products, naming
from analysis.ptq.mean_errors import MeanErrors, corrected, why_not_corrected
from analysis.ptq.nearest import nearest
from analysis.ptq.task import PTQTask
from analysis.ptq.wording import few, percent
from analysis.quant.configure import Quantization, plan_of
from analysis.quant.quantizer import Quantizer

Rounding = Callable[[Tensor], Tensor]


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
    correct_biases: bool = option(
        False,
        help="Also take the mean error of every channel off its bias, before the layers behind it "
        "are rounded; costs a further pass over the samples per layer, as far as the layer.",
    )


def layer_by_layer(
    task: PTQTask, solve: Solver, options: LayerwiseOptions, *, float_inputs: bool
) -> Work[Quantization]:
    """Round to nearest, then find the weights of one layer after the other by their inputs.

    Args:
        task: What to quantize.
        solve: Gives values on the grid (G, R, D) for a weight (G, R, D), the products of the
            layer's inputs and the rounding of one column (G, R), all in float64.
        options: What every such method can be told.
        float_inputs: Whether inputs in the float network are needed beside those behind the
            quantized layers before.
    """
    result = yield from held_at(nearest(task, Options()), 0, 1)
    network = task.network
    plan = plan_of(network, result, task.settings)
    quantized = [layer for layer in network.table.layers if layer.name in result.weights]
    reasons = {layer.name: why for layer in quantized if (why := why_not(network, layer))}
    layers = sorted(
        (layer for layer in quantized if layer.name not in reasons), key=lambda layer: layer.calls
    )
    fronts = [Front(network, options.memory_mib / 2) for _ in range(2)]
    if not float_inputs:
        fronts = [Front(network, options.memory_mib)]
    inputs = LayerInputs(task, fronts, options.batch_size, options.batch_size)
    uncorrected = {layer.name: why_not_corrected(layer) for layer in layers}
    means = MeanErrors(
        task, [each for each in layers if not uncorrected[each.name]], options.batch_size
    )
    if options.correct_biases:
        yield from held_at(means.prepare(), 0, 1)
    gains: list[_Gain] = []
    broken = ""
    for done, layer in enumerate(layers):
        unfolding = unfolding_of(network, layer, task.inputs(range(1)))
        products = yield from inputs.products(layer, unfolding, plan, (done, len(layers)))
        if not products.finite:
            broken = layer.name
            break
        quantizer, plain = result.weights[layer.name], network.weight(layer)
        weight = unfolding.matrix(plain).double()
        with naming(layer, weight):
            found = solve(weight, products, _rounding(quantizer))
        codes = quantizer.codes(found.reshape(plain.shape)).to(plain)
        values, rounded = quantizer.values(codes), quantizer(plain)
        result.weight_values[layer.name] = values
        plan = plan | Plan(weights={layer.calls[0]: values})
        if options.correct_biases and not uncorrected[layer.name]:
            bias = corrected(network, layer, means.shift(layer, plan))
            # Where it is not, what the next layer reads is not either.
            if bool(bias.isfinite().all()):
                result.biases[layer.name] = bias
                plan = plan | Plan(biases={layer.calls[0]: bias})
        before, after = (
            products.error(weight, unfolding.matrix(each).double()) for each in (rounded, values)
        )
        moved = int((codes != quantizer.codes(plain)).sum())
        short = products.rows < weight.shape[-1]
        gains.append(_Gain(layer.name, before, after, moved, plain.numel(), short))
        yield Progress(done + 1, len(layers), f"weight of `{layer.name}` rounded")
    yield from _said(gains, task.n)
    if options.correct_biases and gains:
        yield Note(f"{len(result.biases)} of {len(gains)} biases corrected by their mean errors.")
        yield from left_out(
            "bias-corrected", {name: why for name, why in uncorrected.items() if why}
        )
    if broken:
        yield Note(
            f"Stopped at `{broken}`: what it reads behind the rounded layers is not finite on some "
            "calibration sample. It and what follows stay rounded to nearest. Look for very large "
            "values in weights or data, or quantize the layers before it less."
        )
    yield from left_out("rounded by their inputs, but to nearest", reasons)
    return result


def _rounding(quantizer: Quantizer) -> Rounding:
    def rounded(column: Tensor) -> Tensor:
        return quantizer(column.flatten()).reshape(column.shape)

    return rounded


@dataclass(frozen=True, slots=True)
class _Gain:
    """Relative output errors of one layer, and how many of its codes are not the nearest."""

    layer: str
    before: float
    after: float
    moved: int
    size: int
    short: bool


def _said(gains: list[_Gain], n: int) -> Iterator[Note]:
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
        f"calibration samples is {percent(after)} in the median, {percent(before)} rounded to "
        f"nearest; it changes most in `{most.layer}`, from {percent(most.before)} to "
        f"{percent(most.after)}."
    )
    yield from few(n, "learnt from")
    worse = [gain for gain in gains if gain.after > gain.before]
    if worse:
        names = ", ".join(f"`{gain.layer}`" for gain in worse)
        yield Note(f"The error is larger than rounded to nearest in {len(worse)} of them: {names}.")
    short = [f"`{gain.layer}`" for gain in gains if gain.short]
    if short:
        yield Note(
            f"Fewer rows of inputs than weights of a channel in {', '.join(short)}: what they "
            "teach may not carry over. Use more calibration samples."
        )
