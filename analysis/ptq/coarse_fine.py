"""Coarse and fine: centre taps that dwarf the rest of a kernel get codes of their own."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, log10
from statistics import median

from torch import Tensor

from analysis.events import Note, Progress, Work
from analysis.models.cost import scale_bits
from analysis.notes import left_out
from analysis.options import Options, option
from analysis.ptq.nearest import nearest
from analysis.ptq.task import PTQ_METHODS, PTQTask
from analysis.quant.configure import Quantization, range_of
from analysis.quant.intervals import weight_quantizer
from analysis.quant.quantizer import Quantizer
from analysis.quant.split import (
    COARSE,
    COARSE_ROLE,
    Split,
    added_bits,
    added_macs,
    at_centre,
    coarse_part,
    why_whole,
)
from analysis.records import Layer, LayerTable

_ALWAYS, _BETTER, _WORTH = "always", "where_better", "where_worth"
_REASONS = {
    _BETTER: "the squared error of its weight would not fall",
    _WORTH: "as many bits more for its format would win more than the split",
}
_DB_PER_BIT = 20 * log10(2)
_BITS_PER_KIB = 8 * 2**10


@dataclass(frozen=True, slots=True)
class CoarseFineOptions(Options):
    """Options of :func:`coarse_fine`."""

    split: str = option(
        _BETTER,
        choices=(_BETTER, _WORTH, _ALWAYS),
        help="Split a weight where that makes its squared error smaller than rounding to nearest "
        "does; only where it wins more than 6.02 dB for every bit per weight that it adds, 8/9 of "
        "one in a 3x3 kernel; or always.",
    )


@PTQ_METHODS.register(
    "coarse_fine",
    title="Coarse and fine: centre taps apart",
    answers="What is won when centre taps that dwarf their kernels get codes of their own?",
    reference="Yang et al. 2023 (CFWS), arXiv:2312.10588",
    options=CoarseFineOptions,
)
def coarse_fine(task: PTQTask, options: CoarseFineOptions) -> Work[Quantization]:
    r"""Round to nearest, the weights of convolutions in two parts: :math:`W_q = C_q + F_q`.

    :math:`C_q` holds the centre taps in 8 bits, their scale set by the largest one, and zeros;
    :math:`F = W - C_q` is rounded by the layer's own format, its range found anew by the settings'
    estimator. F is exact in floating point, so all of the error is that of :math:`F_q`. Whether it
    pays is asked of each weight's squared error alone, whatever the range estimator counts.
    """
    result = yield from nearest(task, Options())
    table, chosen = task.network.table, task.allocation.as_dict()
    reasons: dict[str, str] = {}
    gains: dict[str, float] = {}
    for done, layer in enumerate(table.layers, start=1):
        yield Progress(done, len(table.layers), f"weight of `{layer.name}`")
        plain = result.weights.get(layer.name)
        if plain is None:
            continue
        reasons[layer.name] = why_whole(layer)
        if reasons[layer.name]:
            continue
        format_name, weight = chosen[layer.name].weight, task.network.weight(layer)
        parts = _split(task, layer, weight, format_name)
        gain = _decibels(_error(plain(weight), weight), _error(parts.values, weight))
        if options.split != _ALWAYS and not gain > _least(options.split, layer):
            reasons[layer.name] = _REASONS[options.split]
            continue
        gains[layer.name] = gain
        _put(result, layer.name, format_name, parts)
    yield from _said(table, gains)
    yield from left_out("split, but rounded to nearest", {n: r for n, r in reasons.items() if r})
    return result


@dataclass(frozen=True, slots=True)
class _Parts:
    """A split weight, the quantizer of its fine part and the share of that which it clips."""

    split: Split
    fine: Quantizer
    clipped: float

    @property
    def values(self) -> Tensor:
        return self.split.values(self.fine)


def _split(task: PTQTask, layer: Layer, weight: Tensor, format_name: str) -> _Parts:
    axis = layer.channel_axis if task.settings.per_channel else None
    coarse, codes = coarse_part(weight, axis)
    rest = weight - at_centre(coarse.values(codes), weight)
    scores = None if task.element_scores is None else task.element_scores.get(layer.name)
    fine = weight_quantizer(rest, axis, format_name, task.settings, scores)
    clipped = fine.clipped(rest).double().mean().item()
    return _Parts(Split(coarse, codes, fine.codes(rest)), fine, clipped)


def _put(result: Quantization, name: str, format_name: str, parts: _Parts) -> None:
    """Let a layer compute with a split weight; each part has its range."""
    result.splits[name], result.weights[name] = parts.split, parts.fine
    result.weight_values[name] = parts.values
    own = [
        range_of(name, COARSE_ROLE, COARSE, parts.split.coarse, 0.0),
        range_of(name, "weight", format_name, parts.fine, parts.clipped),
    ]
    result.ranges = tuple(
        part
        for each in result.ranges
        for part in (own if (each.name, each.role) == (name, "weight") else [each])
    )


def _error(values: Tensor, weight: Tensor) -> float:
    return float((values.double() - weight.double()).square().sum())


def _decibels(before: float, after: float) -> float:
    """Return how much smaller an error became."""
    if before == after:
        return 0.0
    if before == 0 or after == 0:
        return inf if after == 0 else -inf
    return 10 * log10(before / after)


def _least(split: str, layer: Layer) -> float:
    """Return what a split must win more than, in dB."""
    bits = added_bits(layer) / layer.num_weights
    return _DB_PER_BIT * bits if split == _WORTH else 0.0


def _said(table: LayerTable, gains: dict[str, float]) -> Iterator[Note]:
    if not gains:
        yield Note("No weight was split.")
        return
    most = max(gains, key=lambda name: gains[name])
    split = [layer for layer in table.layers if layer.name in gains]
    macs = sum(layer.macs for layer in table.layers)
    kib = sum(added_bits(n) + scale_bits(n, True) for n in split) / _BITS_PER_KIB
    more = sum(added_macs(layer) for layer in split)
    yield Note(
        f"{len(gains)} {'weight' if len(gains) == 1 else 'weights'} split into centre taps of 8 "
        f"bits and the rest: the squared error of rounding falls by {median(gains.values()):.1f} "
        f"dB in the median, most in `{most}`, by {gains[most]:.1f} dB."
    )
    yield Note(
        f"The centre taps add {kib:.3g} KiB (8 bits each, and a scale per output channel) and "
        f"{more:,} multiply-accumulates per sample, {more / macs:.1%} of those of all layers."
    )
    worth = sum(gains[layer.name] > _least(_WORTH, layer) for layer in split)
    yield Note(
        f"{worth or 'None'} of them {'win' if worth > 1 else 'wins'} more than the bits that it "
        "adds would win in its format (6.02 dB for one more bit per weight)."
    )
    worse = [f"`{name}`" for name, gain in gains.items() if gain < 0]
    if worse:
        yield Note(f"In {len(worse)} of them the squared error is larger: {', '.join(worse)}.")
