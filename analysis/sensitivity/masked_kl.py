"""Divergence when part of a layer's quantized weights is masked out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from analysis.events import Progress, Work
from analysis.models.replay import Plan
from analysis.options import Options, option
from analysis.records import FLOAT, Candidate, FloatArray, ScoreTable
from analysis.sensitivity.isolated import IsolatedPlans
from analysis.sensitivity.outputs import kl_divergence
from analysis.sensitivity.tables import need_candidates, score_table
from analysis.sensitivity.task import METRICS, SensitivityTask, in_batches


@dataclass(frozen=True, slots=True)
class MaskedKLOptions(Options):
    """Options of :func:`masked_kl`."""

    share: float = option(0.5, low=0.0, high=1.0, help="Share of a layer's weights set to zero.")
    seed: int = option(0, low=0, high=2**31 - 1, help="Seed of the masks.")
    batch_size: int = option(
        64, low=1, high=4096, help="Samples per pass; their activations are held in memory."
    )


@METRICS.register(
    "masked_kl",
    title="Masked divergence (after OHQ)",
    answers="How far do the class probabilities move when part of the layer's weights is lost?",
    reference="Huang et al. 2023 (OHQ), arXiv:2309.01945",
    needs=("candidates",),
    options=MaskedKLOptions,
    cost="1 forward pass and 2 L × K suffixes of one",
)
def masked_kl(task: SensitivityTask, options: MaskedKLOptions) -> Work[ScoreTable]:
    """Mean KL(masked || unmasked) of the softmax outputs, in nats.

    Both networks have the layer's weight quantized and everything else in float; in the masked one
    a random ``share`` of that weight is zero. A layer's mask depends on the seed and the layer's
    place alone. Forward only and label-free. Activation formats do not enter; a weight that stays
    float scores 0.

    Raises:
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    need_candidates(task, "masked_kl")
    network, layers = task.network, task.network.table.layers
    formats = [name for name in dict.fromkeys(c.weight for c in task.candidates) if name != FLOAT]
    weights = tuple(Candidate(name, FLOAT) for name in formats)
    plans = IsolatedPlans.of(task, weights)

    @cache
    def mask(i: int) -> Tensor:
        return random_mask(layers[i].weight_shape, options.share, options.seed, i)

    def batch_of(batch: range) -> Work[Mapping[str, FloatArray]]:
        x = task.inputs(batch)
        found = np.zeros((len(batch), len(layers), len(formats)))
        with torch.no_grad():
            _, prefix = network.capture(x)
        for i, layer in enumerate(layers):
            for f, candidate in enumerate(weights):
                plan = plans.plan(layer, candidate)
                masked = Plan(
                    weights={
                        c: w.masked_fill(mask(i).to(w.device), 0.0) for c, w in plan.weights.items()
                    }
                )
                with torch.no_grad():
                    pair = [network.resume(x, prefix, each) for each in (masked, plan)]
                found[:, i, f] = kl_divergence(*pair).cpu().numpy()
                yield Progress(i * len(formats) + f, 0, f"`{layer.name}`")
        return {"divergence": found}

    found = yield from in_batches(
        task, options.batch_size, max(len(layers) * len(formats), 1), batch_of
    )
    rows = np.zeros((task.n, len(layers), len(task.candidates)))
    for c, candidate in enumerate(task.candidates):
        if candidate.weight != FLOAT:
            rows[:, :, c] = found["divergence"][:, :, formats.index(candidate.weight)]
    return score_table(
        task,
        "masked_kl",
        options,
        unit="nats",
        begin=begin,
        passes=(1 + 2 * len(layers) * len(formats), 0),
        rows=rows,
        exact=False,
        seed=options.seed,
        notes=(
            "Our reading of OHQ's abstract; the paper's masks and normalisation may differ.",
            "What the mask removes, not what rounding changes, makes up the score: it says which "
            "layers matter, not how many bits they need, and often rises with the bits.",
        ),
    )


def random_mask(shape: tuple[int, ...], share: float, seed: int, layer: int) -> Tensor:
    """Return a random mask with exactly round(share * size) entries set.

    Args:
        shape: Shape of the layer's weight.
        share: Share of its entries to mask.
        seed: Seed.
        layer: The layer's place in the table; together with the seed it decides the mask.
    """
    size = int(np.prod(shape))
    order = np.random.default_rng([seed, layer]).permutation(size)
    return torch.from_numpy(order < round(share * size)).reshape(shape)
