r"""HAWQ-V2: mean curvature of the loss at a layer's weight, times the squared error of the weight.

The second-order term of the loss is :math:`\tfrac12 \Delta w^T H \Delta w`. Where the error has no
preferred direction its mean is

.. math:: \Omega_l = \tfrac12 \, \frac{\operatorname{tr} H_l}{p_l} \, \lVert \Delta w_l \rVert^2

with :math:`p_l` weights. The factor 1/2, which the paper leaves out, makes it nats of loss; it is
the same for all layers and changes no ranking. See arXiv:1911.03852.

The trace is estimated by Hutchinson's method. A product for one layer alone costs the backward pass
down to this layer; one shared by all layers costs a single whole pass, but their couplings are
added to the noise. On the demo networks separate products cost 3 to 6 times as much per probe and
have 9 to 20 times less variance in the median layer, 70 to 180 times less in some, so they are the
default.
"""

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch

from analysis.curvature.hessian import gradient_graph, quadratic_forms, signs
from analysis.events import Progress, Work
from analysis.options import Options, option
from analysis.records import FLOAT, FloatArray, ScoreTable
from analysis.sensitivity.isolated import IsolatedPlans
from analysis.sensitivity.tables import score_table
from analysis.sensitivity.task import METRICS, SensitivityTask

UNIT = "nats per squared weight"


@dataclass(frozen=True, slots=True)
class HessianTraceOptions(Options):
    """Options of :func:`hessian_trace`."""

    probes: int = option(50, low=2, high=10_000, help="Random probes allowed per layer.")
    min_probes: int = option(
        10, low=2, high=10_000, help="Probes before the estimate of a layer may be called good."
    )
    tolerance: float = option(
        0.1,
        low=0.0,
        high=1.0,
        help="A layer is done when its standard error is below this share of its trace or of the "
        "median layer's, whichever is larger; 0 uses every probe.",
    )
    shared: bool = option(
        False, help="One product for all layers instead of one each: less work, far more noise."
    )
    samples: int = option(
        256, low=0, high=10_000_000, help="Samples that are used, the first ones; 0 for all."
    )
    batch_size: int = option(32, low=1, high=4096, help="Samples per pass; bounds the memory.")
    seed: int = option(0, low=0, high=2**31 - 1, help="Seed of the random signs.")


@METRICS.register(
    "hessian_trace",
    title="Hessian trace",
    answers="How strongly does the loss curve, on average, when the layer's weights are disturbed?",
    reference="Dong et al. 2020 (HAWQ-V2), arXiv:1911.03852",
    needs=("labels", "backward"),
    options=HessianTraceOptions,
    cost="1 forward and 1 backward pass per probe, and 1 second derivative per probe and layer",
)
def hessian_trace(task: SensitivityTask, options: HessianTraceOptions) -> Work[ScoreTable]:
    """Score layers by the mean trace of their block of the Hessian, candidates in nats.

    Standard errors are those of the probes. Negative traces are kept: attention and GELU can have
    them, a network of convolutions, linear layers and ReLUs only by the noise of the probes.

    Raises:
        DataError: If the samples have no labels.
        DataflowError: If an operation of the model has no second derivative.
    """
    begin = perf_counter()
    task.labels("hessian_trace")
    used = first_samples(task, options.samples)
    layers = used.network.table.layers
    sizes = np.array([layer.num_weights for layer in layers], dtype=np.float64)
    found: list[list[float]] = [[] for _ in layers]
    active = list(range(len(layers)))
    done = 0
    while active and done < options.probes:
        forms = yield from _probe(used, active, done, options)
        for i, form in zip(active, forms, strict=True):
            found[i].append(form / sizes[i])
        done += 1
        active = _unsettled(found, options)
    batches = len(list(used.batches(options.batch_size)))
    yield Progress(options.probes * batches, options.probes * batches, f"{done} probes")
    mean, error = _mean_and_error(found)
    names = used.network.table.names
    notes = [*negative_note(names, mean), *weights_only_note(used)]
    notes.append("Standard errors are those of the random probes, not of the choice of samples.")
    if active and options.tolerance:
        notes.append(
            f"After {done} probes the trace is not known to {options.tolerance:g} in "
            f"{', '.join(f'`{names[i]}`' for i in active)}: allow more probes."
        )
    factors = 0.5 * squared_weight_errors(used) if used.candidates else None
    products = sum(len(f) for f in found) if not options.shared else done
    return score_table(
        used,
        "hessian_trace",
        options,
        unit=UNIT if factors is None else "nats",
        begin=begin,
        passes=(done, done + products),
        values=mean if factors is None else mean[:, None] * factors,
        stderr=error if factors is None else error[:, None] * factors,
        exact=False,
        seed=options.seed,
        notes=notes,
    )


def _probe(
    task: SensitivityTask, active: list[int], probe: int, options: HessianTraceOptions
) -> Work[FloatArray]:
    """Quadratic forms of the mean loss (A,) with one probe, over all batches."""
    kept = task.parts.load(f"probe-{probe}")
    if kept is not None:
        return kept["forms"]
    layers = [task.network.table.layers[i] for i in active]
    labels = task.labels("hessian_trace")
    batches = list(task.batches(options.batch_size))
    places = list(range(len(active)))
    groups = [places] if options.shared else [[k] for k in places]
    total = np.zeros(len(active))
    for number, batch in enumerate(batches):
        x = task.inputs(batch)
        y = torch.tensor(labels[batch.start : batch.stop], device=x.device)
        graph = gradient_graph(task.network, layers, x, y)
        forms = []
        for group in groups:
            vectors = [
                signs(layers[k].weight_shape, (options.seed, probe, active[k])) for k in group
            ]
            forms.append(quadratic_forms(graph, group, vectors))
            yield Progress(
                probe * len(batches) + number, options.probes * len(batches), f"probe {probe + 1}"
            )
        total += np.concatenate(forms)
    total /= task.n
    task.parts.save(f"probe-{probe}", {"forms": total})
    return total


def _mean_and_error(found: list[list[float]]) -> tuple[FloatArray, FloatArray]:
    mean = np.array([np.mean(f) for f in found])
    return mean, np.array([np.std(f, ddof=1) / np.sqrt(len(f)) for f in found])


def _unsettled(found: list[list[float]], options: HessianTraceOptions) -> list[int]:
    """Return the layers that need more probes, all of them while they share products.

    The floor is the median layer's trace: where a trace is near zero a relative error is never
    small, and an error far below what the other layers contribute decides nothing.
    """
    if max(len(f) for f in found) < min(options.min_probes, options.probes):
        return list(range(len(found)))
    mean, error = _mean_and_error(found)
    size = np.abs(mean)
    limit = options.tolerance * np.maximum(size, np.median(size))
    open_ones = [i for i in range(len(found)) if error[i] > limit[i]]
    return list(range(len(found))) if options.shared and open_ones else open_ones


def first_samples(task: SensitivityTask, limit: int) -> SensitivityTask:
    """Return the task on its first ``limit`` samples, on all of them for 0."""
    return replace(task, samples=task.samples.first(limit)) if limit else task


def squared_weight_errors(task: SensitivityTask) -> FloatArray:
    """Return the squared norms (L, C) of quantized minus float weight, summed in float64."""
    plans = IsolatedPlans.of(task)
    layers = task.network.table.layers
    errors = np.zeros((len(layers), len(task.candidates)))
    for i, layer in enumerate(layers):
        weight = task.network.weight(layer).double()
        for c, candidate in enumerate(task.candidates):
            value = plans.quantization(layer, candidate).weight_values.get(layer.name)
            if value is not None:
                errors[i, c] = float((value.double() - weight).square().sum())
    return errors


def weights_only_note(task: SensitivityTask) -> list[str]:
    """Return the note that activation formats are not scored, if there are any."""
    if all(candidate.activation == FLOAT for candidate in task.candidates):
        return []
    return ["Weights alone: what the activation format of a candidate adds is not in its score."]


def negative_note(names: tuple[str, ...], curvature: FloatArray) -> list[str]:
    """Return the note that names the layers of negative curvature, if there are any."""
    negative = [f"`{name}`" for name, c in zip(names, curvature, strict=True) if c < 0]
    if not negative:
        return []
    return [f"Negative curvature, kept as it is: {', '.join(negative)}."]
