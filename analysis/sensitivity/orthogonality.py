r"""OMPQ's orthogonality: a layer whose output resembles no other layer's keeps its bits.

.. math::
    \gamma_i = \sum_{j \ne i} s_{ij}, \quad
    z_i = \frac{\gamma_i - \gamma_{min}}{\gamma_{max} - \gamma_{min}}, \quad
    \theta_i = e^{-\beta z_i}, \quad
    c_i = \frac{1}{L - i + 1} \sum_{j \ge i} \theta_j

See Ma et al. 2023, arXiv:2109.07865. Without normalisation the exponent is gamma itself, as
published, and grows with the number of layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from analysis.curvature.similarity import (
    CENTRED,
    DEBIASED,
    MIN_IMAGES,
    PLAIN,
    VARIANTS,
    chance,
    gram,
    similarity,
)
from analysis.errors import DataError
from analysis.events import Note, Progress, Work
from analysis.models.network import Network
from analysis.models.replay import Plan, Transform
from analysis.options import Options, option
from analysis.quant.formats import bits_of
from analysis.records import BoolArray, FloatArray, ScoreTable
from analysis.sensitivity.tables import score_table, with_pairs
from analysis.sensitivity.task import METRICS, SensitivityTask

# Features are held in groups of at most this many bytes; a group costs one pass over the images.
_KEEP_BYTES = 256 * 2**20
# Shuffled images give this mean similarity, or more: most of what is measured means nothing.
_SATURATED = 0.5


@dataclass(frozen=True, slots=True)
class OrthogonalityOptions(Options):
    """Options of :func:`orthogonality`."""

    images: int = option(
        64, low=MIN_IMAGES, high=512, help="Samples that are compared, the first ones of the set."
    )
    variant: str = option(
        CENTRED,
        choices=VARIANTS,
        help="Linear CKA, the same without centring, or its estimate without bias.",
    )
    beta: float = option(
        1.0,
        low=0.0,
        high=1000.0,
        help="How much orthogonality counts: normalised, the extremes differ by e^beta.",
    )
    normalise: bool = option(
        True, help="Bring the sums of similarities to 0..1, so that beta fits every network."
    )
    tail_average: bool = option(
        True, help="Credit a layer with the mean of its own and all later layers' theta."
    )
    batch_size: int = option(32, low=1, high=4096, help="Samples per pass; bounds the memory.")


@METRICS.register(
    "orthogonality",
    title="Orthogonality",
    answers="Does this layer's output resemble that of any other layer?",
    reference="Ma et al. 2023 (OMPQ), arXiv:2109.07865",
    options=OrthogonalityOptions,
    cost="1 forward pass of at most `images` images",
)
def orthogonality(task: SensitivityTask, options: OrthogonalityOptions) -> Work[ScoreTable]:
    """Score layers by the theta of their outputs, candidates by theta times the bits they lack.

    Candidates are compared with the widest weight among them; activation formats do not enter.
    Label-free and forward only: one pass per batch while the outputs of all layers fit in 256 MiB,
    one more for every further 256 MiB of them, then one matrix product for all pairs.

    Raises:
        DataError: If there are fewer than four samples.
    """
    begin = perf_counter()
    task = replace(task, samples=task.samples.first(options.images))
    if task.n < MIN_IMAGES:
        raise DataError(
            f"`orthogonality` compares at least {MIN_IMAGES} samples, the {task.samples.role} set "
            f"has {task.n}. Take a larger set."
        )
    groups = _groups(task.network, task.n)
    grams = yield from _grams(task, groups, options.batch_size)
    found, constant = similarity(grams, options.variant)
    theta = importance(found, options)
    bits = np.array([bits_of(c.weight) for c in task.candidates], dtype=np.float64)
    table = score_table(
        task,
        "orthogonality",
        options,
        unit="theta × bits" if task.candidates else "theta",
        begin=begin,
        passes=(len(groups), 0),
        values=theta[:, None] * (bits.max() - bits) if task.candidates else theta,
        notes=_notes(task.network, grams, constant, options),
    )
    return with_pairs(table, similarity=found)


def importance(similarities: FloatArray, options: OrthogonalityOptions) -> FloatArray:
    """Return c (L,), or theta where there is no tail average, from similarities (L, L)."""
    gamma = similarities.sum(1) - similarities.diagonal()
    if options.normalise:
        spread = float(np.ptp(gamma))
        gamma = (gamma - gamma.min()) / spread if spread > 0 else np.zeros_like(gamma)
    theta = np.exp(-options.beta * gamma)
    if not options.tail_average:
        return np.asarray(theta)
    return np.asarray(theta[::-1].cumsum()[::-1] / np.arange(len(theta), 0, -1))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some of the features of a layer's call: columns ``start`` to ``stop``."""

    layer: int
    call: int
    start: int
    stop: int


def _groups(network: Network, n: int) -> list[list[_Piece]]:
    """Cut the features of all layers into groups that fit in memory for ``n`` samples."""
    # Features are float32 as a rule; Gram matrices add up over columns.
    room = left = max(_KEEP_BYTES // (4 * n), 1)
    groups: list[list[_Piece]] = [[]]
    for i, layer in enumerate(network.table.layers):
        for call in layer.calls:
            start, width = 0, _width(network, call)
            while start < width:
                if left == 0:
                    groups.append([])
                    left = room
                stop = min(width, start + left)
                groups[-1].append(_Piece(i, call, start, stop))
                left -= stop - start
                start = stop
    return groups


def _width(network: Network, call: int) -> int:
    return prod(network.trace.calls[call].shapes[0]) // network.trace.batch


def _grams(
    task: SensitivityTask, groups: Sequence[Sequence[_Piece]], size: int
) -> Work[FloatArray]:
    """Return the Gram matrices (L, N, N); those of every finished group are kept."""
    result = np.zeros((len(task.network.table.layers), task.n, task.n))
    batches = list(task.batches(size))
    kept = 0
    for number, group in enumerate(groups):
        part = task.parts.load(f"group-{number}")
        if part is None:
            if kept == number > 0:
                yield Note(f"{kept} of {len(groups)} groups of features are kept.")
            features: dict[_Piece, Tensor] = {}
            for place, batch in enumerate(batches):
                _fill(task, group, batch, features)
                yield Progress(
                    number * len(batches) + place + 1,
                    len(groups) * len(batches),
                    f"samples {batch.start + 1} to {batch.stop} of {task.n}",
                )
            part = {"grams": np.stack([gram(features.pop(piece)) for piece in group])}
            task.parts.save(f"group-{number}", part)
        else:
            kept += 1
        for piece, one in zip(group, part["grams"], strict=True):
            result[piece.layer] += one
    return result


def _fill(
    task: SensitivityTask, group: Sequence[_Piece], batch: range, features: dict[_Piece, Tensor]
) -> None:
    """Write the rows of a batch into the features (N, D) of every piece."""
    network, x = task.network, task.inputs(batch)
    pieces: dict[int, list[_Piece]] = {}
    for piece in group:
        pieces.setdefault(piece.call, []).append(piece)

    def catch(call: int) -> Transform:
        def transform(z: Tensor) -> Tensor:
            rows = network.per_sample(call, z, len(x)).flatten(1)
            for piece in pieces[call]:
                if piece not in features:
                    features[piece] = rows.new_empty(task.n, piece.stop - piece.start)
                features[piece][batch.start : batch.stop] = rows[:, piece.start : piece.stop]
            return z

        return transform

    with torch.no_grad():
        network(x, Plan(outputs={(call, 0): catch(call) for call in pieces}))


def _notes(
    network: Network, grams: FloatArray, constant: BoolArray, options: OrthogonalityOptions
) -> tuple[str, ...]:
    notes = []
    layers, n = network.table.layers, grams.shape[1]
    if constant.any():
        names = [f"`{layer.name}`" for layer, c in zip(layers, constant, strict=True) if c]
        notes.append(
            f"The output of {', '.join(names)} is the same for every image: its similarity to all "
            "other layers is taken as 0."
        )
    varied = grams[~constant]
    pairs = ~np.eye(len(varied), dtype=bool)
    if options.variant == DEBIASED or not pairs.any():
        return tuple(notes)
    mean = float(chance(varied, options.variant)[pairs].mean())
    if mean >= _SATURATED:
        widths = [sum(_width(network, call) for call in layer.calls) for layer in layers]
        cause, remedy = (
            ("uncentred features share their mean", f"variant `{CENTRED}` or `{DEBIASED}`")
            if options.variant == PLAIN
            else (
                f"{sum(w > n for w in widths)} of {len(widths)} layers have more features than "
                f"there are images ({n})",
                f"more images, or variant `{DEBIASED}`",
            )
        )
        notes.append(
            "Near saturation: with shuffled images two layers would still have a similarity of "
            f"{mean:.2f} in the mean, for {cause}. Take {remedy}."
        )
    return tuple(notes)
