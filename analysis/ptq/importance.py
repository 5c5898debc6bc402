"""How much an error of a layer's output counts, on every sample and element."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.curvature.fisher import fisher_elements
from analysis.events import Note, Progress, Work
from analysis.ptq.teacher import Teacher
from analysis.ptq.wording import mebibytes
from analysis.quant.straight_through import squared_errors

WEIGHTINGS = ("attention", "balanced", "averaged", "fisher", "none")
_BATCH = 64
_VARIANCE_SAMPLES = 256
_BYTES_PER_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Importance:
    """Weights of squared errors: ``layers`` (N, L) times, where there are any, ``elements``.

    ``elements`` gives, for the numbers of B samples, a weight of every element of every layer's
    output, (B, ...) each.
    """

    layers: Tensor
    elements: Callable[[Tensor], list[Tensor]] | None = None

    def errors(self, found: list[Tensor], wanted: list[Tensor], samples: Tensor) -> Tensor:
        """Return the weighted squared errors of the samples with these numbers, (B, L)."""
        weights = [None] * len(found) if self.elements is None else self.elements(samples)
        errors = [squared_errors(*three) for three in zip(found, wanted, weights, strict=True)]
        return torch.stack(errors, dim=1) * self.layers[samples]


def importance(
    teacher: Teacher, weighting: str, *, probes: int, seed: int, memory_mib: float
) -> Work[Importance]:
    """Weigh the layers' outputs; outputs that are off by as much as they vary make a loss of 1.

    Args:
        teacher: The float network on the calibration samples.
        weighting: ``attention``: by the squared Jacobian norm of the sample and layer, per element
            (EPTQ, arXiv:2309.11531); ``averaged``: its mean over the samples; ``balanced``: by a
            sample's share of its layer's attention, while layers count alike for what their outputs
            vary; ``none``: for that alone; ``fisher``: by the diagonal Fisher information of every
            element (BRECQ, arXiv:2102.05426), for the labels that the float network expects.
        probes: Backward passes; exact up to so many classes.
        seed: Of the probes.
        memory_mib: Memory for weights of single elements, in MiB.
    """
    found = yield from _weights(teacher, weighting, probes, seed, memory_mib)
    samples = torch.arange(min(_VARIANCE_SAMPLES, teacher.n), device=teacher.x.device)
    z, _ = teacher.outputs(samples)
    means = [each.mean(0, keepdim=True) if len(each) > 1 else 0.0 * each for each in z]
    off = found.errors(z, [m.expand_as(each) for m, each in zip(means, z, strict=True)], samples)
    whole = off.sum(1).mean()
    return Importance(found.layers / whole, found.elements) if whole > 0 else found


def _weights(
    teacher: Teacher, weighting: str, probes: int, seed: int, memory_mib: float
) -> Work[Importance]:
    """Return the weights up to one factor."""
    if weighting == "fisher":
        elements = yield from _fisher(teacher, probes, seed, memory_mib)
        return Importance(teacher.x.new_ones(teacher.n, len(teacher.calls)), elements)
    varies = teacher.variances()
    even = torch.where(varies > 1e-12 * varies.max(), 1.0 / varies, 0.0).expand(teacher.n, -1)
    if weighting == "none":
        return Importance(even)
    attention = yield from teacher.attention(probes, seed)
    mean = attention.mean(0, keepdim=True).expand_as(attention)
    if weighting == "balanced":
        return Importance(even * attention / mean.clamp_min(1e-12))
    return Importance(mean if weighting == "averaged" else attention)


def _fisher(
    teacher: Teacher, probes: int, seed: int, memory_mib: float
) -> Work[Callable[[Tensor], list[Tensor]]]:
    """Return what gives the Fisher information of samples' elements, kept where it fits."""

    def computed(samples: Tensor) -> list[Tensor]:
        return list(
            fisher_elements(
                teacher.network,
                teacher.calls,
                teacher.x[samples],
                probes=probes,
                samples=samples.tolist(),
                seed=seed,
            )
        )

    if teacher.mib > memory_mib:
        yield Note(
            f"Weights of single elements take {mebibytes(teacher.mib)}, more than "
            f"{mebibytes(memory_mib)}: they are computed again for every batch."
        )
        return computed
    parts = []
    for samples in torch.split(torch.arange(teacher.n, device=teacher.x.device), _BATCH):
        parts.append(computed(samples))
        yield Progress(int(samples[0]), teacher.n, "Fisher information of outputs")
    kept = [torch.cat(column) for column in zip(*parts, strict=True)]
    return lambda samples: [each[samples] for each in kept]
