"""From an allocation to a quantized network and what it measures."""

from collections.abc import Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Any

from analysis.allocation.problem import allocation_costs
from analysis.catalog import FLOAT, configurations_kind, study_id, study_key_inputs
from analysis.commands import changed_options, changed_settings, command_line
from analysis.evaluation.accuracy import evaluation, logits
from analysis.events import Note, Work
from analysis.models.network import NOTHING
from analysis.models.replay import Plan
from analysis.options import Options, as_dict
from analysis.ptq import PTQ_METHODS, PTQTask
from analysis.quant.configure import Quantization, check_allocation, plan_of
from analysis.records import (
    Allocation,
    Configuration,
    Evaluation,
    FloatOutputs,
    QuantSettings,
    Study,
)
from analysis.steps import Step, StoredParts
from analysis.workflow.opening import BATCH, model_inputs, statistics
from analysis.workspace import LoadedStudy, Workspace, calibration_inputs, evaluation_inputs
from cache.keys import digest


def float_outputs(workspace: Workspace, study: Study) -> Step[FloatOutputs]:
    """Measure the folded float network: what every configuration is held against."""

    def work(parts: StoredParts) -> Work[FloatOutputs]:
        del parts
        begin = perf_counter()
        loaded = workspace.live(study)
        outputs = yield from logits(
            loaded.network,
            evaluation_inputs(loaded),
            study.evaluation.n,
            batch_size=BATCH,
            message="float network",
        )
        measured = evaluation(
            outputs,
            loaded.evaluation.labels,
            outputs,
            digest=study.evaluation.digest,
            begin=begin,
            compare=False,
        )
        return FloatOutputs(logits=outputs, measured=measured)

    return Step(
        name="float",
        version=1,
        title="Float accuracy",
        command=command_line("evaluate", study.spec),
        record=FloatOutputs,
        inputs=model_inputs(study) | {"evaluation": study.evaluation.digest},
        options={},
        work=work,
        names=((FLOAT, study_id(study)),),
    )


def quantized(
    workspace: Workspace,
    study: Study,
    allocation: Allocation,
    method: str,
    *,
    options: Options,
    settings: QuantSettings,
) -> Work[Quantization]:
    """Quantize the network as allocated; the result is live and not stored.

    Raises:
        UnknownNameError: If there is no such method.
        QuantizationError: If the allocation does not fit the model.
    """
    loaded = workspace.live(study)
    ranges = yield from statistics(workspace, study).need(workspace.store)
    task = PTQTask(
        network=loaded.network,
        allocation=allocation,
        settings=settings,
        statistics=ranges,
        inputs=calibration_inputs(loaded),
        n=study.calibration.n,
    )
    return (yield from PTQ_METHODS[method].function(task, options))


def quantize(
    workspace: Workspace,
    study: Study,
    allocation: Allocation,
    method: str = "nearest",
    *,
    options: Options | None = None,
    settings: QuantSettings | None = None,
    name: str = "",
    file: str = "allocation.json",
) -> Step[Configuration]:
    """Quantize the network as allocated and measure it on the evaluation set.

    Args:
        workspace: Where to work.
        study: The study.
        allocation: Format of every layer.
        method: A registered post-training method.
        options: The method's options; None for its defaults.
        settings: How formats become quantizers.
        name: What to call the configuration; it is listed under this name.
        file: Allocation file that the equal command line names.

    Raises:
        UnknownNameError: If there is no such method.
    """
    registered = PTQ_METHODS[method]
    options = registered.options() if options is None else options
    settings = settings or QuantSettings()
    name = name or f"{summary(allocation)}, {method}"

    def work(parts: StoredParts) -> Work[Configuration]:
        del parts
        begin = perf_counter()
        loaded = workspace.live(study)
        check_allocation(loaded.network, allocation)
        reference = yield from float_outputs(workspace, study).need(workspace.store)
        quantization = yield from quantized(
            workspace, study, allocation, method, options=options, settings=settings
        )
        yield from _widest_clipping(quantization.ranges)
        measured = yield from measure(
            loaded, plan_of(loaded.network, quantization, settings), reference
        )
        return Configuration(
            name=name,
            study=study_id(study),
            method=method,
            options=as_dict(options),
            settings=settings,
            allocation=allocation,
            costs=allocation_costs(loaded.network.table, allocation),
            ranges=quantization.ranges,
            measured=measured,
            seconds=perf_counter() - begin,
        )

    flags = {"allocation": file, "method": method, "name": name}
    return Step(
        name="quantize",
        version=registered.version,
        title=f"Quantize and measure {name}",
        command=command_line(
            "quantize",
            study.spec,
            flags | changed_options(method=options) | changed_settings(settings),
        ),
        record=Configuration,
        inputs=study_key_inputs(study),
        options={
            "allocation": {n: c.text for n, c in allocation.as_dict().items()},
            "method": method,
            "options": as_dict(options),
            "settings": asdict(settings),
        },
        work=work,
        names=((configurations_kind(study), name),),
    )


def summary(allocation: Allocation) -> str:
    """Say an allocation in a few words: its one candidate, or the mix with a mark of its own."""
    counts: dict[str, int] = {}
    for candidate in allocation.candidates:
        counts[candidate.text] = counts.get(candidate.text, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) == 1:
        return f"uniform {ordered[0][0]}"
    if len(ordered) == 2 and ordered[1][0] == "w8a8" and ordered[1][1] <= 2:
        return f"uniform {ordered[0][0]}, ends w8a8"
    mix = " ".join(f"{n}×{text}" for text, n in ordered)
    # Allocations of one mix differ in which layer has what.
    mark = digest([[name, c.text] for name, c in allocation.as_dict().items()])[:4]
    return f"mixed {mix} #{mark}"


def measure(loaded: LoadedStudy, plan: Plan, reference: FloatOutputs) -> Work[Evaluation]:
    """Measure the network under a plan and compare it with the float network."""
    begin = perf_counter()
    outputs = yield from logits(
        loaded.network,
        evaluation_inputs(loaded),
        loaded.study.evaluation.n,
        plan=plan,
        batch_size=BATCH,
        message="quantized network",
    )
    return evaluation(
        outputs,
        loaded.evaluation.labels,
        reference.logits,
        digest=loaded.study.evaluation.digest,
        begin=begin,
        compare=plan is not NOTHING,
    )


def _widest_clipping(ranges: Sequence[Any]) -> Work[None]:
    clipped = [r for r in ranges if r.clipped > 0.05]
    if clipped:
        worst = max(clipped, key=lambda r: r.clipped)
        yield Note(
            f"{len(clipped)} quantizers clip more than 5 % of their values, most of all the "
            f"{worst.role} `{worst.name}` ({worst.clipped:.0%}, {worst.format})."
        )
