"""A model with its observed dataflow and its BatchNorms folded: what every method works on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from analysis.errors import DataflowError, UnknownNameError
from analysis.models.calls import INPUT, Slot
from analysis.models.dataflow import Trace, observe
from analysis.models.folding import final_activation, fold_batchnorm
from analysis.models.independence import check_independent
from analysis.models.prefix import Prefix
from analysis.models.replay import Plan, run
from analysis.models.samples import SampleAxis, sample_axes
from analysis.models.table import layer_table
from analysis.records import Layer, LayerTable

# Relative to the largest logit; folding in float64 leaves float32 rounding only.
FOLDING_TOLERANCE = 1e-3
NOTHING = Plan()


@dataclass(frozen=True, slots=True)
class Network:
    """A live model, its calls and its layers. Immutable: the module is never changed.

    Running it applies the folding plan; further plans come on top. A softmax at the end is cut
    off, so the output is logits (N, C).
    """

    module: nn.Module
    trace: Trace
    table: LayerTable
    plan: Plan
    axes: Mapping[Slot, SampleAxis]

    def __call__(self, x: Tensor, plan: Plan = NOTHING) -> Tensor:
        """Return the logits (N, C) of a batch under a plan."""
        return run(self.module, self.trace, x, self.plan.then(plan))

    def capture(self, x: Tensor) -> tuple[Tensor, Prefix]:
        """Return the float logits of a batch, and its activations to start passes in the middle."""
        prefix = Prefix()
        return run(self.module, self.trace, x, self.plan, record=prefix), prefix

    def capture_from(
        self, x: Tensor, prefix: Prefix, plan: Plan, *, start: int | None = None
    ) -> tuple[Tensor, Prefix]:
        """Return the logits under a plan and its activations, from those of an earlier pass.

        What the plan cannot change is shared with ``prefix``, not copied.

        Args:
            x: The batch that ``prefix`` was captured on.
            prefix: Activations of the float pass, or of a pass that agrees before ``start``.
            plan: Everything that differs from the float network.
            start: First call to execute, the first one that the plan changes by default.
        """
        start = self._start(plan.first_call if start is None else start)
        record = Prefix(dict(prefix.outputs), prefix.results[:start], prefix.only)
        both = self.plan.then(plan)
        logits = run(self.module, self.trace, x, both, start=start, prefix=prefix, record=record)
        return logits, record

    def resume(self, x: Tensor, prefix: Prefix, plan: Plan, *, start: int | None = None) -> Tensor:
        """Return the logits under a plan, executing only the calls that the plan can change.

        Falls back to the whole pass for models whose Python code reads tensor values
        (:attr:`can_resume` is False), where earlier calls cannot be passed over.

        Args:
            x: The batch that ``prefix`` was captured on.
            prefix: Activations of the float pass, or of a pass under a part of the plan.
            plan: Everything that differs from the float network.
            start: First call that ``prefix`` does not hold as the plan wants it, the first one that
                the plan changes by default.
        """
        return run(
            self.module,
            self.trace,
            x,
            self.plan.then(plan),
            start=self._start(plan.first_call if start is None else start),
            prefix=prefix,
        )

    def _start(self, call: int) -> int:
        """Return where a pass must start so that this call is executed."""
        return min(max(call, 0), self.trace.output[0]) if self.can_resume else 0

    def local(self, x: Tensor, prefix: Prefix, call: int, plan: Plan = NOTHING) -> Tensor:
        """Return the result of one call under a plan that changes this call's arguments."""
        return run(
            self.module,
            self.trace,
            x,
            self.plan.then(plan),
            start=call if self.can_resume else 0,
            stop=call,
            prefix=prefix,
        )

    def per_sample(self, call: int, z: Tensor, n: int) -> Tensor:
        """Return the output of a layer's call with one row per sample, (N, ...)."""
        return self.axes[(call, 0)].first(z, n)

    @property
    def num_classes(self) -> int:
        """Number of logits C."""
        return self.trace.calls[self.trace.output[0]].shapes[self.trace.output[1]][-1]

    @property
    def can_resume(self) -> bool:
        """Whether passes can start in the middle."""
        return not self.trace.reads_values

    def layer(self, name: str) -> Layer:
        """Return the layer called ``name``.

        Raises:
            UnknownNameError: If there is none.
        """
        for layer in self.table.layers:
            if layer.name == name:
                return layer
        raise UnknownNameError("layer", name, self.table.names)

    def weight(self, layer: Layer) -> Tensor:
        """Return the layer's folded weight, detached."""
        call = layer.calls[0]
        if call in self.plan.weights:
            return self.plan.weights[call]
        return self.module.get_parameter(layer.weight_name).detach()

    def bias(self, layer: Layer) -> Tensor | None:
        """Return the layer's folded bias, detached, None where it has none."""
        call = layer.calls[0]
        if call in self.plan.biases:
            return self.plan.biases[call]
        name = self.trace.calls[call].parameters.get(2)
        return None if name is None else self.module.get_parameter(name).detach()


def build_network(module: nn.Module, example: Tensor, *, digest: str = "") -> Network:
    """Observe a model on a batch, fold its BatchNorms and check that nothing else changed.

    Args:
        module: A model in eval mode that maps a batch to logits (N, C).
        example: A batch of at least two samples, preprocessed.
        digest: Identifies the model in the layer table.

    Raises:
        DataflowError: If the model is in training mode, does not return finite logits, makes other
            calls on a second pass, or gives other outputs when replayed or folded; if the batch or
            a parameter is not finite; if samples of a batch influence each other.
    """
    training = [name for name, child in module.named_modules() if child.training]
    if training:
        raise DataflowError(
            f"The model must be in eval mode, `{training[0] or 'model'}` is in training mode: call "
            "`.eval()` on the whole model before building it."
        )
    _check_finite(module, example)
    with torch.no_grad(), _accepting(f"batches of shape {tuple(example.shape)}"):
        module(example.clone())  # Some models fill tables of their own on the first pass.
        original = module(example.clone())
    trace = observe(module, example.clone())
    _check_output(original, trace)
    folding = fold_batchnorm(module, trace)
    cut = Plan(skip=final_activation(trace))
    with torch.no_grad():
        replayed = run(module, trace, example, NOTHING)
        plain = run(module, trace, example, cut)
        again = run(module, trace, example, cut)
        folded = run(module, trace, example, folding.plan | cut)
    _check_finite_logits(module, trace, example, plain)
    if not torch.equal(plain, again):
        raise DataflowError(
            "The model must give the same outputs for the same batch, two passes differ by up to "
            f"{(plain - again).abs().max().item():.3g}. Make its random parts deterministic."
        )
    same = torch.equal(replayed, original)  # log-softmax may be -inf
    if not same and not _relative_error(replayed, original) <= FOLDING_TOLERANCE:
        raise DataflowError(
            "Replaying the model's calls must give its outputs, it changed them by up to "
            f"{(replayed - original).abs().max().item():.3g}. Does the code rely on an activation "
            "with `inplace=True` changing a tensor that is read again?"
        )
    error = _relative_error(folded, plain)
    if not error <= FOLDING_TOLERANCE:
        raise DataflowError(
            f"Folding BatchNorm must not change the outputs beyond {FOLDING_TOLERANCE:g} of the "
            f"largest logit, it changed them by {error:.3g}."
        )
    slots = [(call.index, i) for call in trace.calls for i in range(len(call.shapes))]
    with _accepting("any number and order of samples like these"):
        axes = sample_axes(module, trace, example, slots)
        check_independent(module, trace, axes, example)
    table = layer_table(module, trace, folding, axes, digest=digest)
    if not table.layers:
        raise DataflowError(
            "The model must hold at least one convolution or linear layer, none was called."
        )
    return Network(module=module, trace=trace, table=table, plan=folding.plan | cut, axes=axes)


@contextmanager
def _accepting(what: str) -> Iterator[None]:
    """Turn what the model's own code raises into a refusal; ours stay as they are."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as failure:
        raise DataflowError(f"The model must accept {what}, it failed: {failure}") from failure


def _check_finite(module: nn.Module, example: Tensor) -> None:
    if len(example) == 0:
        raise DataflowError("The example batch must hold at least one sample, it is empty.")
    if not example.isfinite().all():
        raise DataflowError(
            "The example batch must be finite, it holds NaN or infinite values. Check the images "
            "and their normalisation."
        )
    broken = [name for name, p in module.named_parameters() if not p.isfinite().all()]
    if broken:
        raise DataflowError(
            f"Weights must be finite, {_listed(broken)} hold NaN or infinite values. Load other "
            "weights."
        )


def _check_output(output: Tensor, trace: Trace) -> None:
    if INPUT in trace.mutated:
        raise DataflowError(
            "The model must not change its input, it writes into it in place. Clone it first."
        )
    if output.dim() != 2 or len(output) != trace.batch or not output.is_floating_point():
        raise DataflowError(
            f"The model must return floating-point logits of shape (N, C), for a batch of "
            f"{trace.batch} it returned {output.dtype} of shape {tuple(output.shape)}."
        )


def _check_finite_logits(module: nn.Module, trace: Trace, example: Tensor, logits: Tensor) -> None:
    wrong = int((~logits.isfinite()).sum())
    if not wrong:
        return
    broken = [name for name, b in module.named_buffers() if not b.isfinite().all()]
    hint = f"{_listed(broken)} hold such values." if broken else "Check the weights and the images."
    raise DataflowError(
        f"Logits must be finite, {wrong} of {logits.numel()} are NaN or infinite"
        f"{_first_broken(module, trace, example)}. {hint}"
    )


def _first_broken(module: nn.Module, trace: Trace, example: Tensor) -> str:
    """Name the first call that gives NaN or +infinity, empty if none is known; masks hold -inf."""
    record = Prefix()
    with torch.no_grad():
        run(module, trace, example, NOTHING, record=record)
    for slot, value in sorted(record.outputs.items()):
        if value.is_floating_point() and bool((value.isnan() | (value == torch.inf)).any()):
            call = trace.calls[slot[0]]
            return f", the first of them from {call.name} in `{call.module or 'the model itself'}`"
    return ""


def _relative_error(output: Tensor, reference: Tensor) -> float:
    largest = max(reference.abs().max().item(), 1e-12)
    return (output - reference).abs().max().item() / largest


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
