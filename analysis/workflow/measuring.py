"""From an allocation to a quantized network and what it measures."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from analysis.allocation.problem import allocation_costs
from analysis.catalog import FLOAT, configurations_kind, study_id, study_key_inputs
from analysis.commands import command_line
from analysis.evaluation.accuracy import evaluation, logits
from analysis.events import Note, Work, noted
from analysis.models.network import Network
from analysis.models.replay import Plan
from analysis.options import as_dict
from analysis.quant.configure import check_allocation
from analysis.quant.split import costs_with
from analysis.records import Configuration, Evaluation, FloatOutputs, Study
from analysis.steps import Step, StoredParts
from analysis.workflow.naming import default_name
from analysis.workflow.opening import BATCH, model_inputs
from analysis.workflow.recipe import Recipe, quantized
from analysis.workspace import LoadedStudy, Workspace, evaluation_inputs


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


def quantize(
    workspace: Workspace, study: Study, recipe: Recipe, *, name: str = ""
) -> Step[Configuration]:
    """Quantize the network by a recipe and measure it on the evaluation set.

    Args:
        workspace: Where to work.
        study: The study.
        recipe: The allocation and how it is realised.
        name: What to call the configuration; it is listed under this name.
    """
    allocation, settings = recipe.allocation, recipe.settings
    name = name or default_name(recipe)

    def work(parts: StoredParts) -> Work[Configuration]:
        del parts
        begin = perf_counter()
        loaded = workspace.live(study)
        check_allocation(loaded.network, allocation)
        reference = yield from float_outputs(workspace, study).need(workspace.store)
        made, notes = yield from noted(quantized(workspace, study, recipe))
        yield from _widest_clipping(made.quantization.ranges)
        measured = yield from measure(loaded, made.network, made.plan, reference)
        return Configuration(
            name=name,
            study=study_id(study),
            method=recipe.method,
            options=as_dict(recipe.chosen),
            settings=settings,
            recalibrations=recipe.recalibrations,
            allocation=allocation,
            costs=costs_with(
                loaded.network.table,
                allocation,
                allocation_costs(loaded.network.table, allocation),
                made.quantization.splits,
            ),
            ranges=made.quantization.ranges,
            measured=measured,
            seconds=perf_counter() - begin,
            notes=notes,
        )

    return Step(
        name="quantize",
        version=recipe.version,
        title=f"Quantize and measure {name}",
        command=command_line("quantize", study.spec, recipe.flags | {"name": name}),
        record=Configuration,
        inputs=study_key_inputs(study),
        options=recipe.key,
        work=work,
        names=((configurations_kind(study), name),),
    )


def measure(
    loaded: LoadedStudy, network: Network, plan: Plan, reference: FloatOutputs
) -> Work[Evaluation]:
    """Measure a network under a plan on the evaluation set; compare it with the float network."""
    begin = perf_counter()
    outputs = yield from logits(
        network,
        evaluation_inputs(loaded),
        loaded.study.evaluation.n,
        plan=plan,
        batch_size=BATCH,
        message="quantized network",
        checkpoints=loaded.checkpoints,
    )
    return evaluation(
        outputs,
        loaded.evaluation.labels,
        reference.logits,
        digest=loaded.study.evaluation.digest,
        begin=begin,
        compare=True,
    )


def _widest_clipping(ranges: Sequence[Any]) -> Work[None]:
    clipped = [r for r in ranges if r.clipped > 0.05]
    if clipped:
        worst = max(clipped, key=lambda r: r.clipped)
        yield Note(
            f"{len(clipped)} quantizers clip more than 5 % of their values, most of all the "
            f"{worst.role} `{worst.name}` ({worst.clipped:.0%}, {worst.format})."
        )
