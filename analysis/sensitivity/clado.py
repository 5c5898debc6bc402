r"""CLADO: what layers cost alone, and what two of them cost together beyond their sum.

.. math::
    D_i(k) = \ell(i{:}k) - \ell, \quad
    \Omega_{ij}(k, l) = \ell(i{:}k,\, j{:}l) - \ell - D_i(k) - D_j(l)

where the loss of the network with layer i at candidate k, and layer j at candidate l, is measured
by forward passes. See Deng et al. 2023, arXiv:2307.05657.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.events import Note, Progress, Work
from analysis.models.structure import FAR, hops
from analysis.options import Options, option
from analysis.records import BoolArray, FloatArray, IntArray, LayerTable, ScoreTable
from analysis.sensitivity.isolated import IsolatedPlans
from analysis.sensitivity.outputs import kl_divergence
from analysis.sensitivity.tables import harshest, need_candidates, score_table, with_pairs
from analysis.sensitivity.task import METRICS, SensitivityTask, in_batches

KL, CROSS_ENTROPY = "kl", "cross_entropy"
ORDER, GRAPH = "order", "graph"

# Float logits (B, C), logits (B, C) and labels (B,), if any, to losses (B,).
Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, slots=True)
class CladoOptions(Options):
    """Options of :func:`clado`."""

    loss: str = option(
        KL,
        choices=(KL, CROSS_ENTROPY),
        help="Divergence from the float network, or the cross-entropy, which needs labels.",
    )
    samples: int = option(
        128, low=0, high=1_000_000, help="Samples that are used, the first of the set; 0 for all."
    )
    reach: int = option(
        0, low=0, high=10_000, help="Measure pairs at most this many layers apart; 0 for all pairs."
    )
    distance: str = option(
        ORDER,
        choices=(ORDER, GRAPH),
        help="Apart in network order, or in steps from a layer to those that read its output.",
    )
    same_block: bool = option(
        False, help="Measure pairs only within a block, such as a residual one."
    )
    lowest_only: bool = option(
        False, help="Measure pairs only with both layers at the candidate of fewest bits."
    )
    batch_size: int = option(
        64, low=1, high=4096, help="Samples per pass; their activations are held in memory twice."
    )


def passes(table: LayerTable, candidates: int, options: CladoOptions) -> int:
    """Return the forward passes per batch: the float one, every layer alone, every pair."""
    each = 1 if options.lowest_only else candidates**2
    pairs = int(np.triu(near(table, options), 1).sum())
    return 1 + len(table.layers) * candidates + pairs * each


def near(table: LayerTable, options: CladoOptions) -> BoolArray:
    """Return which pairs of layers are measured, (L, L), symmetric."""
    places = np.arange(len(table.layers))
    block = np.array([layer.block for layer in table.layers])
    apart = hops(table) if options.distance == GRAPH else abs(places[:, None] - places)
    measured = np.asarray(places[:, None] != places)
    if options.reach:
        measured &= (apart <= options.reach) & (apart != FAR)
    if options.same_block:
        measured &= block[:, None] == block
    return measured


@METRICS.register(
    "clado",
    title="Pairwise loss increase",
    answers="How much does the loss rise when this layer is quantized, alone and with another?",
    reference="Deng et al. 2023 (CLADO), arXiv:2307.05657",
    needs=("candidates",),
    options=CladoOptions,
    cost="1 forward pass, L × K suffixes of one, and K² of them for every pair of layers",
    passes=passes,
)
def clado(task: SensitivityTask, options: CladoOptions) -> Work[ScoreTable]:
    """Mean rise of the loss over the float network's, in nats, of layers and of pairs of layers.

    Forward only. A pair is measured from the activations kept of one of its layers alone. Where
    both layers read one tensor and want it in different formats, the later layer in network order
    decides; allocations give such layers one activation format.

    Raises:
        DataError: If the loss is the cross-entropy and the samples have no labels.
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    need_candidates(task, "clado")
    if options.loss == CROSS_ENTROPY:
        task.labels("clado")
    if options.samples:
        task = replace(task, samples=task.samples.first(options.samples))
    loss = kl_loss if options.loss == KL else cross_entropy_loss
    found = yield from pair_losses(task, options, loss)
    layers = task.network.table
    table = score_table(
        task,
        "clado",
        options,
        unit="nats",
        begin=begin,
        passes=(passes(layers, len(task.candidates), options), 0),
        rows=found.single,
        notes=_notes(task, options, found),
    )
    kept = np.isin(layers.names, table.layers)
    return with_pairs(table, interactions=found.interactions()[kept][:, :, kept])


def predicted(values: FloatArray, interactions: FloatArray, choice: IntArray) -> float:
    """Return the predicted total of a choice: single scores plus every pair's interaction.

    Args:
        values: Scores of layers alone, (L, C).
        interactions: Of pairs, (L, C, L, C), symmetric.
        choice: Index of each layer's candidate, (L,).
    """
    each = np.arange(len(values))
    pairs = interactions[each[:, None], choice[:, None], each, choice]  # (L, L)
    return float(values[each, choice].sum() + np.triu(pairs, 1).sum())


def kl_loss(plain: Tensor, logits: Tensor, labels: Tensor | None) -> Tensor:
    """Return KL(float || quantized) of the softmax outputs of every sample, nats."""
    del labels
    return kl_divergence(plain, logits)


def cross_entropy_loss(plain: Tensor, logits: Tensor, labels: Tensor | None) -> Tensor:
    """Return the cross-entropy of every sample, nats."""
    del plain
    assert labels is not None
    return F.cross_entropy(logits.double(), labels.to(logits.device), reduction="none")


@dataclass(frozen=True, slots=True)
class PairLosses:
    """Rises of a loss: ``single`` (N, L, C) of layers alone, and moments of what pairs add.

    ``pairs`` (P, 4) holds layer, candidate, layer, candidate of every measured pair, ``mean`` and
    ``stderr`` (P,) the interaction over the samples and its standard error, NaN for one sample.
    """

    single: FloatArray
    pairs: IntArray
    mean: FloatArray
    stderr: FloatArray

    def interactions(self) -> FloatArray:
        """Return the interactions (L, C, L, C), symmetric; 0 where none was measured."""
        result = np.zeros((*self.single.shape[1:], *self.single.shape[1:]))
        i, k, j, m = self.pairs.T
        result[i, k, j, m] = result[j, m, i, k] = np.nan_to_num(self.mean, posinf=0.0, neginf=0.0)
        return result


@dataclass(frozen=True, slots=True)
class _Trial:
    """A layer at a candidate, the first call that this changes, and the trials to pair it with."""

    layer: int
    candidate: int
    first_call: int
    partners: tuple["_Trial", ...] = ()


def pair_losses(task: SensitivityTask, options: CladoOptions, loss: Loss) -> Work[PairLosses]:
    """Measure what a loss rises by with each layer, and each pair of layers, quantized.

    Activations of two passes over a batch are held at a time. Every layer's pairs are kept when
    they are done, so that an interrupted measurement loses little.
    """
    network, layers = task.network, task.network.table.layers
    if not network.can_resume:
        yield Note(
            f"The model's code reads tensor values (`{network.trace.reads_values}`): every pass "
            "runs the whole network."
        )
    plans = IsolatedPlans.of(task)
    trials = _trials(task, plans, options)
    steps = passes(network.table, len(task.candidates), options) - 1

    def batch_of(batch: range) -> Work[Mapping[str, FloatArray]]:
        x, labels = task.inputs(batch), task.samples.labels
        target = None if labels is None else torch.tensor(labels[batch.start : batch.stop])
        with torch.no_grad():
            logits, prefix = network.capture(x)
        float_loss = loss(logits, logits, target)

        def rise(z: Tensor) -> Tensor:
            return (loss(logits, z, target) - float_loss).double().cpu()

        single = torch.zeros(len(batch), len(layers), len(task.candidates), dtype=torch.float64)
        moments, done = [], 0
        for place, trial in enumerate(trials):
            title, name = f"`{layers[trial.layer].name}`", f"samples-{batch.start}-trial-{place}"
            part = task.parts.load(name)
            if part is None:
                plan = plans.plan(layers[trial.layer], task.candidates[trial.candidate])
                with torch.no_grad():
                    z, after = network.capture_from(x, prefix, plan)
                alone, sums = rise(z), np.zeros((2, len(trial.partners)))
                for row, other in enumerate(trial.partners):
                    added = plans.plan(layers[other.layer], task.candidates[other.candidate])
                    both = plan | added if trial.layer < other.layer else added | plan
                    with torch.no_grad():
                        z = network.resume(x, after, both, start=other.first_call)
                    beyond = rise(z) - alone - single[:, other.layer, other.candidate]
                    sums[:, row] = float(beyond.sum()), float(beyond.square().sum())
                    yield Progress(done + row, 0, title)
                part = {"single": alone.numpy(), "sums": sums}
                task.parts.save(name, part)
            single[:, trial.layer, trial.candidate] = torch.tensor(part["single"])
            moments.append(part["sums"])
            done += 1 + len(trial.partners)
            yield Progress(done - 1, 0, title)
        return {"single": single.numpy(), "sums": np.concatenate(moments, axis=1)[None]}

    found = yield from in_batches(task, options.batch_size, steps, batch_of)
    pairs = [(a.layer, a.candidate, b.layer, b.candidate) for a in trials for b in a.partners]
    with np.errstate(invalid="ignore"):
        total, squares = found["sums"].sum(0)
        mean = total / task.n
        spread = np.maximum(squares - task.n * mean**2, 0.0)
        stderr = np.sqrt(spread / (task.n * (task.n - 1))) if task.n > 1 else spread * np.nan
    return PairLosses(
        single=found["single"],
        pairs=np.array(pairs, dtype=np.int64).reshape(-1, 4),
        mean=mean,
        stderr=stderr,
    )


def _trials(
    task: SensitivityTask, plans: IsolatedPlans, options: CladoOptions
) -> tuple[_Trial, ...]:
    """Return every layer at every candidate, those that change the latest calls first.

    A trial's partners come before it: their own losses are known, and they change nothing before
    the trial does.
    """
    lowest = harshest(task)
    alone = [
        _Trial(i, c, plans.plan(layer, candidate).first_call)
        for i, layer in enumerate(task.network.table.layers)
        for c, candidate in enumerate(task.candidates)
    ]
    measured = near(task.network.table, options)
    alone.sort(key=lambda t: (t.first_call, t.layer, t.candidate), reverse=True)

    def paired(first: _Trial, second: _Trial) -> bool:
        if not measured[first.layer, second.layer]:
            return False
        return not options.lowest_only or first.candidate == second.candidate == lowest

    return tuple(
        replace(trial, partners=tuple(other for other in alone[:place] if paired(trial, other)))
        for place, trial in enumerate(alone)
    )


def _notes(task: SensitivityTask, options: CladoOptions, found: PairLosses) -> tuple[str, ...]:
    notes = []
    layers = len(task.network.table.layers)
    every = layers * (layers - 1) // 2
    measured = int(np.triu(near(task.network.table, options), 1).sum())
    if measured < every:
        limits = [
            f"at most {options.reach} apart"
            + (" in the graph of layers" if options.distance == GRAPH else " in network order")
            if options.reach
            else "",
            "in one block" if options.same_block else "",
        ]
        notes.append(
            f"{measured} of {every} pairs of layers were measured, those "
            f"{' and '.join(limit for limit in limits if limit)}; the others count as not "
            "interacting."
        )
    if options.lowest_only and len(task.candidates) > 1:
        notes.append(
            f"Pairs were measured at {task.candidates[harshest(task)].text} only; at other "
            "candidates they count as not interacting."
        )
    if infinite := int((~np.isfinite(found.mean)).sum()):
        notes.append(
            f"{infinite} of {len(found.mean)} interactions are NaN or infinite and count as not "
            "measured."
        )
    changing = found.stderr > 0
    if changing.any():
        beyond = int((np.abs(found.mean) > 2 * found.stderr)[changing].sum())
        notes.append(
            f"{beyond} of {int(changing.sum())} interactions exceed twice their standard error; "
            "about 5 % would by chance."
        )
    shared = any(len(tensor.readers) > 1 for tensor in task.network.table.tensors)
    if shared and task.settings.scope == "tensor":
        notes.append(
            "Two layers that read one tensor both count its error; their interaction takes the "
            "second count back. Where they want different formats, the later layer's holds."
        )
    return tuple(notes)
