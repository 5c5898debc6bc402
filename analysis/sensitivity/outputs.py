"""What quantized layers do to the logits: measured once, read by every output metric."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from analysis.events import Note, Progress, Work
from analysis.models.network import NOTHING
from analysis.models.replay import Plan
from analysis.records import Candidate, FloatArray, OutputChanges, ScoreTable
from analysis.sensitivity.isolated import IsolatedPlans
from analysis.sensitivity.measured import ACCUMULATED, ISOLATED, MeasuredOptions
from analysis.sensitivity.tables import need_candidates, score_table
from analysis.sensitivity.task import SensitivityTask, in_batches


def output_scores(
    task: SensitivityTask,
    metric: str,
    options: MeasuredOptions,
    unit: str,
    rows: Callable[[OutputChanges], FloatArray],
    notes: Sequence[str] = (),
) -> Work[ScoreTable]:
    """Return the score table of a metric that is a view of the measured outputs.

    Args:
        task: What is scored.
        metric: The metric's registered name.
        options: Its options.
        unit: Unit of its scores.
        rows: Scores (N, L, C) from what was measured.
        notes: What a reader must know beside :func:`notes_on`.

    Raises:
        QuantizationError: If there are no candidates to score.
    """
    begin = perf_counter()
    need_candidates(task, metric)
    changes = yield from output_changes(task, options)
    return score_table(
        task,
        metric,
        options,
        unit=unit,
        begin=begin,
        passes=(1 + len(task.network.table.layers) * len(task.candidates), 0),
        rows=rows(changes),
        protocol=options.protocol,
        notes=(*notes, *notes_on(task, options)),
    )


def output_changes(task: SensitivityTask, options: MeasuredOptions) -> Work[OutputChanges]:
    """Measure the logits under every layer and candidate, unless that was done already.

    Isolated passes reuse the activations before the quantized layer; accumulated ones run whole.
    """
    name = f"outputs, {options.protocol}, batches of {options.batch_size}"
    return (yield from task.shared(name, OutputChanges, lambda own: _measure(own, options), task))


def increments(rows: FloatArray, start: FloatArray, protocol: str) -> FloatArray:
    """Return what each layer adds to a quantity.

    Args:
        rows: The quantity (N, L, C) with layer l, or with every layer up to l, quantized.
        start: The float network's value (N,).
        protocol: ``isolated`` or ``accumulated``.

    Returns:
        Increments (N, L, C) over the float network, or over the layers before.
    """
    first = np.broadcast_to(start[:, None, None], (len(rows), 1, rows.shape[2]))
    if protocol == ISOLATED:
        return np.asarray(rows - first)
    return np.asarray(np.diff(rows, axis=1, prepend=first))


def notes_on(task: SensitivityTask, options: MeasuredOptions) -> tuple[str, ...]:
    """Say what a reader of such scores must know."""
    shared = sum(len(t.readers) > 1 for t in task.network.table.tensors)
    if shared and task.settings.scope == "tensor" and options.protocol == ISOLATED:
        return (
            f"{shared} tensors have several layers as readers; the error of such a tensor is "
            "counted with each of them.",
        )
    return ()


def kl_divergence(logits: Tensor, other: Tensor) -> Tensor:
    """Return KL(softmax(logits) || softmax(other)) per sample (N,), in nats and float64."""
    p = F.log_softmax(logits.double(), dim=1)
    q = F.log_softmax(other.double(), dim=1)
    return (p.exp() * (p - q)).sum(1)


def _measure(task: SensitivityTask, options: MeasuredOptions) -> Work[OutputChanges]:
    begin = perf_counter()
    network, candidates, layers = task.network, task.candidates, task.network.table.layers
    if not network.can_resume:
        yield Note(
            f"The model's code reads tensor values (`{network.trace.reads_values}`): every pass "
            "runs the whole network."
        )
    plans = IsolatedPlans.of(task)

    def batch_of(batch: range) -> Work[Mapping[str, FloatArray]]:
        x = task.inputs(batch)
        labels = None if task.samples.labels is None else task.samples.labels[batch.start :]
        with torch.no_grad():
            logits, prefix = network.capture(x)
        look = _Look.at(logits, labels)
        plain = look.quantities(logits[None])
        rows = {name: np.zeros((len(batch), len(layers), len(candidates))) for name in plain}
        outputs: list[Tensor] = []
        for place, (i, plan) in enumerate(_plans(plans, task, options.protocol)):
            with torch.no_grad():
                if options.protocol == ISOLATED:
                    outputs.append(network.resume(x, prefix, plan))
                else:
                    outputs.append(network(x, plan))
            if len(outputs) == len(candidates):  # one small sum a layer, not one a candidate
                for name, values in look.quantities(torch.stack(outputs)).items():
                    rows[name][:, i] = values.T
                outputs.clear()
            yield Progress(place, 0, f"`{layers[i].name}`")
        power = logits.double().square().mean(1).cpu().numpy()
        floats = {f"float_{name}": plain[name][0] for name in plain if name in ("loss", "correct")}
        return {**rows, **floats, "power": power}

    found = yield from in_batches(task, options.batch_size, len(layers) * len(candidates), batch_of)
    return OutputChanges(
        layers=network.table.names,
        candidates=candidates,
        protocol=options.protocol,
        divergence=found["divergence"],
        error=found["error"],
        power=found["power"],
        loss=found.get("loss"),
        correct=found.get("correct"),
        float_loss=found.get("float_loss"),
        float_correct=found.get("float_correct"),
        seconds=perf_counter() - begin,
    )


def _plans(
    plans: IsolatedPlans, task: SensitivityTask, protocol: str
) -> Iterator[tuple[int, Plan]]:
    """Yield every layer's place and plan, candidate by candidate."""
    before: dict[Candidate, Plan] = dict.fromkeys(task.candidates, NOTHING)
    for i, layer in enumerate(task.network.table.layers):
        for candidate in task.candidates:
            plan = plans.plan(layer, candidate)
            if protocol == ACCUMULATED:
                plan = before[candidate] = before[candidate] | plan
            yield i, plan


@dataclass(frozen=True, slots=True)
class _Look:
    """The float outputs of a batch, to compare others with: logits and log p (B, K), float64."""

    logits: Tensor
    log_p: Tensor
    target: Tensor | None

    @classmethod
    def at(cls, logits: Tensor, labels: NDArray[np.int64] | None) -> "_Look":
        """Look at a batch's logits, and its labels if there are any (more may follow)."""
        exact = logits.double()
        target = None
        if labels is not None:
            target = torch.tensor(labels[: len(logits)], device=logits.device)
        return cls(exact, F.log_softmax(exact, dim=1), target)

    def quantities(self, outputs: Tensor) -> dict[str, FloatArray]:
        """Return what is measured of outputs (C, B, K) for every sample, (C, B) each."""
        exact = outputs.double()
        log_q = F.log_softmax(exact, dim=2)
        found = {
            "divergence": (self.log_p.exp() * (self.log_p - log_q)).sum(2),
            "error": (exact - self.logits).square().mean(2),
        }
        if self.target is not None:
            chosen = self.target.expand(len(outputs), -1)
            found["loss"] = -log_q.gather(2, chosen[:, :, None])[:, :, 0]
            found["correct"] = (exact.argmax(2) == chosen).double()
        return {name: value.cpu().numpy() for name, value in found.items()}
