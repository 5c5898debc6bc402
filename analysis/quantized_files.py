"""Quantized models as files: written after a quantization, measured again from the file alone."""

from hashlib import sha256
from pathlib import Path

from analysis.catalog import study_key_inputs
from analysis.commands import command_line
from analysis.errors import QuantizationError
from analysis.events import Work
from analysis.quant.configure import plan_of
from analysis.quant.packing import Packed, pack, unpack
from analysis.records import Evaluation, Study
from analysis.steps import Step, StoredParts
from analysis.workflow import Recipe, float_outputs, measure, model_inputs, quantized
from analysis.workspace import Workspace


def quantized_file(workspace: Workspace, study: Study, recipe: Recipe) -> Work[bytes]:
    """Quantize as :func:`analysis.workflow.quantize` does and return the content of the file."""
    made = yield from quantized(workspace, study, recipe)
    packed = Packed(
        quantization=made.quantization,
        allocation=recipe.allocation,
        settings=recipe.settings,
        method=recipe.method,
        study=study.spec.name or study.model.source,
        identity=model_inputs(study),
        recalibrations=recipe.recalibrations,
    )
    return pack(made.network, packed)


def evaluate_file(workspace: Workspace, study: Study, path: Path) -> Step[Evaluation]:
    """Measure a quantized model on the study's evaluation set, from its file.

    Raises:
        QuantizationError: If the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise QuantizationError(
            f"The model file must be readable, got `{path}`: {error.strerror}."
        ) from error

    def work(parts: StoredParts) -> Work[Evaluation]:
        del parts
        loaded = workspace.live(study)
        packed = unpack(path, loaded.network, model_inputs(study))
        reference = yield from float_outputs(workspace, study).need(workspace.store)
        plan = plan_of(loaded.network, packed.quantization, packed.settings)
        return (yield from measure(loaded, loaded.network, plan, reference))

    keys = study_key_inputs(study)
    return Step(
        name="evaluate_file",
        version=1,
        title=f"Measure {path.name}",
        command=command_line("evaluate", study.spec, {"model-file": str(path)}),
        record=Evaluation,
        inputs={n: v for n, v in keys.items() if n != "calibration"}
        | {"file": sha256(content).hexdigest()},
        options={},
        work=work,
    )
