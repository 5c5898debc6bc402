"""From a study to what its tensors hold, and what a range of one of them costs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from analysis.commands import command_line
from analysis.distributions.collect import collect_distributions, title_of
from analysis.distributions.explorer import explore
from analysis.errors import QuantizationError
from analysis.events import Progress, Work, noted
from analysis.models.network import NOTHING
from analysis.quant.statistics import weight_samples
from analysis.records import Distributions, RangeExploration, Study
from analysis.records.distributions import INPUT, WEIGHT
from analysis.steps import Step, StoredParts
from analysis.workflow.opening import model_inputs, statistics
from analysis.workflow.recalibrating import check_recalibrations, recalibrated, versions
from analysis.workflow.recipe import DEFAULTS, Recipe, quantized
from analysis.workspace import Workspace, calibration_inputs

BATCH = 32


def distributions(
    workspace: Workspace,
    study: Study,
    recipe: Recipe | None = None,
    *,
    recalibrations: Sequence[str] = (),
) -> Step[Distributions]:
    """Describe the weights and activations of every layer on the calibration set.

    Args:
        workspace: Where to work.
        study: The study.
        recipe: How the network is quantized; None for the float network.
        recalibrations: What is done to the float network, where there is no recipe; each spelled
            with its options as ``absorption:padding=interior``.

    Raises:
        UnknownNameError: If there is no such recalibration or option.
        OptionError: If an option's value cannot be read or lies outside its range.
    """
    recalibrations = check_recalibrations(recalibrations)
    named = ", ".join(recalibrations)

    def work(parts: StoredParts) -> Work[Distributions]:
        del parts
        plan, title = NOTHING, f"float after {named}" if named else "float"
        if recipe is None:
            network, notes = yield from noted(recalibrated(workspace, study, recalibrations))
        else:
            made, notes = yield from noted(quantized(workspace, study, recipe))
            network, plan, title = made.network, made.plan, "quantized"
        inputs, n = calibration_inputs(workspace.live(study)), study.calibration.n
        starts = range(0, n, BATCH)
        found = yield from collect_distributions(
            network,
            lambda: (inputs(range(s, min(s + BATCH, n))) for s in starts),
            len(starts),
            plan=plan,
            calibration=study.calibration.digest,
            title=title,
        )
        return replace(found, notes=notes)

    flags = {"recalibrate": named.replace(" ", "")} if recipe is None else recipe.flags
    return Step(
        name="distributions",
        version=1,
        title="Distributions" + (f" after {named}" if named else ""),
        command=command_line("distributions", study.spec, flags),
        record=Distributions,
        inputs=model_inputs(study) | {"calibration": study.calibration.digest},
        options=versions(recalibrations) if recipe is None else recipe.key,
        work=work,
    )


def ranges(
    workspace: Workspace,
    study: Study,
    layer: str,
    role: str,
    format_name: str,
    *,
    per_channel: bool = True,
    percentile: float = DEFAULTS.percentile,
    recalibrations: Sequence[str] = (),
) -> Step[RangeExploration]:
    """Try every range on a layer's weight or on the tensor that it reads.

    Args:
        workspace: Where to work.
        study: The study.
        layer: Name of the layer.
        role: ``weight`` or ``input``: what quantizers act on.
        format_name: A registered format.
        per_channel: Whether every output channel of a weight has a range of its own.
        percentile: What the estimator of this name keeps, in %.
        recalibrations: What is done to the float network before.

    Raises:
        QuantizationError: If no quantizer acts on tensors of this role.
    """
    if role not in (WEIGHT, INPUT):
        raise QuantizationError(
            f"Ranges are tried on what a quantizer acts on, `{WEIGHT}` or `{INPUT}`, got `{role}`."
        )
    per_channel = per_channel and role == WEIGHT
    recalibrations = check_recalibrations(recalibrations)

    def work(parts: StoredParts) -> Work[RangeExploration]:
        del parts
        network = yield from recalibrated(workspace, study, recalibrations)
        found = network.layer(layer)
        if role == WEIGHT:
            axis = found.channel_axis if per_channel else None
            samples, title = weight_samples(network.weight(found), axis), layer
        else:
            seen = yield from statistics(workspace, study, recalibrations).need(workspace.store)
            samples = seen.samples(found.inputs[0])
            title = title_of(network.table.tensors[found.inputs[0]].produced_by)
        yield Progress(0, 1, "trying ranges")
        return explore(
            samples,
            format_name,
            signed=role == WEIGHT,
            title=title,
            per_channel=per_channel,
            percentile=percentile,
        )

    inputs = model_inputs(study)
    if role == INPUT or recalibrations:
        inputs["calibration"] = study.calibration.digest
    options: dict[str, Any] = {"layer": layer, "role": role, "format": format_name}
    flags = {
        "layer": layer,
        "format": format_name,
        "recalibrate": ",".join(recalibrations),
        "per-tensor": not per_channel and role == WEIGHT,
        "percentile": "" if percentile == DEFAULTS.percentile else percentile,
    }
    return Step(
        name="ranges",
        version=1,
        title=f"Ranges of {layer}",
        command=command_line("distributions", study.spec, flags),
        record=RangeExploration,
        inputs=inputs,
        options=options
        | {"per_channel": per_channel, "percentile": percentile}
        | versions(recalibrations),
        work=work,
    )
